"""Asking the kernel to change links, addresses and routes: netlink(7), rtnetlink(7).

    request   length 4, type 2, flags 2, sequence number 4, port 4, and a body of the type's form
    answer    the same header, and an error number, which is 0 if it is done

bridge.py has the bodies made by pyroute2. To take a link away its index is enough, and so it is
done here: a container's end need not wait for pyroute2 to be imported.
"""

from __future__ import annotations

import _socket as socket
import os
import sys
from _socket import if_nametoindex
from errno import EOPNOTSUPP

from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

NETLINK_ROUTE, NLMSG_ERROR, LARGEST = 0, 2, 1 << 16
HEADER = 16  # bytes
DELLINK = 17
REQUEST, ACK = 1, 4


class Route:
    """A connection with the routing part of the kernel, for this network namespace."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Make a request and wait until it is done. Error if the kernel refuses; ``what`` is the
        same as a command."""
        length = HEADER + len(body)
        header = number(length, 4) + number(kind, 2) + number(REQUEST | ACK | flags, 2) + bytes(8)
        self._socket.send(header + body)
        answer = self._socket.recv(LARGEST)
        if answer[4:6] != number(NLMSG_ERROR, 2):
            raise Error(f"{what}: the kernel gave no answer")
        error = int.from_bytes(answer[HEADER : HEADER + 4], sys.byteorder, signed=True)
        if error:
            hint = "this kernel has no such links: --network none" if -error == EOPNOTSUPP else None
            raise Error(f"{what}: {os.strerror(-error)}", hint=hint)

    def remove(self, name: str) -> None:
        """Take a link away; fine if there is none. Its struct ifinfomsg has nothing but the index.

        A cable goes with either of its ends, and with the network namespace that one is in: it may
        go at this very moment.
        """
        try:
            body = bytes(4) + number(if_nametoindex(name), 4) + bytes(8)
            self.ask(DELLINK, 0, body, f"ip link delete {name}")
        except (Error, OSError):
            if exists(name):
                raise


def exists(interface: str) -> bool:
    try:
        return bool(interface and if_nametoindex(interface))
    except OSError:
        return False


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, sys.byteorder)
