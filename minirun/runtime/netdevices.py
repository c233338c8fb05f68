"""``linux.netDevices``: interfaces of the host that move into the container's network namespace.

The kernel moves an interface and renames it in one step, and drops its addresses: those that are
permanent and global are put back, and the interface is brought up. It is told so by rtnetlink(7)
messages. A message is a header, a fixed structure and attributes, each with its length in front.

When the namespace ends, the kernel gives physical interfaces back to the host, and removes virtual
ones; the spec wants it to be left at that. Interface: move.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, if_nameindex, if_nametoindex, socket
from struct import pack, unpack, unpack_from

from minirun import linux
from minirun.errors import SpecError, StepError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_NEWADDR, RTM_GETADDR = 16, 20, 22
IFLA_IFNAME, IFLA_NET_NS_FD = 3, 28
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_PERMANENT, RT_SCOPE_UNIVERSE, IFF_UP = 0x80, 0, 1


def move(devices: dict[str, dict[str, Any]], pid: int) -> None:
    """Move ``{name: {"name": new name}}`` into the network namespace of process ``pid``. A new name
    that ends in %d gets a number that is free there."""
    own, theirs = (
        os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC) for process in ("self", pid)
    )
    outside = _socket()
    try:
        indexes = {name: _index(name) for name in devices}
        linux.setns(theirs, linux.CLONE_NEWNET)  # a socket stays where it was made
        inside = _socket()
        for name, device in devices.items():
            try:
                _move(indexes[name], device.get("name") or name, outside, inside, theirs)
            except OSError as error:
                raise StepError(f"linux.netDevices: {printable(name)}: {error.strerror}") from error
    finally:
        linux.setns(own, linux.CLONE_NEWNET)
        os.close(own)
        os.close(theirs)


def _index(name: str) -> int:
    try:
        return if_nametoindex(name)
    except OSError:
        raise SpecError(
            f"linux.netDevices: {printable(name)}: there is no such interface", hint="ip link"
        ) from None


def _move(index: int, name: str, outside: socket, inside: socket, namespace: int) -> None:
    addresses = list(_addresses(outside, index))
    before = if_nameindex()
    wanted = {IFLA_IFNAME: name.encode() + b"\0", IFLA_NET_NS_FD: pack("I", namespace)}
    _ask(outside, RTM_NEWLINK, pack("BxHiII", 0, 0, index, 0, 0), wanted)
    ((index, _),) = set(if_nameindex()) - set(before)
    for family, prefix, attributes in addresses:
        header = pack("BBBBi", family, prefix, 0, RT_SCOPE_UNIVERSE, index)
        _ask(inside, RTM_NEWADDR, header, attributes)
    _ask(inside, RTM_NEWLINK, pack("BxHiII", 0, 0, index, IFF_UP, IFF_UP), {})


def _addresses(link: socket, index: int) -> Iterator[tuple[int, int, dict[int, bytes]]]:
    """(family, length of the prefix, attributes) of an interface's permanent, global addresses."""
    for body in _ask(link, RTM_GETADDR, bytes(8), {}):
        family, prefix, flags, scope, of = unpack_from("BBBBi", body)
        attributes = _attributes(body[8:])
        if IFA_FLAGS in attributes:
            (flags,) = unpack("I", attributes[IFA_FLAGS])
        if of == index and flags & IFA_F_PERMANENT and scope == RT_SCOPE_UNIVERSE:
            kept = (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST)
            yield family, prefix, {key: attributes[key] for key in kept if key in attributes}


# rtnetlink's messages


def _socket() -> socket:
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)


def _ask(link: socket, kind: int, header: bytes, attributes: dict[int, bytes]) -> list[bytes]:
    """Send one message; the bodies of the answers. An error of the kernel is raised."""
    body = header
    for key, value in attributes.items():
        body += (pack("HH", 4 + len(value), key) + value).ljust(4 + len(value) + 3 & ~3, b"\0")
    flags = NLM_F_REQUEST | (NLM_F_DUMP if kind == RTM_GETADDR else NLM_F_ACK)
    link.send(pack("IHHII", 16 + len(body), kind, flags, 0, 0) + body)
    answers: list[bytes] = []
    while True:
        data = link.recv(1 << 16)
        while data:
            length, answer = unpack_from("IH", data)
            if answer == NLMSG_DONE:
                return answers
            if answer == NLMSG_ERROR:
                (number,) = unpack_from("i", data, 16)
                if number:
                    raise OSError(-number, os.strerror(-number))
                return answers
            answers.append(data[16:length])
            data = data[length + 3 & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, key = unpack_from("HH", data)
        found[key] = data[4:length]
        data = data[length + 3 & ~3 :]
    return found
