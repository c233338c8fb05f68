"""A directory tree as a tar: how the changes of a container, or all of its files, become a layer.

    pack(upper, write, layer=True)      a directory of overlayfs: its marks become whiteouts
    pack(rootfs, write)                 any tree, as it is

Names are in the alphabet's order, and a directory stands before what is in it; so equal trees give
equal bytes. The tree may belong to a container that runs: nothing is followed or opened that turned
into something else meanwhile, and a file that grows or shrinks has the length it had when we came.

Sockets are no files that a tar could hold: they are left out.
See overlayfs.rst of the kernel, and https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import LayerError
from minirun.image import tarstream, tree, whiteout
from minirun.image.attributes import is_portable
from minirun.image.pax import shown
from minirun.image.tarstream import Member
from minirun.image.tarwriter import Writer, empty_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Protocol

    class Tar(Protocol):
        def add(self, member: Member, data: Iterable[bytes] = (), /) -> None: ...
        def close(self) -> None: ...


CHUNK = 1 << 20  # bytes of a file at once
_KINDS = {
    stat.S_IFREG: tarstream.FILE,
    stat.S_IFDIR: tarstream.DIRECTORY,
    stat.S_IFLNK: tarstream.SYMLINK,
    stat.S_IFCHR: tarstream.CHARACTER,
    stat.S_IFBLK: tarstream.BLOCK_DEVICE,
    stat.S_IFIFO: tarstream.FIFO,
}
# What overlayfs writes if it is told to save copies: then the rest of the file is in a layer below.
_PARTIAL = (b"trusted.overlay.redirect", b"trusted.overlay.metacopy")
_GONE = (FileNotFoundError, NotADirectoryError)


def pack(
    root: int,
    write: Callable[[bytes], object],
    *,
    layer: bool = False,
    omit: Collection[bytes] = (),
    with_root: bool = False,
    mtime: int | None = None,
) -> None:
    """Write all that is in the open directory ``root`` as a tar.

    ``omit`` holds paths to leave out, with all below them; ``with_root`` adds an entry for the
    root itself; ``mtime`` (nanoseconds) stands in for all times. With ``layer``, LayerError for a
    name that would be taken for a whiteout.
    """
    pack_into(Writer(write), root, layer=layer, omit=omit, with_root=with_root, mtime=mtime)


def pack_into(
    tar: Tar,
    root: int,
    *,
    layer: bool = False,
    omit: Collection[bytes] = (),
    with_root: bool = False,
    mtime: int | None = None,
) -> None:
    """The same for whoever takes members and their data, as a Writer does."""
    packer = _Packer(tar, layer, omit, mtime)
    if with_root:
        packer.add_root(root)
    packer.add_tree(root)
    tar.close()


def pack_one(tar: Tar, handle: int, name: bytes) -> None:
    """The one file that is open as ``handle`` (O_PATH), under ``name``; of a directory also what is
    in it. OSError if it is a socket."""
    packer = _Packer(tar, False, (), None)
    status = os.fstat(handle)
    if stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ENOTSUP, "a socket is no file that could be copied")
    if packer.add_opened(handle, name, status):
        packer.add_tree(handle, name)
    tar.close()


class _Packer:
    def __init__(self, tar: Tar, layer: bool, omit: Collection[bytes], mtime: int | None) -> None:
        self._tar, self._layer, self._omit, self._mtime = tar, layer, omit, mtime
        self._links: dict[tuple[int, int], bytes] = {}  # (device, inode) → the name it has

    def add_root(self, root: int) -> None:
        member = self._member(b"./", os.fstat(root))
        member.xattrs = _xattrs(root)
        self._tar.add(member)

    def add_tree(self, root: int, top: bytes = b"") -> None:
        path = [os.fsdecode(top)] if top else []
        if self._layer and whiteout.is_opaque(root):
            self._tar.add(empty_file(whiteout.OPAQUE))
        with tree.Walk(root) as walk:
            todo = [_names(walk.fd)]
            while todo:
                if todo[-1]:
                    name = todo[-1].pop()
                    if self._add(name, walk.fd, os.fsencode("/".join([*path, name]))):
                        walk.down(name)
                        path.append(name)
                        todo.append(_names(walk.fd))
                    continue
                todo.pop()
                if todo:
                    walk.up()
                    path.pop()

    def _add(self, name: str, directory: int, path: bytes) -> bool:
        """Add what has this name; whether it is a directory, to go on with."""
        status = tree.lstat(name, directory)
        if status is None or path in self._omit or stat.S_ISSOCK(status.st_mode):
            return False
        if self._layer and whiteout.is_mark(status):
            self._tar.add(empty_file(_beside(path, whiteout.PREFIX + os.fsencode(name))))
            return False
        if self._layer and name.startswith(".wh."):
            raise LayerError(
                f"{shown(path)}: a file of this name cannot be in a layer",
                hint="rename it: there such names say that a file is gone",
            )
        first = self._links.get((status.st_dev, status.st_ino))
        if first is not None:
            link = Member.new(path, tarstream.HARD_LINK)
            link.linkname = first
            self._tar.add(link)
            return False
        try:
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory)
        except _GONE:
            return False
        try:
            return _same(os.fstat(fd), status) and self.add_opened(fd, path, status)
        except _GONE:
            return False
        finally:
            os.close(fd)

    def add_opened(self, fd: int, path: bytes, status: os.stat_result) -> bool:
        """The same for what is open by O_PATH."""
        member = self._member(path, status)
        member.xattrs = _xattrs(tree.handle(fd), self._layer)
        if member.kind == tarstream.DIRECTORY:
            member.name += b"/"
            self._tar.add(member)
            if self._layer and whiteout.is_opaque(fd):
                self._tar.add(empty_file(path + b"/" + whiteout.OPAQUE))
            return True
        if member.kind == tarstream.FILE:
            self._add_file(fd, member)
        else:
            if member.kind == tarstream.SYMLINK:
                member.linkname = os.fsencode(os.readlink("", dir_fd=fd))
            self._tar.add(member)
        if status.st_nlink > 1:
            self._links[status.st_dev, status.st_ino] = path
        return False

    def _add_file(self, handle: int, member: Member) -> None:
        fd = os.open(tree.handle(handle), os.O_RDONLY)
        try:
            status = os.fstat(fd)
            member.size = member.stored = status.st_size
            pieces = [(0, member.size)]
            if status.st_blocks * 512 < status.st_size:
                pieces = list(_pieces(fd, status.st_size))
                if sum(size for _, size in pieces) < member.size:
                    member.pieces = pieces
                    member.stored = sum(size for _, size in pieces)
            self._tar.add(member, _content(fd, pieces))
        finally:
            os.close(fd)

    def _member(self, path: bytes, status: os.stat_result) -> Member:
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        member = Member.new(path, kind, mode=stat.S_IMODE(status.st_mode))
        member.uid, member.gid = status.st_uid, status.st_gid
        member.mtime = status.st_mtime_ns if self._mtime is None else self._mtime
        if kind in (tarstream.CHARACTER, tarstream.BLOCK_DEVICE):
            member.major, member.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return member


def _names(fd: int) -> list[str]:
    """What is in a directory, the first one last: that is where it is taken from."""
    return sorted(os.listdir(fd), key=os.fsencode, reverse=True)


def _beside(path: bytes, name: bytes) -> bytes:
    parent, slash, _ = path.rpartition(b"/")
    return parent + slash + name


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return os.path.samestat(one, other) and one.st_mode == other.st_mode


def _xattrs(target: int | str, layer: bool = False) -> dict[bytes, bytes]:
    try:
        names = [os.fsencode(name) for name in os.listxattr(target)]
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    if layer and any(name in _PARTIAL for name in names):
        raise LayerError(
            "a file of which overlayfs has copied a part only, as it was told to by others",
            hint="minirun export writes the whole file system",
        )
    return {name: os.getxattr(target, name) for name in names if is_portable(name)}


def _pieces(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a sparse file has data: (offset, length) of each piece. lseek(2), SEEK_DATA"""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # there is only a hole behind
                raise
            return
        if start >= size:
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end - start


def _content(fd: int, pieces: list[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of the pieces; zeros for what was cut off meanwhile."""
    for offset, size in pieces:
        at, end = offset, offset + size
        while at < end:
            chunk = os.pread(fd, min(CHUNK, end - at), at) or bytes(min(CHUNK, end - at))
            at += len(chunk)
            yield chunk
