"""One entry of a tar becomes a file, in a directory that is open. It takes the place of whatever
had its name; only a directory that is there already stays, with what is in it.

By calls that follow no link, and on descriptors: what stands at the name may be swapped meanwhile.
Each function returns warnings, for people to read.
"""

from __future__ import annotations

import os
import stat

from minirun.image import tarstream, tree, whiteout
from minirun.image.attributes import set_attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.image.tarstream import Member

_SPECIAL = {
    tarstream.CHARACTER: stat.S_IFCHR,
    tarstream.BLOCK_DEVICE: stat.S_IFBLK,
    tarstream.FIFO: stat.S_IFIFO,
}


def add(
    name: bytes, dir_fd: int, member: Member, data: Iterable[bytes | memoryview] = ()
) -> list[str]:
    """Any entry but a hard link, whose meaning depends on where it leads. ``data`` is all that is
    stored of a file."""
    if member.kind == tarstream.FILE:
        return _add_file(name, dir_fd, member, data)
    if member.kind == tarstream.DIRECTORY:
        return _add_directory(name, dir_fd, member)
    if member.kind == tarstream.SYMLINK:
        return _add_symlink(name, dir_fd, member)
    return _add_special(name, dir_fd, member)


def _add_directory(name: bytes, dir_fd: int, member: Member) -> list[str]:
    try:
        os.mkdir(name, 0o700, dir_fd=dir_fd)
    except FileExistsError:
        if not tree.is_directory(tree.lstat(name, dir_fd)):
            tree.remove(name, dir_fd)
            os.mkdir(name, 0o700, dir_fd=dir_fd)
    fd = tree.open_directory(name, dir_fd)
    try:
        return set_attributes(fd, member)
    finally:
        os.close(fd)


def _add_file(
    name: bytes, dir_fd: int, member: Member, data: Iterable[bytes | memoryview]
) -> list[str]:
    fd = _new_file(name, dir_fd)
    try:
        if member.pieces is None:
            for chunk in data:
                _write(fd, memoryview(chunk))
        else:
            _write_pieces(fd, member.pieces, data)
            os.ftruncate(fd, member.size)  # there may be a hole at the end
        return set_attributes(fd, member)
    finally:
        os.close(fd)


def _new_file(name: bytes, dir_fd: int) -> int:
    try:
        return os.open(name, tree.NEW_FILE, 0o600, dir_fd=dir_fd)
    except FileExistsError:
        tree.remove(name, dir_fd)
        return os.open(name, tree.NEW_FILE, 0o600, dir_fd=dir_fd)


def _write_pieces(
    fd: int, pieces: list[tuple[int, int]], data: Iterable[bytes | memoryview]
) -> None:
    """Write a sparse file: its data comes without the holes between the (offset, size) pieces."""
    chunks = (memoryview(chunk) for chunk in data)
    chunk = memoryview(b"")
    for offset, size in pieces:
        os.lseek(fd, offset, os.SEEK_SET)
        left = size
        while left:
            chunk = chunk or next(chunks)
            _write(fd, chunk[:left])
            left, chunk = left - len(chunk[:left]), chunk[left:]


def _write(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _add_symlink(name: bytes, dir_fd: int, member: Member) -> list[str]:
    try:
        os.symlink(member.linkname, name, dir_fd=dir_fd)
    except FileExistsError:
        tree.remove(name, dir_fd)
        os.symlink(member.linkname, name, dir_fd=dir_fd)
    return _set_unopened(name, dir_fd, member)


def _add_special(name: bytes, dir_fd: int, member: Member) -> list[str]:
    tree.remove(name, dir_fd)
    device = os.makedev(member.major, member.minor)
    try:
        os.mknod(name, _SPECIAL[member.kind] | 0o600, device, dir_fd=dir_fd)
    except PermissionError:
        if not whiteout.in_user_namespace():
            raise
        return ["a device, which nobody can make in a user namespace: left out"]
    return _set_unopened(name, dir_fd, member)


def _set_unopened(name: bytes, dir_fd: int, member: Member) -> list[str]:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        return set_attributes(tree.handle(fd), member)
    finally:
        os.close(fd)
