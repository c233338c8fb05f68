"""The socket that a runtime sends a container's terminal through (``--console-socket``).

The runtime makes the pseudoterminal inside the container and sends its master's descriptor
(SCM_RIGHTS, unix(7)). A socket's path must be short, 108 bytes, and a store's need not be: so the
socket is named from the container's directory, where whoever listens must be.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, socket

NAME = "console.sock"
KIND = AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC


def listen(name: str = NAME) -> socket:
    try:
        os.unlink(name)  # what was left by one that was killed
    except FileNotFoundError:
        pass
    listener = socket(*KIND)
    listener.bind(name)
    listener.listen(1)
    listener.setblocking(False)
    return listener


def receive(listener: socket) -> int | None:
    """The master's descriptor, of a runtime that has ended; None if it has sent none."""
    try:
        fd, _ = listener._accept()  # type: ignore[attr-defined]
        connection = socket(*KIND, fileno=fd)
        _, control, _, _ = connection.recvmsg(1024, 64)
        connection.close()
    except (BlockingIOError, ConnectionError):
        return None
    finally:
        os.unlink(listener.getsockname())
        listener.close()
    rights = [data for _, kind, data in control if kind == SCM_RIGHTS]
    if not rights:
        return None
    master = int.from_bytes(rights[0][:4], "little")
    os.set_inheritable(master, False)
    return master
