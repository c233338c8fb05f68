"""Where an image is really fetched from: mirrors and rules of containers-registries.conf(5).

    [[registry]]
    prefix = "docker.io"                  # images whose name begins so, …
    location = "registry.example/hub"     # … are kept here, under this name
    insecure = false                      # true: no certificates, plain HTTP allowed
    blocked = false                       # true: not to be pulled at all
    [[registry.mirror]]                   # asked before it
    location = "127.0.0.1:5000"

Podman, Buildah and CRI-O read the same file. $MINIRUN_REGISTRIES_CONF, else
$CONTAINERS_REGISTRIES_CONF, names the only file to read; otherwise it is
~/.config/containers/registries.conf or, when that does not exist, /etc/containers/registries.conf,
and the files of registries.conf.d beside both; a later table for a prefix replaces an earlier one.

Names without a registry mean Docker Hub, always: ``unqualified-search-registries`` and
``[aliases]`` are not used, so that one name means one image on every machine.
"""

import os
import re
from typing import Any, NamedTuple

from minirun.errors import RegistryError, UsageError, printable
from minirun.image.reference import DEFAULT_REGISTRY, Reference, is_registry, is_repository

HUB_HOST = "registry-1.docker.io"  # docker.io is a name only; its registry answers here
SYSTEM_CONFIG = "/etc/containers"


class Endpoint(NamedTuple):
    """One place that may have an image."""

    registry: str  # as people name it: "docker.io". Credentials and certificates are kept by it
    repository: str
    insecure: bool = False  # certificates are not checked, and plain HTTP will do

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    @property
    def host(self) -> str:
        """What to connect to, perhaps with a port."""
        return HUB_HOST if self.registry == DEFAULT_REGISTRY else self.registry

    @property
    def allows_http(self) -> bool:
        """Whether plain HTTP will do: nobody listens between this machine and itself."""
        return self.insecure or is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether ``host`` (perhaps with a port) is this machine, by its form alone.

    >>> is_loopback("127.0.0.1:5000"), is_loopback("[::1]"), is_loopback("127.evil.example")
    (True, True, False)
    """
    return bool(re.fullmatch(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", host))


def endpoints(reference: Reference, *, tls_verify: bool = True) -> list[Endpoint]:
    """The places to ask for an image, in order: mirrors, then its registry.

    Raises RegistryError for an image that registries.conf blocks, UsageError for a broken file.
    """
    table = _choose(_tables(), reference)
    if table is None:
        return [Endpoint(reference.registry, reference.repository, not tls_verify)]
    if table.flag("blocked"):
        raise RegistryError(f"{reference.canonical}: blocked by {table.path}")
    places = [mirror for mirror in table.mirrors() if mirror.serves(reference, table)]
    return [place.endpoint(table.prefix, reference, tls_verify) for place in [*places, table]]


class _Table(NamedTuple):
    """A [[registry]] or [[registry.mirror]] table."""

    values: dict[str, Any]
    path: str  # of its file, for errors

    @property
    def prefix(self) -> str:
        return self.text("prefix") or self.location

    @property
    def location(self) -> str:
        return self.text("location").rstrip("/")

    def text(self, key: str) -> str:
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise UsageError(f"{self.path}: {key} must be a string")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise UsageError(f"{self.path}: {key} must be true or false")
        return value

    def mirrors(self) -> "list[_Table]":
        return _list_of_tables(self.values.get("mirror", []), self.path)

    def serves(self, reference: Reference, primary: "_Table") -> bool:
        """Whether a mirror is asked: some know digests better than tags that have moved."""
        wanted = self.text("pull-from-mirror") or "all"
        if primary.flag("mirror-by-digest-only"):
            wanted = "digest-only"
        if wanted not in ("all", "digest-only", "tag-only"):
            raise UsageError(f"{self.path}: pull-from-mirror = {wanted!r} is not known")
        return wanted in ("all", "digest-only" if reference.digest else "tag-only")

    def endpoint(self, prefix: str, reference: Reference, tls_verify: bool) -> Endpoint:
        """The image's name with ``prefix`` replaced by this table's location."""
        name = reference.name
        if self.location:
            length = len(reference.registry) if prefix.startswith("*.") else len(prefix)
            name = self.location + name[length:]
        registry, _, repository = name.partition("/")
        if not is_registry(registry) or not is_repository(repository):
            raise UsageError(
                f"{self.path}: location {printable(self.location)!r} makes no name of an image",
                hint="a location is a host, perhaps with a port and a path, and without https://",
            )
        return Endpoint(registry, repository, self.flag("insecure") or not tls_verify)


def _choose(tables: list[_Table], reference: Reference) -> _Table | None:
    """The table with the longest prefix that the name begins with; of equals, the last."""
    fitting = [table for table in tables if _matches(table.prefix, reference)]
    return max(reversed(fitting), key=lambda table: len(table.prefix), default=None)


def _matches(prefix: str, reference: Reference) -> bool:
    if prefix.startswith("*."):
        return reference.registry.endswith(prefix[1:])
    name = reference.canonical
    if not prefix or not name.startswith(prefix):
        return False
    # "example.com" must not match "example.com:5000/app": that colon belongs to another host.
    following = name[len(prefix) : len(prefix) + 1]
    return following in ("", "/") or (following in (":", "@") and "/" in prefix)


def _tables() -> list[_Table]:
    return [table for path in _files() for table in _read(path)]


def _files() -> list[str]:
    for variable in ("MINIRUN_REGISTRIES_CONF", "CONTAINERS_REGISTRIES_CONF"):
        if path := os.environ.get(variable):
            if not os.path.exists(path):
                raise UsageError(f"{printable(path)} ({variable}): no such file")
            return [path]
    own = (os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) + "/containers"
    mains = [f"{directory}/registries.conf" for directory in (own, SYSTEM_CONFIG)]
    files = [path for path in mains if os.path.exists(path)][:1]
    for directory in (f"{SYSTEM_CONFIG}/registries.conf.d", f"{own}/registries.conf.d"):
        if os.path.isdir(directory):
            names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
            files += [f"{directory}/{name}" for name in names]
    return files


def _read(path: str) -> list[_Table]:
    import tomllib

    shown = printable(path)
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown}: not TOML: {printable(str(error))}") from None
    if "registries" in document:
        raise UsageError(
            f"{shown}: the old form of this file ([registries.search] …) is not read",
            hint="write [[registry]] tables, see containers-registries.conf(5)",
        )
    return _list_of_tables(document.get("registry", []), shown)


def _list_of_tables(value: object, path: str) -> list[_Table]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise UsageError(f"{path}: registry and mirror are tables: write [[registry]]")
    return [_Table(item, path) for item in value]
