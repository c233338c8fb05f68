"""A directory as the root of all names: whatever a path says, it stays inside.

openat2(2) with RESOLVE_IN_ROOT makes the kernel take an open directory for ``/``: absolute symbolic
links start there, ``..`` ends there, and nobody who swaps directories meanwhile changes that.
"""

from __future__ import annotations

import os
import stat

from minirun import linux
from minirun.errors import LayerError
from minirun.image import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Path = list[bytes]
    Make = Callable[[int, Path], None]  # called with the open parent and the path to be made in it

MAX_SYMLINKS = 40  # on the way to one place, as in the kernel
_TRIES = 100
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS


def open_directory(root: int, path: bytes) -> int:
    """The directory that ``path`` leads to. OSError (ENOENT, ENOTDIR, …) if there is none."""
    for _ in range(_TRIES):
        try:
            return linux.openat2(root, path or b".", _DIRECTORY, resolve=_IN_ROOT)
        except BlockingIOError:  # a rename somewhere, just when the kernel went through a ".."
            continue
    raise LayerError("something keeps renaming directories on the way")


def make_directories(root: int, path: bytes, make: Make) -> int:
    """Open a directory; ``make`` makes each that is missing on the way, or isn't a directory.

    The kernel's walk makes nothing, so this one goes step by step, each from an open directory to
    a name in it. A symbolic link that leads nowhere gets the directories that it promises.
    """
    fd = open_directory(root, b"")
    try:
        done: Path = []
        todo = path.split(b"/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            target = None if name in (b"", b".", b"..") else _link(name, fd)
            if target is not None:
                links += 1
                if links > MAX_SYMLINKS:
                    raise LayerError("too many symbolic links on the way")
                todo += target.split(b"/")[::-1]
                if target.startswith(b"/"):
                    done = []
                    fd = _replace(fd, open_directory(root, b""))
            elif name == b"..":
                done = done[:-1]
                fd = _replace(fd, open_directory(root, b"/".join(done)))
            elif name not in (b"", b"."):
                done.append(name)
                fd = _replace(fd, _enter(fd, done, make))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _link(name: bytes, fd: int) -> bytes | None:
    status = tree.lstat(name, fd)
    return os.readlink(name, dir_fd=fd) if status and stat.S_ISLNK(status.st_mode) else None


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _enter(fd: int, path: Path, make: Make) -> int:
    try:
        return tree.open_directory(path[-1], fd)
    except (FileNotFoundError, NotADirectoryError):
        make(fd, path)
        return tree.open_directory(path[-1], fd)
