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
IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS


def clean(name: bytes) -> bytes:
    """A name as a path from the root: ``b"./a//b/"`` → ``b"a/b"``; the root itself is ``b""``."""
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        parts = _without_climbs(parts)
    return b"/".join(parts)


def _without_climbs(parts: list[bytes]) -> list[bytes]:
    done: list[bytes] = []
    for part in parts:
        if part != b"..":
            done.append(part)
        elif done:
            done.pop()
        else:
            raise LayerError("a name that leads out of the root")
    return done


def open_directory(root: int, path: bytes) -> int:
    """The directory that ``path`` leads to. OSError (ENOENT, ENOTDIR, …) if there is none."""
    return open_in(root, path, _DIRECTORY)


def open_in(root: int, path: bytes, flags: int, resolve: int = IN_ROOT) -> int:
    """Open what ``path`` leads to. OSError (ENOENT, ENOTDIR, …) if there is nothing."""
    for _ in range(_TRIES):
        try:
            return linux.openat2(root, path or b".", flags, resolve=resolve)
        except BlockingIOError:  # a rename somewhere, just when the kernel went through a ".."
            continue
    raise LayerError("something keeps renaming directories on the way")


def make_directories(root: int, path: bytes, make: Make) -> int:
    """Open a directory; ``make`` makes each that is missing on the way, or isn't a directory.

    The kernel's walk makes nothing, so this one goes step by step, each from an open directory to
    a name in it. A symbolic link that leads nowhere gets the directories that it promises.
    """
    done: Path = []
    todo = path.split(b"/")[::-1]
    links = 0
    with tree.Walk(root) as walk:
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                _up(walk, done, 1)
                continue
            target = _target(name, walk.fd)
            if target is None:
                done.append(name)
                _down(walk, done, make)
                continue
            links += 1
            if links > MAX_SYMLINKS:
                raise LayerError("too many symbolic links on the way")
            todo += target.split(b"/")[::-1]
            if target.startswith(b"/"):
                _up(walk, done, len(done))
        return os.dup(walk.fd)


def _target(name: bytes, fd: int) -> bytes | None:
    status = tree.lstat(name, fd)
    return os.readlink(name, dir_fd=fd) if status and stat.S_ISLNK(status.st_mode) else None


def _up(walk: tree.Walk, path: Path, levels: int) -> None:
    """Go up, but not above the root."""
    for _ in range(min(levels, len(path))):
        walk.up()
        path.pop()


def _down(walk: tree.Walk, path: Path, make: Make) -> None:
    try:
        walk.down(path[-1])
    except (FileNotFoundError, NotADirectoryError):
        make(walk.fd, path)
        walk.down(path[-1])
