"""The name of an image: what people type, and what it means.

    centos:8   is short for   docker.io / library/centos : 8
                              registry    repository     tag

A name may end in a tag (a label that can be moved), in a digest (``@sha256:…``, the one manifest
with that hash, for ever), or in both; with neither, the tag is ``latest``. The grammar is the one
that Docker, Podman and containerd share (github.com/distribution/reference); names are checked in
full here, so that no other part of the program ever meets a strange one in a URL or a path.

>>> parse("centos:8").canonical
'docker.io/library/centos:8'
>>> parse("localhost:5000/app").canonical
'localhost:5000/app:latest'
>>> parse("docker.io/library/centos:8").familiar
'centos:8'
"""

import re
from collections import namedtuple  # and not typing's: every start of a container would pay for it

from minirun.errors import InvalidReference, UsageError, printable

DEFAULT_REGISTRY = "docker.io"
LEGACY_REGISTRY = "index.docker.io"
OFFICIAL = "library/"  # Docker Hub's namespace for images that have no other
DEFAULT_TAG = "latest"

LONGEST_REPOSITORY = 255
LONGEST_REGISTRY = 253 + len(":65535")  # a name of the domain name system, and a port
DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

# Registry: names of hosts joined by dots, or an IPv6 address in brackets; then perhaps a port.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?"
# Repository: components joined by slashes; separators stand inside a component, one at a time.
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"


class Reference(namedtuple("Reference", ("registry", "repository", "tag", "digest"))):
    """An image's full name. At least one of ``tag`` and ``digest`` is set."""

    __slots__ = ()
    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """The name without tag and digest: ``docker.io/library/centos``."""
        return f"{self.registry}/{self.repository}"

    @property
    def canonical(self) -> str:
        """The name with nothing left out: ``docker.io/library/centos:8``."""
        return self.name + self._suffix()

    @property
    def familiar(self) -> str:
        """The name as people write it: ``centos:8``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.canonical
        short = self.repository.removeprefix(OFFICIAL)
        return (self.repository if "/" in short else short) + self._suffix()

    @property
    def target(self) -> str:
        """What to ask the registry for. A digest wins over a tag: it cannot have moved."""
        return self.digest or self.tag or DEFAULT_TAG

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference that ``text`` stands for; InvalidReference says which part of it is wrong."""
    rest, at, digest = text.partition("@")
    name, tag = _split_tag(rest)
    registry, repository = _split_registry(name)
    _check_name(text, name, registry, repository)
    if tag is not None and not is_tag(tag):
        raise InvalidReference(
            f"{printable(text[:300])}: {printable(tag[:200])!r} is not a tag",
            hint="a tag has 1 to 128 letters, digits, '_', '.' and '-', the first no '.' or '-'",
        )
    if at:
        parse_digest(digest)
    if tag is None and not at:
        tag = DEFAULT_TAG
    return Reference(registry, repository, tag, digest if at else None)


def for_tag(text: str) -> str:
    """The canonical name that an image is to be given: one without a digest."""
    found = parse(text)
    if found.digest:
        raise UsageError(f"{text}: a digest cannot be given, it follows from the content")
    return found.canonical


def is_registry(text: str) -> bool:
    """Whether ``text`` is fit to be a registry's host, perhaps with a port."""
    if not re.fullmatch(_REGISTRY, text):
        return False
    _, colon, port = text.rpartition("]")[2].rpartition(":")
    return not colon or 0 < int(port) < 65536


def is_repository(text: str) -> bool:
    """Whether ``text`` is fit to be an image's name within a registry."""
    return re.fullmatch(_REPOSITORY, text) is not None


def is_tag(text: str) -> bool:
    """Whether ``text`` is fit to be a tag (a registry's list of tags is checked with it too)."""
    return re.fullmatch(_TAG, text) is not None


def parse_digest(text: str) -> tuple[str, str]:
    """A digest's algorithm and hexadecimal value, fit to be part of a URL and of a file's path.

    image-spec, descriptor.md, "Digests". Raises InvalidReference for everything but lower-case
    sha256, sha384 and sha512 of the right length.
    """
    algorithm, _, value = text.partition(":")
    length = DIGEST_LENGTHS.get(algorithm)
    if length is None:
        raise InvalidReference(
            f"{printable(text)[:80]!r} is not a digest of a known kind",
            hint="a digest looks like sha256: and 64 hexadecimal digits",
        )
    if not re.fullmatch(rf"[0-9a-f]{{{length}}}", value):
        raise InvalidReference(
            f"{printable(text)[:80]!r} is not a digest",
            hint=f"{algorithm}: is followed by {length} lower-case hexadecimal digits",
        )
    return algorithm, value


def _split_tag(text: str) -> tuple[str, str | None]:
    """Cut at the colon after the last slash: an earlier one belongs to a port."""
    colon = text.rfind(":")
    if colon <= text.rfind("/"):
        return text, None
    return text[:colon], text[colon + 1 :]


def _split_registry(name: str) -> tuple[str, str]:
    """A first component is a host only if it looks like one; ``user/app`` is on Docker Hub."""
    first, slash, rest = name.partition("/")
    if not slash:
        return DEFAULT_REGISTRY, OFFICIAL + name
    # An upper-case word cannot be a repository, so it is a host (as in distribution/reference).
    if first != "localhost" and not set(first) & set(".:") and first == first.lower():
        return DEFAULT_REGISTRY, name
    if first not in (DEFAULT_REGISTRY, LEGACY_REGISTRY):
        return first, rest
    return DEFAULT_REGISTRY, rest if "/" in rest else OFFICIAL + rest


def _check_name(text: str, name: str, registry: str, repository: str) -> None:
    shown = printable(text[:300])
    if not name:
        raise InvalidReference(f"{shown!r}: the name of the image is empty")
    if "://" in text:
        hint = f"try {shown.partition('://')[2]}"
        raise InvalidReference(f"{shown}: an image's name is not a URL", hint=hint)
    if re.fullmatch(r"[0-9a-f]{64}", text):
        raise InvalidReference(f"{shown}: this is an image's ID, not its name")
    if len(repository) > LONGEST_REPOSITORY or len(registry) > LONGEST_REGISTRY:
        raise InvalidReference(f"{shown}: the name is too long")
    if is_repository(repository):
        if is_registry(registry):
            return
        raise InvalidReference(f"{shown}: {printable(registry)!r} is not a host and port")
    if is_repository(repository.lower()):
        typed = repository.removeprefix(OFFICIAL)
        raise InvalidReference(
            f"{shown}: the repository's name must be lower case",
            hint=f"try {shown.replace(typed, typed.lower())}",
        )
    raise InvalidReference(
        f"{shown}: not the name of an image",
        hint="a name is [registry/]repository[:tag][@digest], e.g. docker.io/library/centos:8",
    )
