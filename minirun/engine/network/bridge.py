"""Links, addresses and routes: rtnetlink(7).

    with Links() as links:                  # of the network namespace that this process is in
        links.raise_bridge(network)         # ip link add minirun0 type bridge; ip address add …
        links.plug(lease, netns)            # ip link add veth… type veth peer name eth0 netns …
    inside(netns, leases, leases)           # ip address add … dev eth0; ip route add default …

The messages are pyroute2's, which knows their forms; netlink.py sends them. All of pyroute2
takes 150 ms to import, and its messages 25, if its package does not import the rest by itself: so
an empty package stands in for it. A container's command begins only after that.
"""

from __future__ import annotations

import _socket as socket
import fcntl
import os
import sys
from _socket import if_nametoindex

from minirun import linux
from minirun.engine.network import plant
from minirun.engine.network.netlink import HEADER, Route
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Record = dict[str, Any]

NODAD = 2  # IFA_F_NODAD: nobody need be asked about an address that we give out ourselves
STANDARD_MTU = 1500
SIOCGIFMTU = 0x8921  # netdevice(7)
IFF_UP = 1
SCOPE_UNIVERSE, TABLE_MAIN = 0, 254
STATIC, UNICAST = 4, 1  # RTPROT_STATIC, RTN_UNICAST

# rtnetlink(7), netlink(7)
NEWLINK, NEWADDR, NEWROUTE = 16, 20, 24
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400


def _messages() -> Any:
    """The modules of pyroute2 with the messages that we send."""
    from importlib import import_module
    from importlib.machinery import PathFinder
    from types import ModuleType

    if "pyroute2" not in sys.modules:
        spec = PathFinder.find_spec("pyroute2")
        if spec is None:
            raise Error("networks need pyroute2", hint="pip install pyroute2")
        package = ModuleType("pyroute2")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["pyroute2"] = package
    names = ("ifinfmsg", "ifaddrmsg", "rtmsg")
    return [getattr(import_module(f"pyroute2.netlink.rtnl.{name}"), name) for name in names]


LinkMessage, AddressMessage, RouteMessage = _messages()


