"""Unpacking a layer: entries of a hostile tar become files, and nothing outside the root changes.

    unpack("layer.tar.gz", root)        a directory, whiteouts in it as files (whiteout.py)

How nothing gets out: a name never reaches the kernel as a path from the outside. Of ``a/b/c`` the
parent ``a/b`` is opened by openat2(2) with RESOLVE_IN_ROOT, for which the unpacked root is ``/``:
symbolic links, absolute ones and such with ``..`` too, lead to places inside, even if somebody
swaps them meanwhile. ``c`` is then made in that open directory by calls that follow no link, and
its owner, mode and times are set on an open descriptor, never by name.

Where formats and tools leave a choice:

- Names are relative to the root, whether they begin with ``/`` or ``./``. One that climbs above the
  root is refused, also where the climb would end at the root.
- The last of several entries with one name wins, whatever was there: a file where a directory is
  needed is replaced by one. Only a directory that comes again keeps what is in it.
- A parent that has no entry of its own is as the layers below have it, or root's, 0755.
- A hard link to a file of a layer below becomes a copy of it.
- A character device 0:0 is what overlayfs takes for a whiteout, so it is one.

See openat2(2), symlink(7), and https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import ImageError, LayerError, StoreError
from minirun.image import entries, inroot, tarstream, tree, whiteout
from minirun.image.attributes import set_attributes
from minirun.image.compression import Layer
from minirun.image.filling import Filling
from minirun.image.pax import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.image.tarstream import Member, Tar

MAX_WARNINGS = 20
MAX_COPIED = 1 << 30  # bytes; one entry of a few bytes can copy any file of a layer below
LARGE = 16 << 20  # bytes of a file for which the free space is looked at beforehand


class Unpacked:
    """What is known of a layer once it is unpacked."""

    def __init__(self) -> None:
        self.diff_id = ""
        """The digest of the tar, uncompressed; "" unless it was to be ``hashed``."""
        self.entries = 0
        """Files, directories included that have no entry of their own."""
        self.whiteouts = 0
        self.names_root = False
        """The tar says what the root's own mode and owner are."""
        self.leans = False
        """Something was taken from the layers below: with other layers the result is another."""
        self.warnings: list[str] = []
        """What the file system or our rules did not let through, for people to read."""


def unpack(
    path: str, root: int, *, below: Sequence[int] | None = (), hashed: bool = True
) -> Unpacked:
    """Unpack the layer in a file, compressed or not, into the empty directory open as ``root``.

    ``below`` holds the open directories of the layers below, the nearest first; None if they are
    not known yet, and then NeedsBelow is raised where they would matter. Raises LayerError if the
    layer is refused, StoreError if there is no room; what was unpacked so far is then of no use.
    """
    with open(path, "rb") as blob, Layer(blob, hashed=hashed) as chunks:
        unpacked = _unpack(chunks, root, below)
        unpacked.diff_id = chunks.diff_id
    return unpacked


def _unpack(chunks: Iterable[bytes], root: int, below: Sequence[int] | None) -> Unpacked:
    unpacker = _Unpacker(root, below)
    tar = tarstream.Tar(chunks)
    try:
        for member in tar:
            try:
                unpacker.add(member, tar)
            except LayerError as error:
                raise LayerError(
                    f"{shown(member.name)}: {error.message}", hint=error.hint
                ) from error
            except OSError as error:
                raise _explained(error, member, root) from error
        unpacker.at.leave()
    finally:
        unpacker.at.close()
    unpacker.result.entries = unpacker.at.files
    unpacker.result.leans = unpacker.at.leans
    return unpacker.result


def _explained(error: OSError, member: Member, root: int) -> ImageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(member, root)
    hint = "run it as root" if error.errno == errno.EPERM and os.geteuid() else None
    return LayerError(f"{shown(member.name)}: {os.strerror(error.errno or 0)}", hint=hint)


def _no_space(member: Member, root: int) -> StoreError:
    free = os.fstatvfs(root)
    return StoreError(
        f"{shown(member.name)}: no space left to unpack its {member.stored} bytes: "
        f"{free.f_bavail * free.f_frsize >> 20} MiB and {free.f_favail} inodes are free in "
        f"{os.readlink(tree.handle(root))}",
        hint="make room there, or choose a directory on another disk",
    )


