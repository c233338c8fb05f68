"""Published ports of an ordinary user: a process that carries the bytes over.

The kernel's NAT (firewall.py) changes packets of one network namespace, and a user's bridges are in
another than the machine's. A process can have sockets of both:

    client ──► socket that holds the port (ports.py) ─ relay ─ socket of the user's ──► container

It ends when nobody holds the ports any more, that is with the container's monitor. What the
container sees as its client is the bridge's own address; whoever needs the real one needs root.

Interface: start, main.
"""

from __future__ import annotations

import _socket as socket
import fcntl
import os
import sys
from contextlib import suppress

from minirun.engine.loop import READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Address = Any
    Port = dict[str, Any]

CHUNK = 1 << 18
BACKLOG = 128
PROTOCOLS = {
    socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp", socket.IPPROTO_SCTP: "sctp",
}  # fmt: skip
IDLE = 90.0  # seconds until a UDP client is forgotten
MOST_CLIENTS = 1024  # of one UDP port
NOTHING = (BlockingIOError, InterruptedError)
STANDARD = 3  # descriptors


def start(held: Sequence[int], ports: Iterable[Port], run: str) -> int:
    """Start a relay for the ports of a container, which the sockets ``held`` hold.

    A port has ``address``, the container's, besides what ports.hold says. Returns a descriptor:
    when it is closed everywhere, the relay ends.
    """
    from minirun.engine import helpers, rootless

    alive, keep = os.pipe()
    targets = {(p["hostIp"], p["hostPort"], p["protocol"]): p for p in ports}
    files, words = [alive], []
    for fd in held:
        one = socket.socket(fileno=os.dup(fd))
        name = (*one.getsockname()[:2], PROTOCOLS[one.proto])
        if port := targets.get(name):
            words.append(f"{port['protocol']},{port['address']},{port['containerPort']}")
            files.append(one.detach())
    line = [*helpers.bare("network.relay"), *words]
    if not os.fork():
        try:
            rootless.enter_network(run)
            _execute(line, files)
        finally:
            os._exit(1)
    for fd in files:
        os.close(fd)
    return keep


def _execute(line: list[str], files: list[int]) -> None:
    """With these files from 3 on, and no others."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 1000) for fd in (null, null, null, *files)]
    for place, fd in enumerate(high):
        os.dup2(fd, place)
    os.closerange(len(high), 1 << 20)
    os.execve(line[0], line, {})


def main() -> None:
    loop = Loop()
    loop.watch(STANDARD, lambda events: os._exit(0))
    for fd, word in enumerate(sys.argv[1:], STANDARD + 1):
        protocol, address, port = word.split(",")
        held = socket.socket(fileno=fd)
        held.setblocking(False)
        target = (address, int(port))
        if protocol == "udp":
            Datagrams(loop, held, target)
        else:
            held.listen(BACKLOG)
            loop.watch(fd, _acceptor(loop, held, target))
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
