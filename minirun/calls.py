"""The system calls that Python has, and the observer who is told of them: linux.py has the others.

What needs no more than these, as the end of a container does, imports this and saves ctypes (3 ms).
``linux`` offers them too.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
    Observer = Callable[[str, tuple[Any, ...], object], None]

WRITE = os.O_WRONLY | os.O_CLOEXEC
_observer: Observer | None = None


def observe(observer: Observer | None) -> None:
    """From now on ``observer(name, arguments, result)`` hears of every call; None ends it.

    ``result`` is what the kernel returned, or the ``OSError`` that is about to be raised.
    """
    global _observer
    _observer = observer


def told(name: str, arguments: tuple[Any, ...], result: object) -> None:
    """Tell the observer of a call that was made elsewhere."""
    if _observer is not None:
        _observer(name, arguments, result)


def _observed(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """A function of ``os``, told to the observer."""

    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        try:
            result = function(*arguments, **keywords)
        except OSError as error:
            told(name, (*arguments, *keywords.values()), error)
            raise
        told(name, (*arguments, *keywords.values()), result)
        return result

    return call


fork = _observed("fork", os.fork)
chdir = _observed("chdir", os.chdir)
chroot = _observed("chroot", os.chroot)
fchdir = _observed("fchdir", os.fchdir)
mkdirat = _observed("mkdirat", os.mkdir)
mknodat = _observed("mknodat", os.mknod)
symlinkat = _observed("symlinkat", os.symlink)
fchownat = _observed("fchownat", os.chown)
setsid = _observed("setsid", os.setsid)
setresuid = _observed("setresuid", os.setresuid)
setresgid = _observed("setresgid", os.setresgid)
dup2 = _observed("dup2", os.dup2)
kill = _observed("kill", os.kill)


def write_file(path: str, data: str | bytes, opener: Callable[[str], int] | None = None) -> None:
    """Write to a file that is there already, in one write(2): how /proc and cgroups are told."""
    try:
        fd = opener(path) if opener else os.open(path, WRITE)
        try:
            written = os.write(fd, os.fsencode(data))
        finally:
            os.close(fd)
    except OSError as error:
        error.filename = path
        told("write", (path, data), error)
        raise
    told("write", (path, data), written)
