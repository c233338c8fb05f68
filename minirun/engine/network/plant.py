"""What containers on a network share: its bridge, the firewall's rules, its name server.

``grow`` has all of it there before a container is plugged in, ``shrink`` takes away what no
container needs any more. Both are called under the lock, and do nothing twice.

This machine has to forward the packets of containers, and often it forwards none. We do not turn
that on for all (ip_forward), but for the bridges and the interfaces that routes lead to, and write
down which: the firewall sees to it that nobody else has anything of it, and shrink turns it off.
"""

from __future__ import annotations

import os
from zlib import crc32

from minirun.engine.network import firewall, netlink, records
from minirun.engine.network.leases import Leases, published
from minirun.engine.paths import RUN
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from minirun.engine.network.leases import Lease
    from minirun.engine.paths import Paths

    Record = dict[str, Any]

SIGTERM = 15  # the signal module would take 6 ms
SYSCTLS = "/proc/sys/net"


def table_of(paths: Paths) -> str:
    """Each store has a table of its own; the machine's own store has the plain name."""
    if paths.run == RUN:
        return firewall.TABLE_NAME
    return f"{firewall.TABLE_NAME}-{crc32(os.fsencode(paths.run)):08x}"


def networks_up(paths: Paths, leases: Leases) -> list[Record]:
    """The networks that a container is on."""
    used = {lease["network"] for lease in leases.all}
    return [record for record in records.Networks(paths).all() if record["id"] in used]


def grow(paths: Paths, leases: Leases) -> None:
    """Have every bridge, the rules and the name servers there."""
    from minirun.engine.network import bridge, serving

    up = networks_up(paths, leases)
    missing = [network for network in up if not netlink.exists(network["bridge"])]
    if missing:
        with bridge.Links() as links:
            for network in missing:
                links.raise_bridge(network)
        open_ways(leases, up)
    set_rules(paths, leases, up)
    for network in up:
        if records.has_resolver(network):
            serving.start(paths, network)


def shrink(paths: Paths, leases: Leases, gone: Iterable[Lease]) -> None:
    """Take away what was there for the leases ``gone`` only; those that stay are in ``leases``."""
    from minirun.engine.network import serving

    gone = list(gone)
    up = {network["id"] for network in networks_up(paths, leases)}
    idle = {lease["network"]: lease["bridge"] for lease in gone if lease["network"] not in up}
    for ident in idle:
        serving.stop(paths, ident)
    set_rules(paths, leases, networks_up(paths, leases))
    remove_links([*(lease["link"] for lease in gone), *idle.values()])
    if not leases.all:
        close_ways(leases)


def set_rules(paths: Paths, leases: Leases, up: list[Record]) -> None:
    """Put the firewall's table in place, if it is to be another than the last one."""
    table = table_of(paths)
    text = ""
    if up:
        networks = [
            {"bridge": n["bridge"], "subnets": records.subnets(n), "internal": n["internal"]}
            for n in up
        ]
        text = firewall.script(table, networks, published(leases.all), leases.opened)
    path = _rules(leases)
    if _read(path) == text:
        return
    if text:
        firewall.apply(text)
    else:
        firewall.remove(table)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _rules(leases: Leases) -> str:
    """The script that the kernel has taken last."""
    return leases.directory + "/rules.nft"


def forget_rules(leases: Leases) -> None:
    """Have the table put in place anew, whatever it is now."""
    with open(_rules(leases), "w", encoding="ascii") as file:
        file.write("flushed\n")


# --- links ----------------------------------------------------------------------------------------


def remove_links(names: Iterable[str]) -> None:
    """Take cables and bridges away, those that are there."""
    left = [name for name in names if netlink.exists(name)]
    if left:
        with netlink.Route() as route:
            for name in left:
                route.remove(name)


# --- forwarding -----------------------------------------------------------------------------------


def open_ways(leases: Leases, up: list[Record]) -> None:
    """Have packets forwarded that come from where routes lead to; written down before it is done.

    IPv4 asks the interface that a packet came in by (forwarding). IPv6 asks for the whole machine,
    and since Linux 6.17 the interface (force_forwarding). ip-sysctl.rst
    """
    ways = [way for way in interfaces() if way not in {network["bridge"] for network in up}]
    wanted = [f"ipv4/conf/{way}/forwarding" for way in ways]
    has_ipv6 = any(network["subnet6"] for network in up)
    if has_ipv6 and _read_sysctl("ipv6/conf/all/forwarding") != "1":
        if not os.path.exists(f"{SYSCTLS}/ipv6/conf/all/force_forwarding"):
            raise Error(
                "this machine forwards no IPv6 packets, and its kernel can do so only for all",
                hint="sysctl net.ipv6.conf.all.forwarding=1; where it gets its own address from a "
                "router, net.ipv6.conf.all.accept_ra=2 before that",
            )
        wanted += [f"ipv6/conf/{way}/force_forwarding" for way in ways]
    fresh = [name for name in wanted if name not in leases.opened and _is_ours_to_open(name)]
    if fresh:
        leases.opened += fresh
        leases.save()
        for name in fresh:
            write_sysctl(name, "1")


def _is_ours_to_open(name: str) -> bool:
    """Whether nothing is forwarded there but for minirun's sake. What is open by its interface,
    and not for the whole machine, may have been opened for another store's containers."""
    if _read_sysctl(name) != "1":
        return True
    everywhere = "ipv4/ip_forward" if name.startswith("ipv4") else "ipv6/conf/all/forwarding"
    return _read_sysctl(everywhere) != "1" and bool(firewall.tables())


def close_ways(leases: Leases) -> None:
    """The last store that has containers does it: our table has gone by now."""
    if firewall.tables():
        leases.opened = []
    for name in leases.opened:
        if os.path.exists(f"{SYSCTLS}/{name}"):  # the interface may be gone by now
            write_sysctl(name, "0")
    leases.opened = []


def interfaces() -> list[str]:
    """The interfaces of this machine that a route leads to, but for bridges of minirun: also those
    of other stores, whose containers are none of ours."""
    with open("/proc/net/route", encoding="ascii") as file:
        found = [line.split()[0] for line in file.read().splitlines()[1:]]
    with open("/proc/net/ipv6_route", encoding="ascii") as file:
        found += [line.split()[-1] for line in file.read().splitlines()]
    ours = (records.OWN_BRIDGE, records.BRIDGES)
    return [name for name in dict.fromkeys(found) if name != "lo" and not name.startswith(ours)]


def write_sysctl(name: str, value: str) -> None:
    """Set a sysctl below net/, with its interface's name as it is. Error if it cannot be."""
    try:
        with open(f"{SYSCTLS}/{name}", "w", encoding="ascii") as file:
            file.write(value)
    except OSError as error:
        raise Error(
            f"cannot set {SYSCTLS}/{name} to {value}: {error.strerror}",
            hint="networks need a /proc/sys that can be written to; or --network none",
        ) from None


def _read_sysctl(name: str) -> str:
    return _read(f"{SYSCTLS}/{name}").strip()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def end(pid: int) -> None:
    """SIGTERM to a server of ours; fine if it has gone."""
    try:
        os.kill(pid, SIGTERM)
    except ProcessLookupError:
        pass
