"""How a layer says that something of the layers below is gone: whiteouts and opaque directories.

In a layer's tar they are files with names that no other file may have:

    d/.wh.NAME            NAME, of the layers below, is no longer in d
    d/.wh..wh..opq        nothing of the layers below is left in d

In a directory that overlayfs is to mount they are marks on the file system itself:

    d/NAME                a character device with the number 0:0
    d                     an extended attribute, trusted.overlay.opaque = "y"; in a user namespace,
                          where none of trusted.* can be set, user.overlay.opaque

A layer is unpacked with the former: they need no privileges and no support by the file system, and
the order of entries doesn't matter, as nothing else of a layer is touched by its own whiteouts.
``to_overlay`` turns them into the latter; flatten.py applies them.

See "Whiteouts" in https://github.com/opencontainers/image-spec/blob/main/layer.md, and "whiteouts
and opaque directories" in Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache

from minirun import idmap
from minirun.errors import LayerError
from minirun.image import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
_LONG = b".wh..wh.minirun."  # holds a name that has no room behind ".wh."
AUFS = (b".wh..wh.aufs", b".wh..wh.orph", b".wh..wh.plnk")
"""Docker's first storage driver kept its books under these names; they are no part of an image."""

NAME_MAX = 255

# --- in an unpacked layer: files ----------------------------------------------------------------


def is_reserved(path: bytes) -> bool:
    """Some part of a path is a name that only a whiteout may have."""
    return path.startswith(PREFIX) or b"/" + PREFIX in path


def hidden_name(name: bytes) -> bytes:
    """``b".wh.NAME"`` → ``b"NAME"``. LayerError if there can be no such file to hide."""
    hidden = name[len(PREFIX) :]
    if hidden in (b"", b".", b"..") or hidden.startswith(PREFIX):
        raise LayerError("a whiteout of something that cannot be")
    return hidden


def hide(name: bytes, dir_fd: int) -> None:
    """Mark NAME as gone."""
    mark = _mark(name)
    fd = os.open(mark, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=dir_fd)
    try:
        if mark.startswith(_LONG):
            os.write(fd, name)
    finally:
        os.close(fd)


def make_opaque(dir_fd: int) -> None:
    os.close(os.open(OPAQUE, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=dir_fd))


def take(dir_fd: int, names: dict[str, bool]) -> tuple[bool, list[bytes]]:
    """Remove the marks from a directory, and from the ``names`` in it.

    Returns whether it is opaque, and which names it hides.
    """
    opaque, hidden = False, []
    for name in [name for name in names if name.startswith(".wh.")]:
        mark = os.fsencode(name)
        if mark == OPAQUE:
            opaque = True
        else:
            hidden.append(_read_long(mark, dir_fd) or mark[len(PREFIX) :])
        os.unlink(mark, dir_fd=dir_fd)
        del names[name]
    return opaque, hidden


def _mark(name: bytes) -> bytes:
    """The file that says that NAME is gone. Where ".wh.NAME" has no room, that file holds NAME."""
    if len(PREFIX + name) <= NAME_MAX:
        return PREFIX + name
    if len(name) > NAME_MAX:
        raise LayerError("a whiteout of a name that is too long to be")
    from hashlib import sha256

    return _LONG + sha256(name).hexdigest().encode()


def _read_long(mark: bytes, dir_fd: int) -> bytes | None:
    if not mark.startswith(_LONG):
        return None
    fd = os.open(mark, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        return os.read(fd, NAME_MAX)
    finally:
        os.close(fd)


# --- in a directory for overlayfs ---------------------------------------------------------------


@cache
def in_user_namespace() -> bool:
    """Whether overlayfs must be mounted with ``userxattr``, for the second kind of attributes."""
    return not idmap.is_root_of_machine()


def attribute(name: str) -> str:
    """An extended attribute by which overlayfs keeps its books."""
    return tree.OVERLAY[in_user_namespace()] + name


def to_overlay(dir_fd: int) -> None:
    """Turn the marks of one directory into those of overlayfs. Its times stay as they are.

    A directory that merges with none below gets no devices: overlayfs would show them in listings.
    """
    status = os.fstat(dir_fd)
    opaque, hidden = take(dir_fd, dict.fromkeys(os.listdir(dir_fd), False))
    if opaque:
        os.setxattr(dir_fd, attribute("opaque"), b"y")
    for name in hidden:
        there = tree.lstat(name, dir_fd)
        if there is None and not is_opaque(dir_fd):
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dir_fd)
        elif tree.is_directory(there):  # it is to replace the one below, and not to merge with it
            fd = tree.open_directory(name, dir_fd)
            os.setxattr(fd, attribute("opaque"), b"y")
            os.close(fd)
    os.utime(dir_fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def drop(dir_fd: int) -> None:
    """Remove the marks of one directory: below the lowest layer there is nothing to hide."""
    status = os.fstat(dir_fd)
    take(dir_fd, dict.fromkeys(os.listdir(dir_fd), False))
    os.utime(dir_fd, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- in both ------------------------------------------------------------------------------------


def find(layers: Sequence[int], path: bytes) -> int | None:
    """What stands at ``path`` when these open layers, the nearest first, are laid on one another.

    Returns a descriptor (O_PATH) or None. Follows no symbolic link.
    """
    here = _merged(layers, path)
    _close(here[1:])
    return here[0] if here else None


def listing(layers: Sequence[int], path: bytes) -> set[bytes]:
    """The names in the directory at ``path`` of layers that are laid on one another."""
    here = _merged(layers, path)
    found: dict[bytes, bool] = {}
    for fd in here:  # what a nearer layer says of a name holds
        for name in map(os.fsencode, os.listdir(tree.handle(fd))):
            found.setdefault(name, not is_mark(os.stat(name, dir_fd=fd, follow_symlinks=False)))
    _close(here)
    return {name for name, is_there in found.items() if is_there}


def _merged(layers: Sequence[int], path: bytes) -> list[int]:
    """What of each layer is seen at ``path``, the nearest first: directories, or one file."""
    here = _down_to_opaque([os.dup(fd) for fd in layers])
    for name in path.split(b"/"):
        there = _down_to_opaque(_look(here, name))
        _close(here)
        here = there
    return here


def _look(directories: list[int], name: bytes) -> list[int]:
    """The directories that ``name`` is made of, the nearest first; or the one other file it is."""
    found: list[int] = []
    for directory in directories:
        there = _lstat(name, directory)
        if there and not is_mark(there):
            if tree.is_directory(there) or not found:
                found.append(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory))
            if not tree.is_directory(there):
                break
        if (there and is_mark(there)) or _lstat(_mark(name), directory):
            break
    return found


def _down_to_opaque(directories: list[int]) -> list[int]:
    for n, fd in enumerate(directories, start=1):
        if is_opaque(fd):
            _close(directories[n:])
            return directories[:n]
    return directories


def is_opaque(fd: int) -> bool:
    """Nothing of the layers below is seen in this directory (which may be open by O_PATH)."""
    try:
        if os.getxattr(tree.handle(fd), attribute("opaque")) == b"y":
            return True
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
    return _lstat(OPAQUE, fd) is not None


def _lstat(name: bytes, fd: int) -> os.stat_result | None:
    try:
        return tree.lstat(name, fd)
    except NotADirectoryError:
        return None


def is_mark(status: os.stat_result) -> bool:
    """Whether overlayfs takes the file for a whiteout."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
