"""What a registry's 401 asks for: the WWW-Authenticate header, read and judged. Pure functions.

    WWW-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io"

says "come back with a token, which that server gives". RFC 9110, section 11.6.1, has the grammar:
one header can hold several challenges, and a comma can end a parameter or a challenge.

The realm is the one place where a stranger tells us where to send a password, so it is judged here:
it must be as secret as the registry itself is, and a password goes only to a host of the registry's
own domain. That covers Docker Hub (registry-1.docker.io → auth.docker.io) and GitLab
(registry.gitlab.com → gitlab.com) without a list of exceptions.

>>> parse('Bearer realm="https://a/t",service="s", Basic realm=x')[0].parameters["service"]
's'
>>> same_domain("registry-1.docker.io", "auth.docker.io")
True
"""

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

LONGEST_HEADER = 16 << 10

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)')
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$)))?(?:\s+|\s*(?:,|$))")
_EMPTY = re.compile(r"\s*(?:,|$)")


class Challenge(NamedTuple):
    """One way to authenticate. Scheme and names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header; raises ValueError for what is none."""
    if len(header) > LONGEST_HEADER:
        raise ValueError("its challenge (WWW-Authenticate) is too long")
    challenges: list[Challenge] = []
    at = 0
    while at < len(header):
        if found := _PARAMETER.match(header, at):
            name, quoted, bare = found.groups()
            if not challenges or name.lower() in challenges[-1].parameters:
                raise ValueError("its challenge (WWW-Authenticate) makes no sense")
            value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            challenges[-1].parameters[name.lower()] = value
        elif found := _SCHEME.match(header, at):
            challenges.append(Challenge(found[1].lower(), {}))
        elif not (found := _EMPTY.match(header, at)):
            raise ValueError("its challenge (WWW-Authenticate) makes no sense")
        at = found.end()
    return challenges


def url(text: str, *, secure: bool) -> SplitResult:
    """A URL that a server told us to go to. Raises ValueError for one that is not followed.

    ``secure``: the conversation so far was over HTTPS, so plain HTTP would be a step down. Only
    printable ASCII is taken, and no user:password@, as programs disagree on where the host of such
    a URL ends. Whether the host may be reached is decided when its address is known (transport.py).
    """
    try:
        parts = urlsplit(text)
        strange = parts.port == 0 or not parts.hostname or "@" in parts.netloc
    except ValueError:
        strange = True
    if strange or re.search(r"[^!-~]|\\", text) or parts.scheme not in ("http", "https"):
        raise ValueError("it sends us to a URL that makes no sense")
    if secure and parts.scheme != "https":
        raise ValueError(f"it sends us from https to plain http, at {parts.hostname}")
    return parts


def same_domain(registry: str, other: str) -> bool:
    """Whether ``other`` is a host of the registry's domain (names without port).

    The domain is the registry's name without its first label, if two labels are left then. A
    registry can always ask for the password itself, so this is no wall against a registry that is
    evil; it keeps one that is merely mistaken, or overwritten in part, from giving it away.

    >>> same_domain("registry.gitlab.com", "gitlab.com"), same_domain("quay.io", "evil.io")
    (True, False)
    """
    registry, other = registry.lower(), other.lower()
    if registry == other or other.endswith("." + registry):
        return True
    domain = registry.partition(".")[2]
    if "." not in domain or re.fullmatch(r"[0-9.]+|.*:.*", registry):
        return False
    return other == domain or other.endswith("." + domain)
