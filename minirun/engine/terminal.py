"""A container's terminal, and ours in front of it.

    keyboard ─► our terminal (raw: every key is passed on, also ^C)
                     │ ▲
                     ▼ │  this process copies
                pseudoterminal's master ◄──► slave = /dev/pts/0 in the container (makes ^C a SIGINT)

The runtime makes the pseudoterminal, inside the container, and sends us the master's descriptor
through a socket (SCM_RIGHTS, unix(7)). pty(7), termios(3)
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import termios
from contextlib import suppress
from select import POLLIN, POLLOUT

from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from minirun.engine.keys import Keys

CHUNK = 1 << 16
MOST_WAITING = 1 << 20  # bytes typed ahead that the container has not read
END_OF_FILE = b"\x04"  # ^D, which a terminal turns into the end of its input
IFLAG, OFLAG, CFLAG, LFLAG, CC = 0, 1, 2, 3, 6  # indexes of tcgetattr's list


class Detached(Exception):
    """The keys were typed that let go of the container."""


class Console:
    """The socket that the runtime sends the terminal through; ``name`` is relative to the bundle,
    for a socket's path must be short (108 bytes), and a store's need not be."""

    def __init__(self, name: str = "console.sock") -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.socket.bind(self.name)
        self.socket.listen(1)

    def receive(self, runtime: int) -> int | None:
        """The master's descriptor, or None if process ``runtime`` ended without sending one."""
        poller = select.poll()
        poller.register(self.socket, POLLIN)
        pidfd = os.pidfd_open(runtime)
        poller.register(pidfd, POLLIN)
        try:
            ready = {fd for fd, _ in poller.poll()}
            if self.socket.fileno() not in ready:
                return None
            with self.socket.accept()[0] as connection:
                _, fds, _, _ = socket.recv_fds(connection, 1024, 1)
            return fds[0] if fds else None
        finally:
            os.close(pidfd)
            self.socket.close()
            os.unlink(self.name)


class Terminal:
    """Copies between our standard streams and a container's terminal, as a context manager:
    whatever happens inside, our own terminal is as before afterwards.

    Raises Detached when somebody types ``keys``.
    """

    def __init__(self, master: int, *, interactive: bool, keys: Keys | None = None) -> None:
        self.master, self.interactive, self.keys = master, interactive, keys
        self._typed = b""
        self._saved: list[Any] | None = None
        self._poller: select.poll | None = None
        self._open = True
        os.set_blocking(master, False)
        self.resize()

    def __enter__(self) -> Terminal:
        if self.interactive and os.isatty(0):
            self._saved = termios.tcgetattr(0)
            termios.tcsetattr(0, termios.TCSANOW, raw(termios.tcgetattr(0)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self._drain()
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
        os.close(self.master)

    def resize(self) -> None:
        """Give the container's terminal the size of ours; the kernel tells it by SIGWINCH."""
        size = window_size()
        if size is not None:
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def register(self, poller: select.poll) -> None:
        self._poller = poller
        self._watch()

    def serve(self, fd: int, events: int) -> None:
        """Move what can be moved without waiting, after poll(2) said ``events`` about ``fd``."""
        if fd == 0:
            self._type()
        elif events & POLLOUT:
            self._flush()
        else:
            self._show()
        self._watch()

    def _watch(self) -> None:
        """Wait to write only while there is something, and for keys only while there is room."""
        assert self._poller
        if self._open:
            self._poller.register(self.master, POLLIN | (POLLOUT if self._typed else 0))
        else:
            _forget(self._poller, self.master)
        if self.interactive and len(self._typed) < MOST_WAITING:
            self._poller.register(0, POLLIN)
        else:
            _forget(self._poller, 0)

    def _type(self) -> None:
        """From our keyboard to the container. Its end is passed on as the key that means it."""
        try:
            data = os.read(0, CHUNK)
        except OSError:  # EIO: the terminal is gone; a SIGHUP says the rest
            data = b""
        self.interactive = bool(data)
        if data and self.keys:
            data = self.keys.feed(data)
            if self.keys.pressed:
                raise Detached
        elif not data:
            data = END_OF_FILE
        self._typed += data
        self._flush()

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            self._typed = self._typed[os.write(self.master, self._typed) :]

    def _show(self) -> bool:
        """From the container to our output; False when there is nothing more just now."""
        try:
            data = os.read(self.master, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody in the container has the terminal open any more
            data = b""
        self._open = bool(data)
        write_all(1, data)
        return self._open

    def _drain(self) -> None:
        """What the container wrote before it ended is shown, to the last byte."""
        while self._show():
            pass


def _forget(poller: select.poll, fd: int) -> None:
    with suppress(KeyError):
        poller.unregister(fd)


def raw(attributes: list[Any]) -> list[Any]:
    """Terminal attributes for passing every key on: cfmakeraw(3), and output is left alone."""
    mode = list(attributes)
    mode[IFLAG] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[OFLAG] &= ~termios.OPOST
    mode[CFLAG] = mode[CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    characters = list(mode[CC])
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    mode[CC] = characters
    return mode


def window_size() -> bytes | None:
    """struct winsize of our terminal, or None where there is none. ioctl_tty(2)"""
    for fd in (0, 1, 2):
        try:
            return fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            continue
    return None


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # an output that another program made non-blocking
            select.select([], [fd], [])


def check_interactive() -> None:
    """``-it`` wants a terminal to connect: bytes from a pipe would mean keys."""
    if not os.isatty(0):
        raise Error(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
            hint="leave out -t, or use -t without -i",
        )