class Links(Route):
    """The links of this network namespace."""

    def raise_bridge(self, network: Record) -> None:
        """Make a network's bridge, with the gateway's addresses. What it routes for containers is
        told by sysctls: packets to 127.0.0.1 from published ports (the firewall drops others), and
        nothing that a container pretends about routes (CVE-2020-13401)."""
        name = network["bridge"]
        self._add_link(name, "bridge", mtu=network["mtu"] or mtu_outside())
        plant.write_sysctl(f"ipv4/conf/{name}/forwarding", "1")
        plant.write_sysctl(f"ipv4/conf/{name}/route_localnet", "1")
        if os.path.isdir(f"{plant.SYSCTLS}/ipv6"):
            self._set_ipv6(name, forwarding=bool(network["subnet6"]))
        for suffix in ("", "6"):
            if network["subnet" + suffix]:
                prefix = int(network["subnet" + suffix].partition("/")[2])
                self._add_address(name, network["gateway" + suffix], prefix)
        self._raise(name)

    def _set_ipv6(self, name: str, *, forwarding: bool) -> None:
        plant.write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
        plant.write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "0" if forwarding else "1")
        if forwarding and os.path.exists(f"{plant.SYSCTLS}/ipv6/conf/{name}/force_forwarding"):
            plant.write_sysctl(f"ipv6/conf/{name}/force_forwarding", "1")

    def plug(self, lease: Record, netns: int) -> None:
        """A cable from the bridge into network namespace ``netns`` (an open file), where it ends
        as eth<index>. One of an earlier start that is left over is taken away first."""
        name = lease["link"]
        self.remove(name)
        mtu = mtu_of(lease["bridge"])
        peer = {
            "attrs": [
                ("IFLA_IFNAME", f"eth{lease['index']}"), ("IFLA_NET_NS_FD", netns),
                ("IFLA_ADDRESS", lease["mac"]), ("IFLA_MTU", mtu),
            ]
        }  # fmt: skip
        data = ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})
        self._add_link(name, "veth", data, mtu=mtu)
        if os.path.isdir(f"{plant.SYSCTLS}/ipv6"):
            plant.write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")  # it needs no address
        self._raise(name, ("IFLA_MASTER", if_nametoindex(lease["bridge"])))

    def settle(self, lease: Record) -> None:
        """In the container: the addresses of an interface."""
        name = f"eth{lease['index']}"
        if os.path.isdir(f"{plant.SYSCTLS}/ipv6"):
            plant.write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
            plant.write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "0" if lease["address6"] else "1")
        self._add_address(name, lease["address"], lease["prefix"])
        if lease["address6"]:
            self._add_address(name, lease["address6"], lease["prefix6"])
        self._raise(name)

    def lead_out(self, lease: Record) -> None:
        """In the container: packets to anywhere else go by this lease's network."""
        name = f"eth{lease['index']}"
        for gateway in filter(None, (lease["gateway"], lease["address6"] and lease["gateway6"])):
            fields = {
                "family": family(gateway), "table": TABLE_MAIN, "proto": STATIC,
                "scope": SCOPE_UNIVERSE, "type": UNICAST,
                "attrs": [("RTA_GATEWAY", gateway), ("RTA_OIF", if_nametoindex(name))],
            }  # fmt: skip
            what = f"ip route replace default via {gateway} dev {name}"
            self._ask(RouteMessage(), fields, NEWROUTE, CREATE | REPLACE, what)

    # --- what they are made of --------------------------------------------------------------------

    def _add_link(self, name: str, kind: str, *data: object, mtu: int) -> None:
        info = {"attrs": [("IFLA_INFO_KIND", kind), *data]}
        fields = {
            "attrs": [("IFLA_IFNAME", name), ("IFLA_MTU", mtu), ("IFLA_LINKINFO", info)],
        }
        what = f"ip link add {name} mtu {mtu} type {kind}"
        self._ask(LinkMessage(), fields, NEWLINK, CREATE | EXCLUSIVE, what)

    def _raise(self, name: str, *attributes: object) -> None:
        index = if_nametoindex(name)
        fields = {"index": index, "flags": IFF_UP, "change": IFF_UP, "attrs": [*attributes]}
        self._ask(LinkMessage(), fields, NEWLINK, 0, f"ip link set {name} up")

    def _add_address(self, name: str, address: str, prefix: int) -> None:
        fields = {
            "family": family(address), "prefixlen": prefix, "index": if_nametoindex(name),
            "flags": NODAD if ":" in address else 0,
            "attrs": [("IFA_LOCAL", address), ("IFA_ADDRESS", address)],
        }  # fmt: skip
        what = f"ip address add {address}/{prefix} dev {name}"
        self._ask(AddressMessage(), fields, NEWADDR, CREATE | EXCLUSIVE, what)

    def _ask(self, message: Any, fields: Record, kind: int, flags: int, what: str) -> None:
        """The request of a message of pyroute2's with these fields."""
        message.update(fields)
        message.encode()
        self.ask(kind, flags, bytes(message.data[HEADER:]), what)


def family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def mtu_of(interface: str) -> int:
    """The largest packet of an interface of this network namespace, in bytes. netdevice(7)"""
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        answer = fcntl.ioctl(asked.fileno(), SIOCGIFMTU, interface.encode().ljust(40, b"\0"))
    finally:
        asked.close()
    return int.from_bytes(answer[16:20], sys.byteorder)


def mtu_outside() -> int:
    """That of the interface that the default route leads to."""
    with open("/proc/net/route", encoding="ascii") as file:
        for line in file:
            interface, destination, *_ = line.split()
            if destination == "00000000":
                return mtu_of(interface)
    return STANDARD_MTU


def inside(netns: int, own: Sequence[Record], fresh: Sequence[Record]) -> None:
    """Give the ends of ``fresh`` cables their addresses, in network namespace ``netns``; the way
    out is by the first of its ``own`` networks that leads out. This process stays there."""
    linux.setns(netns, linux.CLONE_NEWNET)
    with Links() as links:
        for lease in fresh:
            links.settle(lease)
        for lease in [lease for lease in own if not lease["internal"]][:1]:
            links.lead_out(lease)
