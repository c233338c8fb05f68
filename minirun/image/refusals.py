"""What a registry means when it says no, in words that help."""

import json
from http.client import responses

from minirun.errors import AuthError, RegistryError, printable
from minirun.image.credentials import Credential
from minirun.image.registries import Endpoint
from minirun.image.transport import Answer


def refusal(answer: Answer, endpoint: Endpoint, credential: Credential | None) -> RegistryError:
    """The error for a status that is none of those that a request expects."""
    if answer.status in (401, 403) and not answer.foreign:
        return denied(endpoint, credential, answer.status)
    phrase = responses.get(answer.status, "?")
    return RegistryError(f"{answer.host}: answers {answer.status} {phrase}{_own_words(answer)}")


def denied(endpoint: Endpoint, credential: Credential | None, status: int) -> AuthError:
    """The error for 401 and 403. Registries do not tell what is secret from what is not there."""
    if credential is None:
        return AuthError(
            f"{endpoint.name}: not allowed ({status}): it does not exist, or is private",
            hint=f"is the name right? if it is private: docker login {endpoint.registry}",
        )
    who = credential.username or "the stored token"
    if status == 401:
        return AuthError(
            f"{endpoint.registry}: does not accept the password of {printable(who)} (401)",
            hint=f"log in again: docker login {endpoint.registry}",
        )
    return AuthError(
        f"{endpoint.name}: {printable(who)} is not allowed to pull it ({status})",
        hint="is the name right? ask its owner for access, or log in as somebody else",
    )


def _own_words(answer: Answer) -> str:
    """What the registry says of it (distribution-spec, "Error Codes")."""
    try:
        first = json.loads(answer.body)["errors"][0]
        text = first.get("message") or first.get("code")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""
    return f": {printable(text)[:200]}" if isinstance(text, str) and text else ""
