"""Attending to a process in the foreground: signals go in, its end comes out.

What happens to us meanwhile arrives in one place, as numbers read from a signalfd(2): no handler
interrupts anything, and there is no moment in which a signal is lost, for they wait in the kernel
from before that process exists.

    SIGCHLD            a child has ended: perhaps the one we wait for
    SIGWINCH           our terminal has a new size (screen.py)
    any other          is passed on to the container, as ``docker run --sig-proxy`` does
"""

from __future__ import annotations

import os
import select
from _signal import SIG_DFL, SIG_IGN, getsignal, signal  # type: ignore[import-not-found]

from minirun import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.screen import Screen

SIG_BLOCK, SIGCHLD, SIGWINCH = 0, 17, 28  # the signal module would cost 3 ms at each start
SIGNALFD_SIGINFO = 128  # bytes for each signal; the first four are its number. signalfd(2)

# Not passed on: KILL and STOP cannot be caught; PIPE is about our own output; 32 and 33 are the C
# library's; the rest would tell of a fault in this very process, which must not be slept over.
KEPT = {9, 13, 19, 32, 33} | {4, 5, 7, 8, 11}
CAUGHT = [number for number in range(1, 65) if number not in KEPT]


class Signals:
    """From now on signals wait to be read. Programs that we start begin with none blocked."""

    def __init__(self) -> None:
        signal(SIGCHLD, SIG_DFL)  # where it is ignored nobody's exit code can be had: wait(2)
        # what else our caller has us ignore stays ignored (nohup(1)); Python itself ignores SIGPIPE
        caught = [number for number in CAUGHT if getsignal(number) != SIG_IGN]
        linux.sigprocmask(SIG_BLOCK, caught)
        self.fd = linux.signalfd(caught)

    def read(self) -> list[int]:
        """The numbers of the signals that came; waits for the first."""
        data = os.read(self.fd, SIGNALFD_SIGINFO * 16)
        records = range(0, len(data), SIGNALFD_SIGINFO)
        return [int.from_bytes(data[start : start + 4], "little") for start in records]


def attend(child: int, signals: Signals, screen: Screen | None = None) -> int:
    """Wait for process ``child``; its exit code, negative if a signal ended it (-9: SIGKILL).

    Meanwhile signals are passed on to it, and bytes between its terminal and our streams.
    """
    poller = screen.poller if screen else select.poll()
    poller.register(signals.fd, select.POLLIN)
    while (code := reap(child)) is None:
        for fd, events in poller.poll():
            if fd == signals.fd:
                pass_on(signals.read(), child, screen)
            elif screen:
                screen.serve(fd, events)
    return code


def reap(child: int) -> int | None:
    """The exit code of ``child`` if it has ended. Nobody else's is asked for: we may wait for
    another child afterwards, and a status is given out only once. wait(2)"""
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def pass_on(numbers: list[int], child: int, screen: Screen | None) -> None:
    for number in numbers:
        if number == SIGWINCH and screen:
            screen.resize()
        elif number != SIGCHLD:
            os.kill(child, number)


def shell_code(code: int) -> int:
    """An exit code as a shell shows it: 128 + n for signal n."""
    return code if code >= 0 else 128 - code
