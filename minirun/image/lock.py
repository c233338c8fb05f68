"""Locks between processes that die with their holder: flock(2).

The store needs no lock files. What is locked is the thing itself, opened read-only: the directory
whose names change, or the partial file that grows. The kernel gives a lock back when its holder
ends, also by ``kill -9``, so there is never a stale one to clean up.

    with lock.exclusive(path): ...      nobody else has it, shared or exclusive
    with lock.shared(path): ...         others may have it shared too

A wait that lasts too long ends with a StoreError that names the process in the way (proc_locks(5)).
"""

from __future__ import annotations

import fcntl
import os
import time

from minirun.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WAIT = 30.0  # seconds; what is done under the locks of the store takes milliseconds
INTERVAL = 0.02  # seconds between two tries: flock(2) knows no time-out of its own


class Lock:
    """An open file with a lock on it, given back when the ``with`` block ends."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def exclusive(path: str, *, wait: float = WAIT) -> Lock:
    return _lock(path, fcntl.LOCK_EX, wait)


def shared(path: str, *, wait: float = WAIT) -> Lock:
    return _lock(path, fcntl.LOCK_SH, wait)


def _lock(path: str, how: int, wait: float) -> Lock:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        acquire(fd, how, path, wait=wait)
    except BaseException:
        os.close(fd)
        raise
    return Lock(fd)


def acquire(
    fd: int,
    how: int,
    path: str,
    *,
    wait: float,
    progress: Callable[[], object] | None = None,
) -> None:
    """Lock an open file. ``wait`` counts anew whenever ``progress()`` gives something else.

    Raises StoreError with the holder's process id once the wait is over.
    """
    deadline, seen = time.monotonic() + wait, None
    while not _try(fd, how):
        now = progress() if progress else None
        if now != seen:
            deadline, seen = time.monotonic() + wait, now
        if time.monotonic() >= deadline:
            raise StoreError(
                f"{path}: locked by {_holders(fd)}",
                hint="wait until it is done, or stop it; the lock ends with the process",
            )
        time.sleep(INTERVAL)


def _try(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holders(fd: int) -> str:
    """Who has the lock, by the kernel's list: ``1: FLOCK  ADVISORY  WRITE 123 fd:00:456 0 EOF``."""
    inode = str(os.fstat(fd).st_ino)
    with open("/proc/locks", encoding="ascii") as locks:
        rows = [line.split() for line in locks if " -> " not in line]
    pids = [row[4] for row in rows if row[1] == "FLOCK" and row[5].split(":")[2] == inode]
    return f"process {', '.join(pids)}" if pids else "another process"
