"""Starting and ending the name server of a network: one process, resolver.py.

It holds the lock of run/network/<id>.dns, whose content is its process id: so everybody sees
whether it runs, and nobody ends another process that has its number by now. The sockets are bound
here, by who starts it, so that a port that is taken is an error of that container's start.
"""

from __future__ import annotations

import _socket as socket
import errno
import fcntl
import os
import time

from minirun.engine import helpers
from minirun.engine.network import leases, plant
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.paths import Paths

    Record = dict[str, Any]

PORT = 53
LOCK, UDP, TCP = 3, 4, 5  # the server's descriptors
BACKLOG = 64
PATIENCE = 5.0  # seconds for it to end


def start(paths: Paths, network: Record) -> None:
    """Have the name server of ``network`` run, on its gateway's address."""
    fd = _try_lock(_file(paths, network["id"]))
    if fd is None:
        return
    try:
        udp = listen(socket.SOCK_DGRAM, network)
        tcp = listen(socket.SOCK_STREAM, network)
        line = [*helpers.bare("network.resolver"), leases.Leases(paths).path]
        given = {LOCK: fd, UDP: udp.fileno(), TCP: tcp.fileno()}
        # None of those given may be overwritten before it is in its place
        spare = {place: fcntl.fcntl(given[place], fcntl.F_DUPFD_CLOEXEC, 10) for place in given}
        actions: list[Any] = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in range(3)]
        actions += [(os.POSIX_SPAWN_DUP2, spare[place], place) for place in given]
        pid = os.posix_spawn(line[0], line, {}, file_actions=actions, setsid=True)
        os.pwrite(fd, b"%d" % pid, 0)
    finally:
        os.close(fd)


def stop(paths: Paths, ident: str) -> None:
    """End the name server of network ``ident``; afterwards it is gone. Fine if there is none."""
    path = _file(paths, ident)
    deadline = time.monotonic() + PATIENCE
    while os.path.exists(path):
        fd = _try_lock(path)
        if fd is not None:
            os.unlink(path)
            os.close(fd)
            return
        with open(path, encoding="ascii") as file:
            plant.end(int(file.read() or 0))
        if time.monotonic() > deadline:
            raise Error(f"the name server of network {ident[:12]} does not end", hint=f"cat {path}")
        time.sleep(0.005)


def is_running(paths: Paths, ident: str) -> bool:
    path = _file(paths, ident)
    fd = _try_lock(path) if os.path.exists(path) else -1
    if fd is None:
        return True
    if fd >= 0:
        os.close(fd)
    return False


def listen(kind: int, network: Record) -> socket.socket:
    """A socket at the gateway's port 53, for who comes by the bridge and for nobody else."""
    made = socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, network["bridge"].encode())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
    try:
        made.bind((network["gateway"], PORT))
        if kind == socket.SOCK_STREAM:
            made.listen(BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise Error(
            f"network {network['name']} needs port {PORT} of {network['gateway']} for its name "
            "server, and another program listens there on every address",
            hint=f"ss -lnup 'sport = :{PORT}'; dnsmasq: --bind-interfaces",
        ) from None
    return made


def _file(paths: Paths, ident: str) -> str:
    return f"{leases.directory(paths)}/{ident}.dns"


def _try_lock(path: str) -> int | None:
    """The file, locked; None if the server has the lock."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
