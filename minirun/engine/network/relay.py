"""Published ports of an ordinary user: a process that carries the bytes over.

The kernel's NAT (firewall.py) changes packets of one network namespace, and a user's bridges are in
another than the machine's. A process can have sockets of both:

    client ──► socket that holds the port (ports.py) ─ relay ─ socket of the user's ──► container

It ends with the container. What the container sees as its client is the bridge's own address; and
whoever needs the real one needs root.

Interface: start, main.
"""

from __future__ import annotations

import _socket as socket
import os
import sys
from contextlib import suppress

from minirun.engine.loop import READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Address = Any

CHUNK = 1 << 18
BACKLOG = 128
IDLE = 90.0  # seconds until a UDP client is forgotten
MOST_CLIENTS = 1024  # of one UDP port
SCRIPT = "import sys; sys.path.insert(0, {!r}); from {} import main; main()"
NOTHING = (BlockingIOError, InterruptedError)


def start(pid: int, carried: Sequence[tuple[int, str, str, int]]) -> int:
    """Start a relay for the container of process ``pid``, in the network namespace that we are in.

    ``carried`` has, for each port, the descriptor that holds it, the protocol, and the container's
    address and port. Returns the relay's process id.
    """
    project = os.path.abspath(f"{__file__}/../../../..")
    words = [f"{fd},{protocol},{address},{port}" for fd, protocol, address, port in carried]
    line = [sys.executable, "-SIc", SCRIPT.format(project, __name__), str(pid), *words]
    for fd, *_ in carried:
        os.set_inheritable(fd, True)
    return os.posix_spawn(line[0], line, os.environ, setpgroup=0)


def main() -> None:
    pid, *words = sys.argv[1:]
    loop = Loop()
    try:
        loop.watch(os.pidfd_open(int(pid)), lambda events: os._exit(0))
    except ProcessLookupError:
        return
    for word in words:
        fd, protocol, address, port = word.split(",")
        held = socket.socket(fileno=int(fd))
        held.setblocking(False)
        target = (address, int(port))
        if protocol == "udp":
            Datagrams(loop, held, target)
        else:
            held.listen(BACKLOG)
            loop.watch(held.fileno(), _acceptor(loop, held, target))
    loop.run()


def _acceptor(loop: Loop, held: socket.socket, target: Address) -> Callable[[int], object]:
    def accept(_: int) -> None:
        with suppress(OSError):  # it may have gone again, or we have too many files open
            fd, _address = held._accept()  # type: ignore[attr-defined]  # as socket.py does
            connect(loop, socket.socket(fileno=fd), target)

    return accept


def connect(loop: Loop, client: socket.socket, target: Address) -> None:
    """Connect a client with ``target``, until both have said all that they had to say."""
    server = _like(client, target)
    with suppress(*NOTHING):
        server.connect(target)
    client.setblocking(False)
    one, other = Side(loop, client), Side(loop, server)
    one.other, other.other = other, one
    other.is_connecting = True
    one.wait()
    other.wait()


def _like(client: socket.socket, target: Address) -> socket.socket:
    """A socket of the same kind, for an address that may be of another family."""
    family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
    made = socket.socket(family, client.type, client.proto)
    made.setblocking(False)
    return made


class Side:
    """One of two connections. What it receives, the other one sends, before it receives more."""

    other: Side

    def __init__(self, loop: Loop, connection: socket.socket) -> None:
        self.loop, self.connection = loop, connection
        self.fd = connection.fileno()
        self.to_send = b""
        self.is_connecting = False
        self.receives = True
        self.sends = True

    def wait(self) -> None:
        """Be called when there is something to do for this side, if it is open."""
        events = READ if self.receives and not self.other.to_send else 0
        events |= WRITE if self.to_send or self.is_connecting else 0
        if events:
            self.loop.watch(self.fd, self.serve, events)
        else:
            self.loop.forget(self.fd)

    def serve(self, events: int) -> None:
        try:
            self.is_connecting = False
            self._send()
            if self.receives and not self.other.to_send:
                self._receive()
        except NOTHING:
            pass
        except OSError:  # one has gone, or never was there: so goes the other
            self.close()
            self.other.close()
            return
        if not (self.receives or self.other.receives or self.to_send or self.other.to_send):
            self.close()
            self.other.close()
            return
        self.wait()
        self.other.wait()

    def _receive(self) -> None:
        data = self.connection.recv(CHUNK)
        self.receives = bool(data)
        self.other.to_send = data
        if not self.other.is_connecting:
            self.other._send()

    def _send(self) -> None:
        if self.to_send:
            with suppress(*NOTHING):
                self.to_send = self.to_send[self.connection.send(self.to_send) :]
        if not self.to_send and not self.other.receives and self.sends:
            self.sends = False
            self.connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.loop.forget(self.fd)
        self.connection.close()


class Datagrams:
    """A UDP port: each client has a socket of its own towards the container, for the answers."""

    def __init__(self, loop: Loop, held: socket.socket, target: Address) -> None:
        self.loop, self.held, self.target = loop, held, target
        self.clients: dict[Address, Client] = {}
        loop.watch(held.fileno(), self.serve)

    def serve(self, _: int) -> None:
        with suppress(OSError):
            data, address = self.held.recvfrom(CHUNK)
            client = self.clients.pop(address, None) or Client(self, address)
            self.clients[address] = client  # the last one now: the first is idle for longest
            if len(self.clients) > MOST_CLIENTS:
                self.clients[next(iter(self.clients))].close()
            client.send(data)


class Client:
    def __init__(self, port: Datagrams, address: Address) -> None:
        self.port, self.address = port, address
        self.connection = _like(port.held, port.target)
        self.connection.connect(port.target)
        port.loop.watch(self.connection.fileno(), self.serve)

    def send(self, data: bytes) -> None:
        self.port.loop.after(IDLE, self.close)
        self.connection.send(data)

    def serve(self, _: int) -> None:
        with suppress(OSError):  # nobody listens there: the client hears nothing either
            self.port.held.sendto(self.connection.recv(CHUNK), self.address)
            self.port.loop.after(IDLE, self.close)

    def close(self) -> None:
        self.port.loop.cancel(self.close)
        self.port.loop.forget(self.connection.fileno())
        self.connection.close()
        self.port.clients.pop(self.address, None)
