"""How a layer says that something of the layers below is gone: whiteouts and opaque directories.

In a layer's tar they are files with names that no other file may have:

    d/.wh.NAME            NAME, of the layers below, is no longer in d
    d/.wh..wh..opq        nothing of the layers below is left in d

In a directory that overlayfs is to mount they are marks on the file system itself:

    d/NAME                a character device with the number 0:0
    d                     an extended attribute, trusted.overlay.opaque = "y"

A layer is unpacked with the former, because they need no privileges, no support by the file system,
and no thought about the order of entries: whatever else a layer holds is not touched by its own
whiteouts. ``to_overlay`` turns them into the latter, ``flatten`` applies them.

See "Whiteouts" in https://github.com/opencontainers/image-spec/blob/main/layer.md, and "whiteouts
and opaque directories" in Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

import errno
import os
import stat

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
OVERLAY_OPAQUE = "trusted.overlay.opaque"


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


def _mark(name: bytes) -> bytes:
    """The file that says that NAME is gone. Where ".wh.NAME" has no room, the file holds NAME."""
    if len(PREFIX + name) <= NAME_MAX:
        return PREFIX + name
    if len(name) > NAME_MAX:
        raise LayerError("a whiteout of a name that is too long to be")
    from hashlib import sha256

    return _LONG + sha256(name).hexdigest().encode()


def make_opaque(dir_fd: int) -> None:
    os.close(os.open(OPAQUE, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600, dir_fd=dir_fd))


def take(marks: list[bytes], dir_fd: int) -> tuple[bool, list[bytes]]:
    """Remove the marks of an unpacked directory: is it opaque, and which names does it hide?"""
    opaque, hidden = False, []
    for mark in marks:
        if mark == OPAQUE:
            opaque = True
        elif mark.startswith(_LONG):
            fd = os.open(mark, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
            hidden.append(os.read(fd, NAME_MAX))
            os.close(fd)
        else:
            hidden.append(mark[len(PREFIX) :])
        os.unlink(mark, dir_fd=dir_fd)
    return opaque, hidden


def to_overlay(dir_fd: int) -> None:
    """Turn the marks of one directory into those of overlayfs. Its times stay as they are."""
    marks = [os.fsencode(name) for name in os.listdir(dir_fd) if name.startswith(".wh.")]
    if not marks:
        return
    status = os.fstat(dir_fd)
    opaque, hidden = take(marks, dir_fd)
    if opaque:
        os.setxattr(dir_fd, OVERLAY_OPAQUE, b"y")
    for name in hidden:
        there = tree.lstat(name, dir_fd)
        if there is None:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dir_fd)
        elif tree.is_directory(there):
            fd = tree.open_directory(name, dir_fd)  # a new directory, not one that merges
            os.setxattr(fd, OVERLAY_OPAQUE, b"y")
            os.close(fd)
    os.utime(dir_fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def find(layers: Sequence[int], path: bytes) -> int | None:
    """What stands at ``path`` when these layers (open, the nearest first) are laid on one another.

    Returns a descriptor (O_PATH) or None. Follows no symbolic link. Knows both kinds of marks.
    """
    here = _unless_opaque([os.dup(fd) for fd in layers])
    for name in path.split(b"/"):
        there = _unless_opaque(_look(here, name))
        for fd in here:
            os.close(fd)
        here = there
    for fd in here[1:]:
        os.close(fd)
    return here[0] if here else None


def _look(directories: list[int], name: bytes) -> list[int]:
    """The directories that ``name`` is made of, nearest first; or the one other file it is."""
    found: list[int] = []
    for directory in directories:
        there = tree.lstat(name, directory)
        if there is not None and not _is_mark(there):
            if tree.is_directory(there) or not found:
                found.append(os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory))
            if not tree.is_directory(there):
                break
        if (there is not None and _is_mark(there)) or tree.lstat(_mark(name), directory):
            break
    return found


def _is_mark(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _unless_opaque(directories: list[int]) -> list[int]:
    """Only those down to the first opaque one; the others are closed."""
    for n, fd in enumerate(directories, start=1):
        if is_opaque(fd):
            for other in directories[n:]:
                os.close(other)
            return directories[:n]
    return directories


def is_opaque(fd: int) -> bool:
    try:
        if os.getxattr(tree.handle(fd), OVERLAY_OPAQUE) == b"y":
            return True
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
    try:
        return tree.lstat(OPAQUE, fd) is not None
    except NotADirectoryError:
        return False
