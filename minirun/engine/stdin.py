"""What comes from our standard input goes to a container: to its terminal, key by key, or its pipe.

Whoever is attached has been given that terminal or pipe, and writes to it; the container's output
comes another way (attach.py).
"""

from __future__ import annotations

import fcntl
import os
import termios
from contextlib import suppress
from select import POLLIN, POLLOUT

from minirun.engine.keys import Keys
from minirun.engine.terminal import CHUNK, END_OF_FILE, MOST_WAITING, Detached, raw, window_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from typing import Any


class Input:
    """A context manager: whatever happens inside, our own terminal is as before afterwards.

    Raises Detached when somebody types ``keys`` at a terminal.
    """

    def __init__(self, target: int, poller: select.poll, *, terminal: bool, keys: bytes) -> None:
        self.target, self.poller, self.terminal = target, poller, terminal
        self.keys = Keys(keys)
        self._waiting = b""
        self._is_open = True
        self._saved: list[Any] | None = None

    def __enter__(self) -> Input:
        if self.terminal:
            self.resize()
            if os.isatty(0):
                self._saved = termios.tcgetattr(0)
                termios.tcsetattr(0, termios.TCSANOW, raw(termios.tcgetattr(0)))
        self._watch()
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
        self._close()

    def resize(self) -> None:
        """Give the container's terminal the size of ours; the kernel tells it by SIGWINCH."""
        size = window_size()
        if size is not None and self.target >= 0:
            fcntl.ioctl(self.target, termios.TIOCSWINSZ, size)

    def serve(self, fd: int, events: int) -> None:
        """Move what can be moved without waiting, after poll(2) said ``events`` about ``fd``."""
        if fd == 0:
            self._read()
        elif fd == self.target:
            self._flush()
        self._watch()

    def _read(self) -> None:
        """The end of a terminal's input is passed on as the key that means it."""
        try:
            data = os.read(0, CHUNK)
        except OSError:  # EIO: our terminal is gone; a SIGHUP says the rest
            data = b""
        self._is_open = bool(data)
        if self.terminal:
            data = self.keys.feed(data) if data else END_OF_FILE
            if self.keys.pressed:
                raise Detached
        self._waiting += data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self.target, self._waiting) :]
        except BlockingIOError:
            return
        except OSError:  # EPIPE, EIO: nobody reads it any more
            self._waiting, self._is_open = b"", False
        if not self._is_open and not self.terminal:
            self._close()

    def _watch(self) -> None:
        """Wait to write only while there is something, and to read only while there is room."""
        if self._is_open and len(self._waiting) < MOST_WAITING:
            self.poller.register(0, POLLIN)
        else:
            self._forget(0)
        if self._waiting:
            self.poller.register(self.target, POLLOUT)
        elif self.target >= 0:
            self._forget(self.target)

    def _forget(self, fd: int) -> None:
        with suppress(KeyError):
            self.poller.unregister(fd)

    def _close(self) -> None:
        if self.target >= 0:
            self._forget(self.target)
            os.close(self.target)
            self.target = -1
