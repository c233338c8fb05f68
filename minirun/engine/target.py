"""Where copies go: entries of a tar become files in a tree that is in use, and maybe hostile.

Like the unpacking of a layer (image/layer.py), but what is there already counts: a directory is
never replaced by another kind of file, nor the other way round, and one that exists keeps what is
in it. No path leads out of the root that ``Target`` is given, whatever links are on the way and
whoever swaps them meanwhile: openat2(2).
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.engine.inside import make_directory
from minirun.errors import Error, ImageError
from minirun.image import entries, inroot, tarstream, tree
from minirun.image.pax import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.image.tarstream import Member

SET_ID = 0o6000
# A tree of the host, where what comes out of a container goes: no link is followed in there.
STRICT = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS
_DEVICES = (tarstream.CHARACTER, tarstream.BLOCK_DEVICE)


class Target:
    """``add(member, data)`` makes an entry a file at ``base``/NAME in the open directory ``root``.

    ``resolve`` are the rules for the way there (RESOLVE_* of openat2). ``owner`` is whom all will
    belong to; None: whom the entry says, and then it may have set-user-ID and extended attributes.
    Without ``devices``, those are left out. ``warnings`` are for people.
    """

    def __init__(
        self,
        root: int,
        base: bytes = b"",
        *,
        resolve: int = inroot.IN_ROOT,
        owner: tuple[int, int] | None = None,
        devices: bool = True,
    ) -> None:
        self.warnings: list[str] = []
        self.size = 0
        """Bytes of all files."""
        self._root, self._base, self._resolve = root, base, resolve
        self._owner, self._devices = owner, devices
        self._directories: list[tuple[bytes, int]] = []  # with the time that each is to have
        self._at: tuple[bytes, int] | None = None  # the directory of the last entry, open

    def add(self, member: Member, data: Iterable[bytes | memoryview] = ()) -> None:
        try:
            self._add(inroot.clean(member.name), member, data)
        except ImageError as error:
            raise Error(f"{shown(member.name)}: {error.message}") from error
        except OSError as error:
            raise Error(f"{shown(member.name)}: {os.strerror(error.errno or 0)}") from error

    def _add(self, path: bytes, member: Member, data: Iterable[bytes | memoryview]) -> None:
        if not path:
            return  # the base itself, which stays as it is
        if member.kind in _DEVICES and not self._devices:
            self.warnings.append(f"{shown(path)}: a device, left out")
            return
        parent, _, name = path.rpartition(b"/")
        fd = self._enter(parent)
        self._check_kind(name, fd, member)
        if member.kind == tarstream.HARD_LINK:
            self._link(name, fd, member)
            return
        if self._owner:
            member.uid, member.gid = self._owner
            member.mode &= ~SET_ID if member.kind != tarstream.DIRECTORY else ~0
            member.xattrs = {}
        self.warnings += (f"{shown(path)}: {w}" for w in entries.add(name, fd, member, data))
        self.size += member.stored
        if member.kind == tarstream.DIRECTORY:
            self._directories.append((path, member.mtime))

    def _check_kind(self, name: bytes, fd: int, member: Member) -> None:
        there = tree.lstat(name, fd)
        if there and tree.is_directory(there) != (member.kind == tarstream.DIRECTORY):
            one, other = "a directory", "what is none"
            if member.kind == tarstream.DIRECTORY:
                one, other = other, one
            raise Error(f"{shown(member.name)}: cannot overwrite {one} with {other}")

    def _link(self, name: bytes, fd: int, member: Member) -> None:
        parent, _, first = inroot.clean(member.linkname).rpartition(b"/")
        source = self._open(parent)
        try:
            if not _is_same(tree.lstat(first, source), tree.lstat(name, fd)):
                tree.remove(name, fd)
                os.link(first, name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(source)

    def _enter(self, parent: bytes) -> int:
        if self._at is None or self._at[0] != parent:
            fd = self._open(parent)
            self._leave()
            self._at = parent, fd
        return self._at[1]

    def _open(self, path: bytes) -> int:
        """A directory by its path from the base. A tar may leave out the entries of parents."""
        whole = b"/".join(filter(None, (self._base, path)))
        flags = os.O_RDONLY | os.O_DIRECTORY
        try:
            return inroot.open_in(self._root, whole, flags, self._resolve)
        except FileNotFoundError:
            if self._resolve != inroot.IN_ROOT:
                raise
            return inroot.make_directories(self._root, whole, make_directory)

    def _leave(self) -> None:
        if self._at is not None:
            os.close(self._at[1])
            self._at = None

    def close(self) -> None:
        """Give directories their times: filling them has changed them."""
        self._leave()
        for path, mtime in reversed(self._directories):
            try:
                fd = self._open(path)
            except OSError:  # somebody has removed it meanwhile
                continue
            os.utime(fd, ns=(mtime, mtime))
            os.close(fd)


def _is_same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    return one is not None and other is not None and os.path.samestat(one, other)