class _Unpacker:
    def __init__(self, root: int, below: Sequence[int] | None) -> None:
        self.result = Unpacked()
        self.at = Filling(root, below)
        self._root = root
        self._copied = 0  # bytes from layers below

    def add(self, member: Member, tar: Tar) -> None:
        self.at.count()
        path = inroot.clean(member.name)
        if whiteout.PREFIX in path and self._add_reserved(path, member):
            return
        if not path:
            self._add_root(member)
            return
        parent, _, name = path.rpartition(b"/")
        self.at.enter(parent)
        if member.kind == tarstream.HARD_LINK:
            self._add_hard_link(name, member)
        elif member.kind == tarstream.CHARACTER and not (member.major or member.minor):
            self._hide(name)
        else:
            self._warn(member, entries.add(name, self.at.fd, member, self._data(member, tar)))

    # --- entries that need to know where they are ------------------------------------------------

    def _add_root(self, member: Member) -> None:
        if member.kind != tarstream.DIRECTORY:
            raise LayerError("the root can only be a directory")
        self.at.enter(b"")
        self._warn(member, set_attributes(self.at.fd, member))
        self.at.keep(member.mtime)
        self.result.names_root = True

    def _data(self, member: Member, tar: Tar) -> Iterable[memoryview]:
        if member.stored > LARGE:
            free = os.fstatvfs(self.at.fd)
            if member.stored > free.f_bavail * free.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return tar.data(member.stored)

    def _add_hard_link(self, name: bytes, member: Member) -> None:
        """The entry it links to has said all else there is to say."""
        path = inroot.clean(member.linkname)
        parent, _, target = path.rpartition(b"/")
        try:
            fd = inroot.open_directory(self._root, parent)
        except (FileNotFoundError, NotADirectoryError):
            self._copy_from_below(name, path, member)
            return
        try:
            status = tree.lstat(target, fd)
            if status is None or whiteout.is_reserved(path):
                self._copy_from_below(name, path, member)
            elif not _same_file(status, tree.lstat(name, self.at.fd)):
                tree.remove(name, self.at.fd)
                os.link(target, name, src_dir_fd=fd, dst_dir_fd=self.at.fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def _copy_from_below(self, name: bytes, path: bytes, member: Member) -> None:
        found = None if whiteout.is_reserved(path) else self.at.find_below(path)
        if found is None:
            raise LayerError(f"a hard link to {shown(member.linkname)}, which does not exist")
        try:
            status = os.fstat(found)
            self._copied += status.st_size
            if not stat.S_ISREG(status.st_mode) or self._copied > MAX_COPIED:
                raise LayerError(f"a hard link to {shown(member.linkname)}, in a layer below")
            source = os.open(tree.handle(found), os.O_RDONLY)
            try:
                tree.remove(name, self.at.fd)
                tree.copy_file(source, name, self.at.fd)
            finally:
                os.close(source)
        finally:
            os.close(found)

    # --- whiteouts ------------------------------------------------------------------------------

    def _add_reserved(self, path: bytes, member: Member) -> bool:
        """Deal with a name that is reserved; False if it only looks like one (``a.wh.b``)."""
        parent, _, name = path.rpartition(b"/")
        if not whiteout.is_reserved(path):
            return False
        if path.partition(b"/")[0] in whiteout.AUFS:
            return True
        if whiteout.is_reserved(parent) or not _can_be_whiteout(member):
            raise LayerError("a name that is reserved for whiteouts")
        if name == whiteout.OPAQUE:
            self.at.enter(parent)
            whiteout.make_opaque(self.at.fd)
            self.result.whiteouts += 1
        else:
            hidden = whiteout.hidden_name(name)
            self.at.enter(parent)
            self._hide(hidden)
        return True

    def _hide(self, name: bytes) -> None:
        whiteout.hide(name, self.at.fd)
        self.result.whiteouts += 1

    def _warn(self, member: Member, warnings: list[str]) -> None:
        for warning in warnings:
            if len(self.result.warnings) < MAX_WARNINGS:
                self.result.warnings.append(f"{shown(member.name)}: {warning}")


def _same_file(one: os.stat_result, other: os.stat_result | None) -> bool:
    return other is not None and os.path.samestat(one, other)


def _can_be_whiteout(member: Member) -> bool:
    """Docker's first storage driver kept whiteouts as hard links to one file, so some images do."""
    if member.kind == tarstream.HARD_LINK:
        return member.linkname.rpartition(b"/")[2].startswith(whiteout.PREFIX)
    return member.kind == tarstream.FILE
