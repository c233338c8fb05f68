"""The commands that are connected to a container's monitor: who listens, and who has fallen behind.

A command that reads slowly slows the container down, as a pipe between them would: nothing that it
wants to see is thrown away, and nothing is kept for it either, but for the few messages that were
under way. One that ends, however it ends, is forgotten.

Interface: Audience, Client.
"""

from __future__ import annotations

import os

from minirun.engine import wire
from minirun.engine.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from minirun.engine.loop import Loop

    Hear = Callable[["Client", bytes, bytes, list[int]], object]


class Client:
    """One connected command; ``streams`` are the kinds of output that it wants."""

    def __init__(self, audience: Audience, connection: socket) -> None:
        self.audience, self.connection = audience, connection
        self.fd = connection.fileno()
        self.streams = b""
        self.is_open = True
        self.waiting: list[tuple[bytes, bytes, tuple[int, ...]]] = []
        connection.setblocking(False)
        audience.loop.watch(self.fd, self.serve)

    def send(self, kind: bytes, data: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        """Send a message now or, if it does not go now, later. ``fds`` are closed then."""
        if self.is_open:
            self.waiting.append((kind, data, fds))
            if len(self.waiting) == 1:
                self.flush()

    def flush(self) -> None:
        behind = False
        try:
            while self.waiting:
                kind, data, fds = self.waiting[0]
                wire.send(self.connection, kind, data, fds)
                del self.waiting[0]
                for fd in fds:
                    os.close(fd)
        except BlockingIOError:
            behind = True
        except OSError:
            self.close()
            return
        self.audience.loop.watch(self.fd, self.serve, READ | WRITE * behind)
        self.audience.mark(self, behind=behind)

    def serve(self, events: int) -> None:
        if events & WRITE:
            self.flush()
        if not self.is_open or not events & ~WRITE:
            return
        try:
            kind, data, fds = wire.receive(self.connection)
        except BlockingIOError:
            return
        if kind:
            self.audience.hear(self, kind, data, fds)
        else:
            self.close()

    def close(self) -> None:
        if not self.is_open:
            return
        self.is_open = False
        for _, _, fds in self.waiting:
            for fd in fds:
                os.close(fd)
        self.waiting.clear()
        self.audience.loop.forget(self.fd)
        self.connection.close()
        self.audience.lose(self)


class Audience:
    """All who are connected. ``hear(client, kind, data, fds)`` gets what they say, with the kind
    b"" when they are gone; ``resume()`` is called when nobody ``is_behind`` any more."""

    def __init__(self, loop: Loop, hear: Hear, resume: Callable[[], object]) -> None:
        self.loop, self.hear, self.resume = loop, hear, resume
        self.clients: list[Client] = []
        self._behind: set[Client] = set()
        self._listener: socket | None = None

    @property
    def is_behind(self) -> bool:
        return bool(self._behind)

    def listen(self, folder: str, ident: str) -> None:
        self._listener = wire.listen(folder, ident)
        self._place = f"{folder}/{ident}"
        self.loop.watch(self._listener.fileno(), lambda events: self._accept())

    def _accept(self) -> None:
        from _socket import socket

        assert self._listener
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:  # who wanted to connect has thought better of it
            return
        self.add(socket(*wire.KIND, fileno=fd))

    def add(self, connection: socket) -> Client:
        client = Client(self, connection)
        self.clients.append(client)
        return client

    def lose(self, client: Client) -> None:
        self.clients.remove(client)
        self.mark(client, behind=False)
        self.hear(client, b"", b"", [])

    def mark(self, client: Client, *, behind: bool) -> None:
        """Note whether a client has fallen behind."""
        if behind:
            self._behind.add(client)
        elif client in self._behind:
            self._behind.remove(client)
            if not self._behind:
                self.resume()

    def tell(self, kind: bytes, data: bytes = b"") -> None:
        """Send a message to everybody."""
        for client in list(self.clients):
            client.send(kind, data)

    def show(self, stream: bytes, data: bytes) -> None:
        """Send output to those who want that stream."""
        for client in list(self.clients):
            if stream in client.streams:
                client.send(stream, data)

    def drop_slow(self) -> None:
        """Somebody must not wait any longer for those who do not read."""
        for client in list(self._behind):
            client.close()

    def leave(self) -> None:
        """Nobody else can come from now on."""
        if self._listener:
            try:
                os.unlink(self._place)
            except FileNotFoundError:
                pass
