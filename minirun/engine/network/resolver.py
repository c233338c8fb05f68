"""The name server of a network: it knows the containers, and asks others for everything else.

A process of its own, at port 53 of the gateway's address, from the first container's start to the
last one's end (serving.py). Who asks is known by the address: a container hears of the names on all
networks that it is on, and of no others. What is not ours goes to the servers that it was given
with --dns, or to those that this machine asks itself; from --internal networks, to nobody.

    UDP    one socket for all questions; one for each that was passed on, whose answer is awaited
    TCP    a child process for each connection, with little time

The clients may be hostile: whatever does not parse is not answered.
"""

from __future__ import annotations

import _socket as socket
import os
import select
import sys
import time

from minirun.engine.network import dns, leases, upstream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.network.leases import Lease

UDP, TCP = 4, 5  # as serving.py puts them
LARGEST = 65535  # bytes of a packet
PATIENCE = 2.0  # seconds for one server to answer
TCP_PATIENCE = 10
MOST_WAITING = 512  # questions; the oldest goes for a new one
MOST_CHILDREN = 16
PORT = 53


class Directory:
    """Who is who, as leases.json says; read again when it has changed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: tuple[int, int] | None = None
        self.clients: dict[str, list[Lease]] = {}
        self.names: dict[str, dict[str, list[Lease]]] = {}
        self.reverse: dict[str, dict[str, Lease]] = {}

    def refresh(self) -> None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return
        if self.seen != (found.st_mtime_ns, found.st_ino):
            self.seen = (found.st_mtime_ns, found.st_ino)
            self.load(leases.read(self.path))

    def load(self, all_leases: list[Lease]) -> None:
        self.clients, self.names, self.reverse = {}, {}, {}
        of_container: dict[str, list[Lease]] = {}
        for lease in all_leases:
            of_container.setdefault(lease["container"], []).append(lease)
            known = self.names.setdefault(lease["network"], {})
            for name in lease["names"]:
                known.setdefault(name, []).append(lease)
                known.setdefault(f"{name}.{lease['name'].lower()}", []).append(lease)
            addresses = self.reverse.setdefault(lease["network"], {})
            for address in filter(None, (lease["address"], lease["address6"])):
                addresses[dns.reverse_name(packed(address))] = lease
                self.clients[address] = of_container[lease["container"]]

    def answer(self, query: dns.Query, places: list[Lease]) -> bytes | None:
        """The answer about a name of ours; None about any other."""
        networks = [place["network"] for place in places]
        if query.kind == dns.PTR:
            for network in networks:
                if lease := self.reverse.get(network, {}).get(query.name):
                    name = f"{lease['names'][0]}.{lease['name']}" if lease["names"] else ""
                    return dns.reply(query, [(dns.PTR, dns.encode_name(name))])
            return None
        known = (self.names.get(network, {}) for network in networks)
        found = [lease for names in known for lease in names.get(query.name, ())]
        if not found:
            return None
        start = time.time_ns() % len(found)  # who shares a name shares the work
        found = found[start:] + found[:start]
        return dns.reply(query, records(query.kind, found))


def records(kind: int, found: list[Lease]) -> list[tuple[int, bytes]]:
    both = [(lease["address"], lease["address6"]) for lease in found]
    four = [(dns.A, packed(a)) for a, _ in both if kind in (dns.A, dns.ANY)]
    six = [(dns.AAAA, packed(a)) for _, a in both if a and kind in (dns.AAAA, dns.ANY)]
    return four + six


def packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)


def servers(places: list[Lease]) -> list[str]:
    """Whom to ask on behalf of a container; nobody if all its networks are internal. What this
    machine asks, we can ask, also at an address of loopback."""
    if all(place["internal"] for place in places):
        return []
    return list(places[0]["dns"]) or upstream.read_host().servers


class Waiting:
    """A question that was passed on."""

    def __init__(self, query: dns.Query, client: Any, rest: list[str]) -> None:
        self.query, self.client, self.rest = query, client, rest
        self.ident = os.urandom(2)  # ours, which nobody on the bridge has seen
        self.socket: socket.socket | None = None
        self.deadline = 0.0

    def ask_next(self) -> bool:
        """Ask the next server; False if there is none left."""
        while self.rest:
            server = self.rest.pop(0)
            family = socket.AF_INET6 if ":" in server else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_DGRAM)
            try:
                self.socket.connect((server, PORT))
                self.socket.send(self.ident + self.query.packet[2:])
            except OSError:
                continue
            self.deadline = time.monotonic() + PATIENCE
            return True
        return False


class Server:
    def __init__(self, directory: Directory, udp: socket.socket, tcp: socket.socket) -> None:
        self.directory, self.udp, self.tcp = directory, udp, tcp
        self.waiting: dict[int, Waiting] = {}
        self.children = 0
        self.poller = select.poll()
        for server in (udp, tcp):
            server.setblocking(False)
            self.poller.register(server.fileno(), select.POLLIN)

    def run(self) -> None:
        while True:
            for fd, _ in self.poller.poll(self.pause()):
                try:
                    self.serve(fd)
                except OSError:
                    continue  # the client has gone, or the server is out of reach: its time runs
            self.give_up()

    def pause(self) -> float | None:
        """Milliseconds until the first of those that wait has waited long enough."""
        if not self.waiting:
            return None
        first = min(waiting.deadline for waiting in self.waiting.values())
        return max(0.0, first - time.monotonic()) * 1000 + 1

    def serve(self, fd: int) -> None:
        if fd == self.udp.fileno():
            packet, client = self.udp.recvfrom(LARGEST)
            self.question(packet, client)
        elif fd == self.tcp.fileno():
            self.connection()
        elif fd in self.waiting:
            self.hear(self.waiting[fd])

    def question(self, packet: bytes, client: Any) -> None:
        self.directory.refresh()
        query, places = dns.parse(packet), self.directory.clients.get(client[0])
        if query is None or places is None:
            return
        answer = self.directory.answer(query, places)
        if answer is not None:
            limit = len(answer) > dns.SMALLEST
            self.udp.sendto(dns.truncated(answer) if limit else answer, client)
            return
        if len(self.waiting) >= MOST_WAITING:
            self.fail(next(iter(self.waiting.values())))
        known = servers(places)
        waiting = Waiting(query, client, known * 2)
        if not known:
            self.udp.sendto(dns.reply(query, [], dns.REFUSED), client)
        else:
            self.pass_on(waiting)

    def pass_on(self, waiting: Waiting) -> None:
        if not waiting.ask_next() or waiting.socket is None:
            self.udp.sendto(dns.reply(waiting.query, [], dns.SERVFAIL), waiting.client)
            return
        self.waiting[waiting.socket.fileno()] = waiting
        self.poller.register(waiting.socket.fileno(), select.POLLIN)

    def forget(self, waiting: Waiting) -> None:
        assert waiting.socket is not None
        fd = waiting.socket.fileno()
        self.poller.unregister(fd)
        del self.waiting[fd]
        waiting.socket.close()

    def hear(self, waiting: Waiting) -> None:
        assert waiting.socket is not None
        try:
            packet = waiting.socket.recv(LARGEST)
        except OSError:  # nobody listens there
            self.forget(waiting)
            self.pass_on(waiting)
            return
        if packet[:2] == waiting.ident and len(packet) >= dns.HEADER and packet[2] & 0x80:
            self.forget(waiting)
            self.udp.sendto(waiting.query.packet[:2] + packet[2:], waiting.client)

    def fail(self, waiting: Waiting) -> None:
        self.forget(waiting)
        self.udp.sendto(dns.reply(waiting.query, [], dns.SERVFAIL), waiting.client)

    def give_up(self) -> None:
        now = time.monotonic()
        for waiting in [w for w in self.waiting.values() if w.deadline <= now]:
            self.forget(waiting)
            self.pass_on(waiting)

    # --- TCP --------------------------------------------------------------------------------------

    def connection(self) -> None:
        """Have a child answer one question of a connection."""
        fd, client = self.tcp._accept()  # type: ignore[attr-defined]  # as socket.py does
        connection = socket.socket(fileno=fd)
        while self.children and os.waitpid(-1, os.WNOHANG)[0]:
            self.children -= 1
        self.directory.refresh()
        places = self.directory.clients.get(client[0])
        if places and self.children < MOST_CHILDREN:
            if os.fork() == 0:
                try:
                    connection.settimeout(TCP_PATIENCE)
                    converse(connection, self.directory, places)
                finally:
                    os._exit(0)
            self.children += 1
        connection.close()


def converse(connection: socket.socket, directory: Directory, places: list[Lease]) -> None:
    packet = receive(connection)
    query = dns.parse(packet)
    if query is None:
        return
    answer = directory.answer(query, places)
    for server in servers(places) if answer is None else ():
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        other = socket.socket(family, socket.SOCK_STREAM)
        other.settimeout(PATIENCE)
        try:
            other.connect((server, PORT))
            send(other, packet)
            answer = receive(other)
            break
        except OSError:
            continue
    send(connection, answer or dns.reply(query, [], dns.SERVFAIL))


def receive(connection: socket.socket) -> bytes:
    """One packet, after two bytes that say how long it is. RFC 1035, 4.2.2"""
    length = int.from_bytes(_exactly(connection, 2), "big")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError("the connection has ended")
        data += more
    return data


def send(connection: socket.socket, packet: bytes) -> None:
    connection.sendall(len(packet).to_bytes(2, "big") + packet)


def main() -> None:
    os.chdir("/")
    (path,) = sys.argv[1:]
    udp, tcp = (socket.socket(fileno=fd) for fd in (UDP, TCP))
    Server(Directory(path), udp, tcp).run()
