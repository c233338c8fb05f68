"""Waiting for several things at once: files that are ready, moments, and children that end.

The heart of a container's monitor. It imports next to nothing, for there is one for each container,
and each has this memory for itself: poll(2) for files and moments; SIGCHLD, which the interpreter
turns into a byte in a pipe, for children (``signal.set_wakeup_fd``).

Interface: Loop.watch, forget, after, cancel, spawn, when_ended, run.
"""

from __future__ import annotations

import os
import select
import time
from _signal import (  # type: ignore[import-not-found]  # the signal module brings enum along
    SIGCHLD,
    set_wakeup_fd,
    signal,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READ, WRITE = select.POLLIN, select.POLLOUT
# To ignore a signal is inherited, and Python ignores SIGPIPE. 9 and 19 cannot be ignored, 32 and
# 33 are libc's.
RESTORED = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]


class Loop:
    def __init__(self) -> None:
        self._poller = select.poll()
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._alarms: dict[Callable[[], object], float] = {}
        self._children: dict[int, Callable[[int], object]] = {}
        self._ended: dict[int, int] = {}  # nobody has asked for them yet
        self.is_over = False
        self._bell, ringer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        set_wakeup_fd(ringer)
        signal(SIGCHLD, lambda number, frame: None)
        self.watch(self._bell, lambda events: self._reap())

    def watch(self, fd: int, handler: Callable[[int], object], events: int = READ) -> None:
        """Call ``handler(events)`` whenever ``fd`` is ready; once more: with other events."""
        self._handlers[fd] = handler
        self._poller.register(fd, events)

    def forget(self, fd: int) -> None:
        if self._handlers.pop(fd, None):
            self._poller.unregister(fd)

    def after(self, seconds: float, then: Callable[[], object]) -> None:
        """Call ``then()`` once, in so many seconds; a second time for the same: at the new time."""
        self._alarms[then] = time.monotonic() + seconds

    def cancel(self, then: Callable[[], object]) -> bool:
        """Whether it was to be called."""
        return self._alarms.pop(then, None) is not None

    def spawn(self, line: list[str], fds: Sequence[int], then: Callable[[int], object]) -> int:
        """Start a program with the files ``fds`` as its 0, 1, 2 …; ``then(code)`` at its end.

        It is a process group of its own, with no signal ignored or blocked. Returns its number.
        """
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
        pid = os.posix_spawn(
            line[0], line, os.environ, file_actions=actions,
            setpgroup=0, setsigmask=(), setsigdef=RESTORED,
        )  # fmt: skip
        self.when_ended(pid, then)
        return pid

    def when_ended(self, pid: int, then: Callable[[int], object]) -> None:
        """Call ``then(code)`` when this child has ended; a code of -n: signal n ended it.

        It may have become our child just now, and have ended before (prctl(2), CHILD_SUBREAPER).
        """
        if pid in self._ended:
            code = self._ended.pop(pid)
            self.after(0, lambda: then(code))
        else:
            self._children[pid] = then

    def forget_ended(self) -> None:
        """The children that nobody has asked for until now were orphans of no interest."""
        self._ended.clear()

    def _reap(self) -> None:
        os.read(self._bell, 1 << 10)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            then = self._children.pop(pid, None)
            if then:
                then(code)
            else:
                self._ended[pid] = code

    def run(self) -> None:
        """Wait and call, until ``is_over``."""
        while not self.is_over:
            now = time.monotonic()
            for then in [then for then, when in self._alarms.items() if when <= now]:
                if self.cancel(then):
                    then()
            if self.is_over:
                return
            for fd, events in self._poller.poll(self._patience()):
                if handler := self._handlers.get(fd):
                    handler(events)

    def _patience(self) -> float | None:
        """Milliseconds until the next alarm."""
        if not self._alarms:
            return None
        return max(0.0, (min(self._alarms.values()) - time.monotonic()) * 1000)
