"""The relay of an ordinary user's ports: bytes come out at the other side as they went in."""

import os
import socket
import threading

import pytest

from minirun.engine import helpers
from minirun.engine.network import relay
from tests.waiting import wait_for

LARGE = os.urandom(5 << 20)


@pytest.fixture
def carried():
    """Start a relay: ``carried(protocol, target)`` gives the address of its port."""
    keep, relays = [], []

    def start(protocol: str, target: tuple[str, int]) -> tuple[str, int]:
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        held = socket.socket(socket.AF_INET, kind)
        held.bind(("127.0.0.1", 0))
        alive, other = os.pipe()
        line = [*helpers.bare("network.relay"), f"{protocol},{target[0]},{target[1]}"]
        if not (pid := os.fork()):
            relay._execute(line, [alive, held.fileno()])
        os.close(alive)
        keep.append(other)
        relays.append(pid)
        address = held.getsockname()
        if protocol == "tcp":
            wait_for(lambda: listens(address))
        held.close()
        return address

    yield start
    for fd in keep:
        os.close(fd)
    for pid in relays:  # it ends when nobody has the other end of its pipe any more
        assert os.waitpid(pid, 0)[1] == 0


def listens(address) -> bool:
    try:
        socket.create_connection(address).close()
    except OSError:
        return False
    return True


@pytest.fixture
def backwards():
    """A TCP server that hears all, then says it backwards."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                threading.Thread(target=say, args=(connection,), daemon=True).start()

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)


def say(connection: socket.socket) -> None:
    with connection:
        connection.sendall(read_all(connection)[::-1])


def read_all(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


@pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["nothing", "a byte", "much"])
def test_all_that_is_said_arrives(carried, backwards, data):
    """Also the end of what a client says, before it is answered."""
    with socket.create_connection(carried("tcp", backwards), timeout=10) as client:
        threading.Thread(target=lambda: (client.sendall(data), client.shutdown(1))).start()
        assert read_all(client) == data[::-1]


def test_many_at_once(carried, backwards):
    address = carried("tcp", backwards)
    clients = [socket.create_connection(address, timeout=10) for _ in range(50)]
    for number, client in enumerate(clients):
        client.sendall(b"ab%d" % number)
        client.shutdown(socket.SHUT_WR)
    for number, client in enumerate(clients):
        assert read_all(client) == (b"ab%d" % number)[::-1]
        client.close()


def test_nobody_listens_there(carried):
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = server.getsockname()
    with socket.create_connection(carried("tcp", target), timeout=10) as client:
        try:
            assert client.recv(1) == b""
        except ConnectionResetError:
            pass


def test_datagrams(carried):
    """Each client has its own answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        address = carried("udp", server.getsockname())
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for number, client in enumerate(clients):
            client.settimeout(10)
            client.sendto(b"from %d" % number, address)
        for _ in clients:
            data, sender = server.recvfrom(100)
            server.sendto(data[::-1], sender)
        for number, client in enumerate(clients):
            assert client.recv(100) == (b"from %d" % number)[::-1]
            client.close()
