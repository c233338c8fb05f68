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
from minirun.image import inroot, tarstream, tree, whiteout
from minirun.image.attributes import DEFAULT_ACL, set_attributes, take_default_acl
from minirun.image.compression import Layer
from minirun.image.pax import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.image.tarstream import Member, Tar

MAX_ENTRIES = 1_000_000
MAX_WARNINGS = 20
LARGE = 16 << 20  # bytes of a file for which the free space is looked at beforehand
_SPECIAL = {
    tarstream.CHARACTER: stat.S_IFCHR,
    tarstream.BLOCK_DEVICE: stat.S_IFBLK,
    tarstream.FIFO: stat.S_IFIFO,
}


class NeedsBelow(Exception):
    """The layer leans on those below it, so it cannot be unpacked on its own."""


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
        unpacker.leave()
    finally:
        unpacker.close()
    return unpacker.result


def _explained(error: OSError, member: Member, root: int) -> ImageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(member, root)
    return LayerError(f"{shown(member.name)}: {os.strerror(error.errno or 0)}")


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
        self._root = root
        self._below = below
        self._path: bytes | None = None  # the directory that entries are being put into
        self._fd = -1
        self._times = (0, 0)
        self._default_acl: bytes | None = None

    def add(self, member: Member, tar: Tar) -> None:
        self._count()
        path = clean(member.name)
        if whiteout.PREFIX in path and self._add_reserved(path, member):
            return
        if not path:
            self._add_root(member)
            return
        parent, _, name = path.rpartition(b"/")
        self._enter(parent)
        if member.kind == tarstream.FILE:
            self._add_file(name, member, tar)
        elif member.kind == tarstream.DIRECTORY:
            self._add_directory(name, member)
        elif member.kind == tarstream.SYMLINK:
            self._add_symlink(name, member)
        elif member.kind == tarstream.HARD_LINK:
            self._add_hard_link(name, member)
        elif member.kind == tarstream.CHARACTER and not (member.major or member.minor):
            self._hide(name)
        else:
            self._add_special(name, member)

    def _count(self) -> None:
        self.result.entries += 1
        if self.result.entries > MAX_ENTRIES:
            raise LayerError(f"more than {MAX_ENTRIES} files in one layer")

    # --- the directory that is being filled -----------------------------------------------------

    def _enter(self, path: bytes) -> None:
        """Make ``path`` the current directory. Entries of one directory come in a row, mostly."""
        if path == self._path:
            return
        self.leave()
        try:
            self._fd = inroot.open_directory(self._root, path)
        except (FileNotFoundError, NotADirectoryError):
            self._fd = inroot.make_directories(self._root, path, self._make_parent)
        self._path = path
        status = os.fstat(self._fd)
        self._times = (status.st_atime_ns, status.st_mtime_ns)
        self._default_acl = take_default_acl(self._fd)

    def leave(self) -> None:
        """Put back the times, which filling the directory changed, and its default ACL."""
        if self._path is not None:
            if self._default_acl is not None:
                os.setxattr(self._fd, DEFAULT_ACL, self._default_acl)
            os.utime(self._fd, ns=self._times)
            self.close()

    def close(self) -> None:
        if self._path is not None:
            self._path = None
            os.close(self._fd)

    def _make_parent(self, fd: int, path: list[bytes]) -> None:
        """A directory that has no entry (yet) looks as in the layers below, or is root's."""
        name = path[-1]
        if name.startswith(whiteout.PREFIX):
            raise LayerError("a name that is reserved for whiteouts")
        self._count()
        before = os.fstat(fd)
        tree.remove(name, fd)
        os.mkdir(name, 0o700, dir_fd=fd)
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        new = tree.open_directory(name, fd)
        try:
            os.chmod(new, 0o755)
            self._look_as_below(new, b"/".join(path))
        finally:
            os.close(new)

    def _look_as_below(self, new: int, path: bytes) -> None:
        found = self._find_below(path)
        if found is None:
            return
        try:
            if stat.S_ISDIR(os.fstat(found).st_mode):
                with tree.Walk(found) as old:
                    tree.copy_attributes(old.fd, new)
        finally:
            os.close(found)

    def _find_below(self, path: bytes) -> int | None:
        if self._below is None:
            raise NeedsBelow
        found = whiteout.find(self._below, path)
        self.result.leans |= found is not None
        return found

    # --- entries, by their types ----------------------------------------------------------------

    def _add_root(self, member: Member) -> None:
        if member.kind != tarstream.DIRECTORY:
            raise LayerError("the root can only be a directory")
        self._enter(b"")
        self._warn(member, set_attributes(self._fd, member))
        self._times = (member.mtime, member.mtime)
        self.result.names_root = True

    def _add_directory(self, name: bytes, member: Member) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=self._fd)
        except FileExistsError:
            if not tree.is_directory(tree.lstat(name, self._fd)):
                tree.remove(name, self._fd)
                os.mkdir(name, 0o700, dir_fd=self._fd)
        fd = tree.open_directory(name, self._fd)
        try:
            self._warn(member, set_attributes(fd, member))
        finally:
            os.close(fd)

    def _add_file(self, name: bytes, member: Member, tar: Tar) -> None:
        if member.stored > LARGE:
            free = os.fstatvfs(self._fd)
            if member.stored > free.f_bavail * free.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fd = self._new_file(name)
        try:
            for offset, size in member.pieces or ((0, member.stored),):
                if offset:
                    os.lseek(fd, offset, os.SEEK_SET)
                for piece in tar.data(size):
                    _write(fd, piece)
            if member.pieces is not None:
                os.ftruncate(fd, member.size)  # there may be a hole at the end
            self._warn(member, set_attributes(fd, member))
        finally:
            os.close(fd)

    def _new_file(self, name: bytes) -> int:
        try:
            return os.open(name, tree.NEW_FILE, 0o600, dir_fd=self._fd)
        except FileExistsError:
            tree.remove(name, self._fd)
            return os.open(name, tree.NEW_FILE, 0o600, dir_fd=self._fd)

    def _add_symlink(self, name: bytes, member: Member) -> None:
        try:
            os.symlink(member.linkname, name, dir_fd=self._fd)
        except FileExistsError:
            tree.remove(name, self._fd)
            os.symlink(member.linkname, name, dir_fd=self._fd)
        self._set_unopened(name, member)

    def _add_special(self, name: bytes, member: Member) -> None:
        tree.remove(name, self._fd)
        device = os.makedev(member.major, member.minor)
        os.mknod(name, _SPECIAL[member.kind] | 0o600, device, dir_fd=self._fd)
        self._set_unopened(name, member)

    def _set_unopened(self, name: bytes, member: Member) -> None:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._fd)
        try:
            self._warn(member, set_attributes(tree.handle(fd), member))
        finally:
            os.close(fd)

    def _add_hard_link(self, name: bytes, member: Member) -> None:
        """The entry it links to has said all else there is to say."""
        path = clean(member.linkname)
        parent, _, target = path.rpartition(b"/")
        try:
            fd = inroot.open_directory(self._root, parent)
        except (FileNotFoundError, NotADirectoryError):
            self._copy_from_below(name, path, member)
            return
        try:
            status = tree.lstat(target, fd)
            if status is None or _is_reserved(path):
                self._copy_from_below(name, path, member)
            elif not _same_file(status, tree.lstat(name, self._fd)):
                tree.remove(name, self._fd)
                os.link(target, name, src_dir_fd=fd, dst_dir_fd=self._fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def _copy_from_below(self, name: bytes, path: bytes, member: Member) -> None:
        found = None if _is_reserved(path) else self._find_below(path)
        if found is None:
            raise LayerError(f"a hard link to {shown(member.linkname)}, which does not exist")
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise LayerError(f"a hard link to {shown(member.linkname)}, in a layer below")
            source = os.open(tree.handle(found), os.O_RDONLY)
            try:
                tree.remove(name, self._fd)
                tree.copy_file(source, name, self._fd)
            finally:
                os.close(source)
        finally:
            os.close(found)

    # --- whiteouts ------------------------------------------------------------------------------

    def _add_reserved(self, path: bytes, member: Member) -> bool:
        """Deal with a name that is reserved; False if it only looks like one (``a.wh.b``)."""
        parent, _, name = path.rpartition(b"/")
        if not _is_reserved(path):
            return False
        if path.partition(b"/")[0] in whiteout.AUFS:
            return True
        if _is_reserved(parent) or not _can_be_whiteout(member):
            raise LayerError("a name that is reserved for whiteouts")
        if name == whiteout.OPAQUE:
            self._enter(parent)
            whiteout.make_opaque(self._fd)
            self.result.whiteouts += 1
        else:
            hidden = whiteout.hidden_name(name)
            self._enter(parent)
            self._hide(hidden)
        return True

    def _hide(self, name: bytes) -> None:
        whiteout.hide(name, self._fd)
        self.result.whiteouts += 1

    def _warn(self, member: Member, warnings: list[str]) -> None:
        for warning in warnings:
            if len(self.result.warnings) < MAX_WARNINGS:
                self.result.warnings.append(f"{shown(member.name)}: {warning}")


def _write(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def _same_file(one: os.stat_result, other: os.stat_result | None) -> bool:
    return other is not None and os.path.samestat(one, other)


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


def _is_reserved(path: bytes) -> bool:
    return path.startswith(whiteout.PREFIX) or b"/" + whiteout.PREFIX in path


def _can_be_whiteout(member: Member) -> bool:
    """Docker's first storage driver kept whiteouts as hard links to one file, so some images do."""
    if member.kind == tarstream.HARD_LINK:
        return member.linkname.rpartition(b"/")[2].startswith(whiteout.PREFIX)
    return member.kind == tarstream.FILE
