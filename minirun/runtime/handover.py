"""What passes between our caller and the process that is made: file descriptors, a terminal, its
number. ``create``, ``run`` and ``exec`` have the same options for it.

Interface: check_terminal, open_fds (before); announce (after).
"""

from __future__ import annotations

import os

from minirun import errors
from minirun.runtime.container import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Values


def check_terminal(options: Values, process: dict[str, Any], *, detached: bool) -> None:
    terminal, console_socket = process.get("terminal"), options.get("console-socket")
    if terminal and detached and not console_socket:
        raise errors.UsageError("process.terminal: a detached process needs --console-socket")
    if console_socket and not terminal:
        raise errors.UsageError("--console-socket: process.terminal is not set")


def open_fds(text: str, listening: int) -> int:
    """--preserve-fds N: how many from 3 on the command gets, which must all be open."""
    if not text.isdecimal() or int(text) > 4096:
        raise errors.UsageError(f"--preserve-fds: not a count: {errors.printable(text)}")
    count = int(text) + listening
    for fd in range(3, 3 + count):
        if not _was_given(fd):
            raise errors.UsageError(f"--preserve-fds {text}: {fd} is not open")
    return count


def _was_given(fd: int) -> bool:
    """Did our caller open it? What we have opened ourselves is close-on-exec."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def announce(options: Values, pid: int) -> None:
    """Tell our caller which process was made, in the ways it asked for."""
    if options.get("pid-file"):
        write_whole(options["pid-file"], str(pid).encode())
    if options.get("pidfd-socket"):
        from minirun.runtime import terminal

        pidfd = os.pidfd_open(pid)
        terminal.send_master(options["pidfd-socket"], pidfd, "pidfd")
        os.close(pidfd)
    if options.get("no-subreaper"):
        from minirun import linux

        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)
