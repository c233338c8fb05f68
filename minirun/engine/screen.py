"""A terminal that ``exec`` has made, in front of us: what it shows goes to our standard output,
what is typed goes to it (stdin.py).

Of a container's own terminal its monitor does this, for all who are attached; this one is ours.
"""

from __future__ import annotations

import fcntl
import os
import select
import termios

from minirun.engine.stdin import Input
from minirun.engine.terminal import CHUNK, window_size, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class Screen:
    """A context manager, by which our own terminal is as before afterwards. ``poller`` waits for
    all that ``serve`` has to do something about.

    Raises Detached when somebody types ``keys``; the terminal's ``master`` stays open.
    """

    def __init__(self, master: int, *, interactive: bool, keys: bytes) -> None:
        self.master, self.poller = master, select.poll()
        os.set_blocking(master, False)
        self.poller.register(master, select.POLLIN)
        self._is_open = True
        self.input: Input | None = None
        if interactive:
            self.input = Input(os.dup(master), self.poller, terminal=True, keys=keys)

    def __enter__(self) -> Screen:
        if self.input:
            self.input.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            while kind is None and self._show():  # what was written before the end is shown
                pass
        finally:
            if self.input:
                self.input.__exit__()

    def serve(self, fd: int, events: int) -> None:
        """Move what can be moved without waiting, after poll(2) said ``events`` about ``fd``."""
        if fd == self.master:
            self._show()
        elif self.input:
            self.input.serve(fd, events)

    def resize(self) -> None:
        """Give it the size of our terminal; the kernel tells the process by SIGWINCH."""
        if size := window_size():
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def _show(self) -> bool:
        """Show what there is; False if that is nothing just now, or if there will be no more."""
        try:
            data = os.read(self.master, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: no process has the terminal open any more
            data = b""
        if not data and self._is_open:
            self.poller.unregister(self.master)
        self._is_open = bool(data)
        write_all(1, data)
        return self._is_open
