"""Links, addresses and routes: rtnetlink(7), by pyroute2.

    with Links() as links:                  # of the network namespace that this process is in
        links.raise_bridge(network)         # ip link add minirun0 type bridge; ip address add …
        links.plug(lease, network, netns)   # ip link add veth… type veth peer name eth0 netns …
    inside(netns, leases, leases)           # ip address add … dev eth0; ip route add default …

Importing pyroute2 takes a tenth of a second: only who makes or removes links imports this file.
"""

from __future__ import annotations

import os
from _socket import AF_INET6, if_nametoindex

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from minirun import linux
from minirun.engine.network import plant
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Record = dict[str, Any]

NODAD = 2  # IFA_F_NODAD of netlink: an address that we gave out ourselves need not be asked about
LEAST_MTU6 = 1280  # RFC 8200
STANDARD_MTU = 1500


class Links:
    """The links of this network namespace."""

    def __enter__(self) -> Links:
        self._route = IPRoute()
        return self

    def __exit__(self, *_: object) -> None:
        self._route.close()

    def raise_bridge(self, network: Record) -> None:
        """Make a network's bridge, with the gateway's addresses. What it routes for containers is
        told by sysctls: packets to 127.0.0.1 from published ports (the firewall drops others), and
        nothing that a container pretends about routes (CVE-2020-13401)."""
        name = network["bridge"]
        mtu = network["mtu"] or self.mtu_outside()
        self._do("link", "add", name, ifname=name, kind="bridge", br_forward_delay=0, mtu=mtu)
        plant.write_sysctl(f"ipv4/conf/{name}/forwarding", "1")
        plant.write_sysctl(f"ipv4/conf/{name}/route_localnet", "1")
        if os.path.isdir(f"{plant.SYSCTLS}/ipv6"):
            self.set_ipv6(name, forwarding=bool(network["subnet6"]))
        index = if_nametoindex(name)
        for suffix in ("", "6"):
            if network["subnet" + suffix]:
                prefix = int(network["subnet" + suffix].partition("/")[2])
                more = {"flags": NODAD} if suffix else {}
                self._do("addr", "add", name, index=index, prefixlen=prefix,
                         address=network["gateway" + suffix], **more)  # fmt: skip
        self._do("link", "set", name, index=index, state="up")

    def set_ipv6(self, name: str, *, forwarding: bool) -> None:
        plant.write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
        plant.write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "0" if forwarding else "1")
        if forwarding and os.path.exists(f"{plant.SYSCTLS}/ipv6/conf/{name}/force_forwarding"):
            plant.write_sysctl(f"ipv6/conf/{name}/force_forwarding", "1")

    def mtu_outside(self) -> int:
        """The largest packet of the interface that the default route leads to."""
        for route in self._route.get_default_routes():
            index = route.get_attr("RTA_OIF")
            if index:
                return int(self._route.get_links(index)[0].get_attr("IFLA_MTU"))
        return STANDARD_MTU

    def plug(self, lease: Record, netns: int) -> None:
        """A cable from the bridge into network namespace ``netns`` (an open file), where it ends
        as eth<index>. One of an earlier start that is left over is taken away first."""
        name = lease["link"]
        if plant.exists(name):
            self.remove(name)
        bridge = if_nametoindex(lease["bridge"])
        mtu = int(self._route.get_links(bridge)[0].get_attr("IFLA_MTU"))
        peer = {
            "ifname": f"eth{lease['index']}", "net_ns_fd": netns,
            "address": lease["mac"], "mtu": mtu,
        }  # fmt: skip
        self._do("link", "add", name, ifname=name, kind="veth", mtu=mtu, peer=peer)
        if os.path.isdir(f"{plant.SYSCTLS}/ipv6"):
            plant.write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")  # it needs no address
        self._do("link", "set", name, index=if_nametoindex(name), master=bridge, state="up")

    def remove(self, name: str) -> None:
        """Take a link away; fine if it has just gone."""
        try:
            self._route.link("del", index=if_nametoindex(name))
        except (OSError, NetlinkError):
            if plant.exists(name):
                raise Error(f"cannot remove interface {name}") from None

    def settle(self, lease: Record) -> None:
        """In the container: the addresses of an interface."""
        name = f"eth{lease['index']}"
        index = if_nametoindex(name)
        if os.path.isdir(f"{plant.SYSCTLS}/ipv6"):
            plant.write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
            plant.write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "0" if lease["address6"] else "1")
        self._do("addr", "add", name, index=index, address=lease["address"],
                 prefixlen=lease["prefix"])  # fmt: skip
        if lease["address6"]:
            self._do("addr", "add", name, index=index, address=lease["address6"],
                     prefixlen=lease["prefix6"], flags=NODAD)  # fmt: skip
        self._do("link", "set", name, index=index, state="up")

    def lead_out(self, lease: Record) -> None:
        """In the container: packets to anywhere else go by this lease's network."""
        name = f"eth{lease['index']}"
        way = {"dst": "default", "oif": if_nametoindex(name)}
        self._do("route", "replace", name, gateway=lease["gateway"], **way)
        if lease["address6"]:
            self._do("route", "replace", name, gateway=lease["gateway6"], family=AF_INET6, **way)

    def _do(self, what: str, verb: str, interface: str, /, **words: Any) -> None:
        """As ``ip WHAT VERB …``; Error, if the kernel refuses."""
        try:
            getattr(self._route, what)(verb, **words)
        except NetlinkError as error:
            asked = " ".join(str(word) for word in words.values() if isinstance(word, str | int))
            reason = os.strerror(error.code)
            raise Error(f"interface {interface}: {what} {verb} {asked}: {reason}") from None


def inside(netns: int, own: Sequence[Record], fresh: Sequence[Record]) -> None:
    """Give the ends of ``fresh`` cables their addresses, in network namespace ``netns``; the way
    out is by the first of its ``own`` networks that leads out. This process stays there."""
    linux.setns(netns, linux.CLONE_NEWNET)
    with Links() as links:
        for lease in fresh:
            links.settle(lease)
        for lease in [lease for lease in own if not lease["internal"]][:1]:
            links.lead_out(lease)
