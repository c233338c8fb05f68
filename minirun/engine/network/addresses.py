"""Choosing subnets, addresses and MAC addresses. Pure functions on ``ipaddress`` objects.

A network that names no subnet of its own gets the first of ``POOL`` that no route of this machine
leads to: what a VPN or another engine uses already is left to it.
"""

from __future__ import annotations

import ipaddress

from minirun.errors import Error, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# (range, prefix length of the pieces): 32 networks of 65,533 containers, then 128 of 253
POOL = (("10.128.0.0/11", 16), ("192.168.128.0/17", 24))
LOCAL_MAC = bytes.fromhex("0a6d")  # its second lowest bit says: given out by whoever runs this


def pool() -> Iterator[Network]:
    for area, prefix in POOL:
        yield from ipaddress.ip_network(area).subnets(new_prefix=prefix)


def free_subnet(taken: Iterable[Network]) -> Network:
    """The first subnet of the pool that overlaps with none that is ``taken``."""
    others = [network for network in taken if network.version == 4]
    for candidate in pool():
        if not any(candidate.overlaps(other) for other in others):
            return candidate
    raise Error(
        "every subnet that could be given out overlaps with a route of this machine",
        hint="choose one: minirun network create --subnet 198.18.0.0/24 NAME",
    )


def free_subnet6(seed: bytes) -> Network:
    """A unique local IPv6 subnet: fd, 40 bits of chance (``seed``), subnet 0. RFC 4193"""
    return ipaddress.IPv6Network((b"\xfd" + seed[:5] + bytes(10), 64))


def parse_subnet(text: str) -> Network:
    """``--subnet 10.1.0.0/16``; raises UsageError, also for one with bits of a host in it.

    >>> parse_subnet("10.1.0.0/16")
    IPv4Network('10.1.0.0/16')
    """
    shown = printable(text)[:80]
    try:
        subnet = ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise UsageError(
                f"--subnet {shown} is no subnet", hint="for example --subnet 10.1.0.0/24"
            ) from None
        raise UsageError(
            f"--subnet {shown} has bits of a host set", hint=f"perhaps {meant}"
        ) from None
    if subnet.num_addresses < 4:
        raise UsageError(f"--subnet {shown} has no room for a gateway and a container")
    return subnet


def parse_address(flag: str, text: str, version: int = 0) -> Address:
    """An IP address; with ``version``, of this one only."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or (version and address.version != version):
        kind = f"IPv{version}" if version else "IP"
        raise UsageError(f"{flag} {printable(text)[:80]} is no {kind} address")
    return address


def hosts(subnet: Network) -> range:
    """The numbers that can be given out: not the network's own, and not the broadcast address."""
    last = int(subnet.broadcast_address) - (subnet.version == 4)
    return range(int(subnet.network_address) + 1, last + 1)


def first_address(subnet: Network) -> Address:
    """The gateway of a subnet, where nothing else was asked for."""
    return subnet[1]


def free_address(subnet: Network, taken: Iterable[str]) -> Address:
    """The lowest address of ``subnet`` that is not ``taken``."""
    used = {int(ipaddress.ip_address(text)) for text in taken}
    for number in hosts(subnet):
        if number not in used:
            return type(subnet.network_address)(number)
    raise Error(
        f"no address is left in {subnet}",
        hint="minirun ps shows who has them; or a larger one: network create --subnet",
    )


def check_address(address: Address, subnet: Network, taken: Iterable[str]) -> None:
    """Refuse an address that was asked for (--ip), if it cannot be had."""
    if address not in subnet or int(address) not in hosts(subnet):
        raise UsageError(f"--ip {address} is no address for a container in {subnet}")
    if str(address) in taken:
        raise Error(f"the address {address} is in use")


def mac_of(address: Address) -> str:
    """A MAC address that follows from the IPv4 address: whoever gets an address again later has
    the same one, and what the neighbours remember (arp(7)) stays true.

    >>> mac_of(ipaddress.ip_address("10.144.0.2"))
    '0a:6d:0a:90:00:02'
    """
    return (LOCAL_MAC + address.packed[-4:]).hex(":")


def parse_mac(text: str) -> str:
    """``--mac-address``, of one interface and not of a group.

    >>> parse_mac("02-42-AC-11-00-02")
    '02:42:ac:11:00:02'
    """
    parts = text.replace("-", ":").split(":")
    try:
        octets = bytes(int(part, 16) for part in parts if 0 < len(part) <= 2)
    except ValueError:
        octets = b""
    if len(octets) != 6 or len(parts) != 6 or octets[0] & 1 or not any(octets):
        raise UsageError(f"--mac-address {printable(text)[:80]} is no address of one interface")
    return octets.hex(":")
