"""A foreground ``run`` or ``exec``: wait for the command's end, and stand between both.

Signals that we get are passed on, the terminal is carried back and forth (terminal.py), and the
exit code of the command becomes ours. All signals arrive through a file descriptor (signalfd(2)):
one select(2) waits for everything, and none is lost that comes while the container is being made.

Interface: hold_signals, wait, wait_and_delete.
"""

from __future__ import annotations

import os
import sys

from minirun import linux
from minirun.runtime import ending, log, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.setup import Setup

SIG_BLOCK = 0
SIGNALFD_SIGINFO_SIZE = 128
NOT_OURS = (signals.KILL, signals.STOP, signals.PIPE, *signals.RESERVED)


def hold_signals() -> int:
    """From now on signals wait in the file descriptor that this returns."""
    held = [n for n in range(signals.FIRST, signals.RTMAX + 1) if n not in NOT_OURS]
    linux.sigprocmask(SIG_BLOCK, held)
    return linux.signalfd(held)


def wait(setup: Setup, signal_fd: int) -> int:
    """Wait for the process that was made; its exit code, 128 + n if signal n ended it."""
    if setup.master is None:
        code = None
        while code is None:
            code = _on_signal(signal_fd, setup.pid)
    else:
        code = _wait_with_terminal(setup.master, signal_fd, setup.pid)
    if code == 128 + signals.KILL and _oom_kills(setup):
        limit = setup.cgroup.memory_limit()
        sys.stderr.write(f"killed by the out-of-memory killer: memory limit {_size(limit)}\n")
    return code


def wait_and_delete(setup: Setup, signal_fd: int, *, keep: bool = False) -> int:
    """As ``wait``; then remove what is left of the container, unless told to ``keep`` it."""
    code = wait(setup, signal_fd)
    if not keep:
        try:
            setup.container.lock()
        except FileNotFoundError:  # somebody's delete --force ended it, and removed it
            return code
        log.warn(ending.destroy(setup.container))
    return code


def _oom_kills(setup: Setup) -> int:
    try:
        return setup.cgroup.oom_kills()
    except FileNotFoundError:  # somebody's delete --force has removed the cgroup already
        return 0


def _size(limit: int | None) -> str:
    if limit is None:
        return "of the machine"
    return f"{limit >> 20} MiB" if limit % (1 << 20) == 0 else f"{limit} bytes"


def _wait_with_terminal(master: int, signal_fd: int, pid: int) -> int:
    from minirun.runtime.terminal import Proxy

    code = None
    with Proxy(master) as proxy:
        while code is None:
            if proxy.pump(signal_fd):
                code = _on_signal(signal_fd, pid, proxy.resize)
        proxy.drain()
    return code


def _on_signal(signal_fd: int, pid: int, resize: object = None) -> int | None:
    """Deal with one signal; the exit code if it told of the container's end."""
    signal = int.from_bytes(os.read(signal_fd, SIGNALFD_SIGINFO_SIZE)[:4], "little")
    if signal == signals.CHLD:
        return _reap(pid)
    if signal == signals.WINCH and callable(resize):
        resize()
        return None
    try:
        linux.kill(pid, signal)
    except ProcessLookupError:
        pass
    return None


def _reap(pid: int) -> int | None:
    """Collect all children that have ended: ours may be among them, with orphans of hooks."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not ended:
            return code
        if ended == pid:
            result = os.waitstatus_to_exitcode(status)
            code = result if result >= 0 else 128 - result
