"""What a container's monitor and the commands say to one another.

Each container that somebody attends to has a socket, run/attach/<id>, at which its monitor listens.
It is of the type SOCK_SEQPACKET (unix(7)): messages arrive whole, and in order. The first byte says
what a message is.

    command ─► monitor                          monitor ─► command
    P  the plan of a start (launch.py)          S  started; with the descriptor to write input to,
    W  streams: which of "ioe" we want               if "i" was wanted and there is one
    K  number: send this signal                 o  bytes of standard output, or of the terminal
    X  number: the same, and then stay ended    e  bytes of standard error, or what a helper says
    N  name=JSON: a fact for state.json         F  exit code: it could not be started
    C  streams: nobody reads these any more     E  exit code, then words: "again" if it will be
    H  seconds until the next check (health)         started again, "oom" if memory ran out

Input goes by no message: who is attached writes to the container's pipe or terminal itself.
After an E without "again" the monitor cleans up and goes; the end of the connection tells of that.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SCM_RIGHTS, SHUT_WR, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.paths import Paths

PLAN, WATCH, SIGNAL, STOP, NOTE, CLOSE, HEALTH = b"P", b"W", b"K", b"X", b"N", b"C", b"H"
STARTED, STDOUT, STDERR, FAILED, ENDED = b"S", b"o", b"e", b"F", b"E"
AGAIN, OOM = b"again", b"oom"
LARGEST = 1 << 17  # bytes of a message
ANCILLARY = 1 << 11  # room for as many descriptors as one message can carry (SCM_MAX_FD, 253)
RIGHTS = 16 + 4 * 253  # bytes for the open files of a message: SCM_MAX_FD of them
KIND = AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC


def address(folder: int, ident: str) -> str:
    """The name of a container's socket, by way of the open directory of sockets: a path may be
    longer than the 108 bytes that unix(7) takes."""
    return f"/proc/self/fd/{folder}/{ident}"


def connect(paths: Paths, ident: str) -> socket | None:
    """A connection to the container's monitor; None where none listens."""
    folder = os.open(paths.attach, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket(*KIND)
    try:
        connection.connect(address(folder, ident))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    finally:
        os.close(folder)
    return connection


def tell(paths: Paths, ident: str, *messages: tuple[bytes, bytes]) -> None:
    """Say something to the container's monitor; afterwards it has been heard, and state.json says
    so. Where no monitor listens any more the container has just ended."""
    connection = connect(paths, ident)
    if connection is None:
        return
    for kind, data in messages:
        send(connection, kind, data)
    connection.shutdown(SHUT_WR)
    while receive(connection)[0]:
        pass  # it closes its end when it has come to ours
    connection.close()


def listen(folder: str, ident: str) -> socket:
    """The monitor's socket. One that a dead monitor left gives way."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket(*KIND)
    try:
        try:
            os.unlink(ident, dir_fd=fd)
        except FileNotFoundError:
            pass
        listener.bind(address(fd, ident))
        listener.listen(64)
        listener.setblocking(False)
    finally:
        os.close(fd)
    return listener


def send(connection: socket, kind: bytes, data: bytes = b"", fds: tuple[int, ...] = ()) -> None:
    """Send a message, with open files if there are any. The descriptors are bytes: SCM_RIGHTS"""
    rights = b"".join(fd.to_bytes(4, "little") for fd in fds)
    connection.sendmsg([kind, data], [(SOL_SOCKET, SCM_RIGHTS, rights)] if fds else [])


def receive(connection: socket) -> tuple[bytes, bytes, list[int]]:
    """The next message: its kind, its data and the open files that came with it.

    The kind is b"" at the end of the connection, however it came about.
    """
    try:
        data, control, _, _ = connection.recvmsg(LARGEST, RIGHTS)
    except ConnectionError:
        return b"", b"", []
    rights = b"".join(rights for level, kind, rights in control if kind == SCM_RIGHTS)
    fds = [int.from_bytes(rights[n : n + 4], "little") for n in range(0, len(rights), 4)]
    for fd in fds:
        os.set_inheritable(fd, False)
    return data[:1], data[1:], fds
