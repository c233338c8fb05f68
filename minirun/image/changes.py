"""What a layer changes in those below it: added, changed, deleted. What ``diff`` shows.

    A /srv/new        a name that was not there
    C /etc/motd       another content, or other attributes; a directory when something in it is new
    D /tmp/gone       a whiteout

The layer is a directory as overlayfs keeps it: the ``upper`` of a container. A runtime that needs a
place to mount something on makes one, also there: ``stubs`` finds those, as they are nobody's work.
"""

from __future__ import annotations

import errno
import os
import stat

from minirun import linux
from minirun.image import tree, whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    Change = tuple[str, bytes]

ADDED, CHANGED, DELETED = "A", "C", "D"
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV)


def changes(upper: int, lowers: Sequence[int], omit: Collection[bytes] = ()) -> list[Change]:
    """Each change with its path from the root, in the order of the paths.

    ``lowers`` are the open directories of the layers below, the nearest first. ``omit`` holds paths
    that do not count, nor what is below them.
    """
    return sorted(_changes(upper, lowers, omit), key=lambda change: change[1])


def _changes(upper: int, lowers: Sequence[int], omit: Collection[bytes]) -> Iterator[Change]:
    path: list[bytes] = []
    with tree.Walk(upper) as walk:
        todo = [_names(walk.fd)]
        while todo:
            if not todo[-1]:
                todo.pop()
                if todo:
                    walk.up()
                    path.pop()
                continue
            name = todo[-1].pop()
            status = tree.lstat(name, walk.fd)
            here = b"/".join([*path, name])
            if status is None or here in omit:
                continue
            below = _status(lowers, here)
            if whiteout.is_mark(status):
                if below:
                    yield DELETED, here
                continue
            yield CHANGED if below else ADDED, here
            if tree.is_directory(status):
                walk.down(name)
                path.append(name)
                todo.append(_names(walk.fd))
                if tree.is_directory(below) and whiteout.is_opaque(walk.fd):
                    yield from _hidden(lowers, here, todo[-1])


def _names(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]


def _hidden(lowers: Sequence[int], path: bytes, names: Collection[bytes]) -> Iterator[Change]:
    """What was in a directory that an opaque one has replaced."""
    for name in whiteout.listing(lowers, path):
        if name not in names:
            yield DELETED, path + b"/" + name


def _status(lowers: Sequence[int], path: bytes) -> os.stat_result | None:
    found = whiteout.find(lowers, path)
    if found is None:
        return None
    try:
        return os.fstat(found)
    finally:
        os.close(found)


def stubs(upper: int, lowers: Sequence[int], mounted: Iterable[bytes]) -> set[bytes]:
    """Paths in ``upper`` that are only there for something to be mounted on them.

    ``mounted`` are the places. A directory around them counts too, if there is nothing else in it
    and it is as in the layers below: it came with them.
    """
    found: set[bytes] = set()
    for path in sorted(mounted):
        if _is_empty(upper, path):
            found.add(path)
    parents = {path.rpartition(b"/")[0] for path in found}
    while parents:
        found |= {path for path in parents if path and _holds_only(upper, lowers, path, found)}
        parents = {path.rpartition(b"/")[0] for path in parents & found}
    return found


def _is_empty(upper: int, path: bytes) -> bool:
    """An empty file or a directory that nobody has put anything into."""
    try:
        fd = linux.openat2(upper, path, os.O_PATH | os.O_NOFOLLOW, resolve=_PLAIN)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        return False
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            return not os.listdir(tree.handle(fd))
        return stat.S_ISREG(status.st_mode) and status.st_size == 0
    finally:
        os.close(fd)


_PLAIN = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_SYMLINKS


def _holds_only(upper: int, lowers: Sequence[int], path: bytes, stubs: Collection[bytes]) -> bool:
    fd = linux.openat2(upper, path, os.O_RDONLY | os.O_DIRECTORY, resolve=_PLAIN)
    try:
        alike = _alike(os.fstat(fd), _status(lowers, path))
        return alike and all(path + b"/" + name in stubs for name in _names(fd))
    finally:
        os.close(fd)


def _alike(one: os.stat_result, other: os.stat_result | None) -> bool:
    keys = ("st_mode", "st_uid", "st_gid")
    return other is not None and all(getattr(one, key) == getattr(other, key) for key in keys)
