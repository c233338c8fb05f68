"""Whom a container asks for names: its resolv.conf(5), made from this machine's.

Servers on a loopback address are on this machine, out of a container's reach. systemd-resolved's
(127.0.0.53) has those that it asks itself in a file of its own, which is used instead. For any
other (dnsmasq, unbound) a server of ours (resolver.py) on the bridge passes questions on.
"""

from __future__ import annotations

from minirun.engine.paths import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

HOST = "/etc/resolv.conf"
BEHIND_STUB = "/run/systemd/resolve/resolv.conf"  # systemd-resolved.service(8)
STUBS = ("127.0.0.53", "127.0.0.54")
UPLINK = "10.0.2.3"  # uplink.py passes on what is asked there
MOST_SERVERS = 3  # MAXNS: the C library reads no more


class Settings:
    """The lines of a resolv.conf."""

    def __init__(self, servers: Sequence[str], search: Sequence[str], options: Sequence[str]):
        self.servers, self.search, self.options = list(servers), list(search), list(options)

    def text(self) -> str:
        lines = [f"nameserver {server}" for server in self.servers[:MOST_SERVERS]]
        if self.search:
            lines.append("search " + " ".join(self.search))
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "".join(line + "\n" for line in lines)


def parse(text: str) -> Settings:
    """The last ``search`` or ``domain`` line counts; what is unknown is left out."""
    found = Settings([], [], [])
    for line in text.splitlines():
        word, *rest = line.split("#")[0].split(";")[0].split() or [""]
        if word == "nameserver" and rest:
            found.servers.append(rest[0])
        elif word in ("search", "domain"):
            found.search = rest
        elif word == "options":
            found.options += rest
    return found


def is_loopback(server: str) -> bool:
    return server.startswith("127.") or server.partition("%")[0] == "::1"


def of_host(host: str, behind_stub: str) -> Settings:
    """What this machine asks itself, the stub of systemd-resolved looked through. ``host`` and
    ``behind_stub`` are the texts of the two files, "" where one is missing."""
    settings = parse(host)
    if any(server in STUBS for server in settings.servers):
        behind = parse(behind_stub).servers
        settings.servers = [s for s in settings.servers if s not in STUBS or not behind] + behind
    return settings


def of_container(
    host: Settings, options: Mapping[str, Any], resolver: str | None
) -> Settings:
    """The container's own: --dns, --dns-search and --dns-option, and where they are not given what
    this machine has. ``resolver`` is the address of its network's name server, which is told of
    --dns and asks there (see ``servers_of``); None where there is no such server."""
    search = options.get("dns_search") or host.search
    if "." in search:  # --dns-search . is none at all
        search = []
    servers = [resolver] if resolver else servers_of(host, options)
    return Settings(servers, search, options.get("dns_option") or host.options)


def servers_of(host: Settings, options: Mapping[str, Any]) -> list[str]:
    """Who is asked for names that are none of ours. A link-local server (fe80::1%eth0) is only
    reachable on the link that it names."""
    own = list(options.get("dns") or ())
    return own or [s for s in host.servers if not is_loopback(s) and "%" not in s]


def read_host() -> Settings:
    """What this machine asks. An ordinary user's networks reach its loopback by their uplink."""
    settings = of_host(read(HOST), read(BEHIND_STUB))
    if user():
        settings.servers = [UPLINK if is_loopback(s) else s for s in settings.servers]
    return settings


def read(path: str) -> str:
    """A file of this machine's; "" where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
