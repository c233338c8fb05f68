"""Answer a registry's challenge: a password for Basic, a token for Bearer.

    registry    401  WWW-Authenticate: Bearer realm="https://auth.example/token",service="…"
    GET https://auth.example/token?service=…&scope=repository:library/centos:pull
    auth.example     {"token": "…", "expires_in": 300}
    registry    200  with Authorization: Bearer …

The registry never sees the password then: the token server does, and gives out a token that is good
for one repository and a few minutes. (distribution/distribution, docs "Token Authentication
Specification" and "OAuth 2.0 Token Authentication".)

One Authorizer serves one repository, so there is one scope; it asks for no more than to pull it,
whatever scope the challenge names.
"""

import base64
import json
import re
import threading
from typing import Any
from urllib.parse import urlencode, urlsplit

from minirun.errors import AuthError, RegistryError
from minirun.image import challenge
from minirun.image.credentials import Credential, lookup
from minirun.image.refusals import denied
from minirun.image.registries import Endpoint, is_loopback
from minirun.image.transport import Answer, Transport

LARGEST_TOKEN = 1 << 20  # bytes of the token server's whole answer
CLIENT = "minirun"


class Authorizer:
    """What we say of ourselves to one registry about one repository. Threads may share it."""

    def __init__(
        self, endpoint: Endpoint, credential: Credential | None, transport: Transport
    ) -> None:
        self.credential = credential
        self._endpoint = endpoint
        self._transport = transport
        self._header: str | None = None
        self._lock = threading.Lock()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self._header} if self._header else {}

    def respond(self, answer: Answer, said: dict[str, str]) -> None:
        """Find what satisfies a 401 that was the answer to ``said`` (an earlier ``headers``).

        Raises AuthError when nothing more can be said, RegistryError for an unfit challenge.
        """
        with self._lock:
            if self.headers != said:
                return  # another thread has just been through this
            self._header = self._find(answer, said)

    def _find(self, answer: Answer, said: dict[str, str]) -> str:
        try:
            challenges = challenge.parse(answer.headers.get("WWW-Authenticate", ""))
        except ValueError as error:
            raise RegistryError(f"{answer.host}: {error}") from None
        parameters = {each.scheme: each.parameters for each in reversed(challenges)}
        if "bearer" in parameters:
            secure = answer.url.startswith("https:")
            return "Bearer " + self._token(parameters["bearer"], secure=secure)
        if "basic" in parameters:
            if self.credential is None or said:
                raise denied(self._endpoint, self.credential, 401)
            return _basic(self.credential)
        raise AuthError(f"{answer.host}: asks for a way to log in that is not known here")

    def _token(self, parameters: dict[str, str], *, secure: bool) -> str:
        try:
            realm = challenge.url(parameters.get("realm", ""), secure=secure)
        except ValueError as error:
            raise RegistryError(f"{self._endpoint.host}: for a token, {error}") from None
        if realm.scheme == "http" and not (self._endpoint.insecure or is_loopback(realm.netloc)):
            raise RegistryError(
                f"{self._endpoint.host}: for a token, it sends us to plain http, "
                f"at {realm.hostname}",
                hint="--tls-verify=false, if you trust every network on the way there",
            )
        credential = self._credential_for(realm.hostname or "")
        query = {"scope": f"repository:{self._endpoint.repository}:pull"}
        if "service" in parameters:
            query["service"] = parameters["service"]
        answer = self._ask(realm.geturl(), query, credential)
        if answer.status in (400, 401, 403):
            raise denied(self._endpoint, credential, answer.status)
        if answer.status != 200:
            raise RegistryError(f"{answer.host}: gives no token but {answer.status}")
        return _read_token(answer)

    def _credential_for(self, host: str) -> Credential | None:
        """The credential that a token server may see: the registry's, on a host of its domain.

        A token server elsewhere gets only what the user keeps for that very host.
        """
        registry = urlsplit(f"//{self._endpoint.host}").hostname or ""
        if self.credential is None or challenge.same_domain(registry, host):
            return self.credential
        if own := lookup(host):
            return own
        raise AuthError(
            f"{registry} wants its password sent to {host}, a host outside its domain: refused",
            hint=f"if that is right, store the credentials for {host} as well: docker login {host}",
        )

    def _ask(self, realm: str, query: dict[str, str], credential: Credential | None) -> Answer:
        if credential and credential.identity_token:
            form = {"grant_type": "refresh_token", "client_id": CLIENT, **query}
            form["refresh_token"] = credential.identity_token
            return self._transport.fetch(realm, {}, limit=LARGEST_TOKEN, form=form)
        headers = {"Authorization": _basic(credential)} if credential else {}
        separator = "&" if urlsplit(realm).query else "?"
        url = realm + separator + urlencode(query, safe=":/")
        return self._transport.fetch(url, headers, limit=LARGEST_TOKEN)


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def _read_token(answer: Answer) -> str:
    """The token in a token server's answer; by whatever name it has, it must fit in a header."""
    try:
        document: Any = json.loads(answer.body)
        token = document.get("token") or document.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,65536}", token):
        raise RegistryError(f"{answer.host}: its answer holds no token")
    return token
