"""Starting a container's monitor: as soon as can be, so that it is ready when it is needed.

The monitor is a fresh interpreter, and a session of its own: a ^C at our terminal is not for it. We
fork, so that what must be set before its first instruction can be: that it is to adopt the
container's process when the runtime has ended (``PR_SET_CHILD_SUBREAPER``, which lasts over an
execve(2)), and that it has no file of ours but its end of our connection.

Interface: start_monitor. What it is to do, it hears from plan.py.
"""

from __future__ import annotations

import os
from _signal import SIG_DFL, signal  # type: ignore[import-not-found]
from _socket import socket, socketpair

from minirun import linux
from minirun.engine import helpers, wire
from minirun.engine.loop import RESTORED

SIG_SETMASK = 2
SOCKET = 3  # the descriptor at which the monitor looks for its end
MOST_FILES = 1 << 20  # sysctl fs.nr_open


def start_monitor() -> socket:
    """Start one that waits for its plan; our end of the connection. It ends when we do before."""
    ours, theirs = socketpair(*wire.KIND)
    line = helpers.bare("monitor")
    if os.fork():
        theirs.close()
        return ours
    try:
        become_monitor(theirs.fileno(), line)
    finally:
        os._exit(1)


def become_monitor(connection: int, line: list[str]) -> None:
    os.setsid()
    os.chdir("/")
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    for number in RESTORED:
        signal(number, SIG_DFL)
    linux.sigprocmask(SIG_SETMASK, [])
    null = os.open(os.devnull, os.O_RDWR)
    for place, fd in enumerate((null, null, null, connection)):
        os.dup2(fd, place)
    os.closerange(SOCKET + 1, MOST_FILES)
    os.execve(line[0], line, os.environ)
