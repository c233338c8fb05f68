"""Unpacking a layer: entries of a hostile tar become files, and nothing outside the root changes.

    unpack(stream, root)        a directory, whiteouts in it as files (whiteout.py)

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

from minirun import linux
from minirun.errors import ImageError, LayerError, StoreError
from minirun.image import tarstream, tree, whiteout
from minirun.image.tarstream import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.image.tarstream import Member

MAX_ENTRIES = 1_000_000
MAX_SYMLINKS = 40  # in one path, as in the kernel
_IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES = {
    tarstream.CHARACTER: stat.S_IFCHR,
    tarstream.BLOCK_DEVICE: stat.S_IFBLK,
    tarstream.FIFO: stat.S_IFIFO,
}


class NeedsBelow(Exception):
    """The layer leans on those below it, so it cannot be unpacked on its own."""


class Unpacked:
    """What is known of a layer once it is unpacked."""

    def __init__(self) -> None:
        self.entries = 0
        self.whiteouts = 0
        self.names_root = False
        """The tar says what the root's own mode and owner are."""
        self.leans = False
        """Something was taken from the layers below: with other layers the result is another."""
        self.warnings: list[str] = []
        """What the file system or our rules did not let through, for people to read."""


def unpack(chunks: Iterable[bytes], root: int, *, below: Sequence[int] | None = ()) -> Unpacked:
    """Unpack the tar in ``chunks`` into the empty directory that ``root`` is open on.

    ``below`` holds the open directories of the layers below, the nearest first; None if they are
    not known yet, and then NeedsBelow is raised when they would matter. LayerError: the tar is
    refused, and what was unpacked of it so far is of no use. Reads ``chunks`` to their end.
    """
    unpacker = _Unpacker(root, below)
    tar = tarstream.Tar(chunks)
    name = b""
    try:
        for member in tar:
            name = member.name
            unpacker.add(member, tar)
        unpacker.leave()
    except LayerError as error:
        raise LayerError(f"{shown(name)}: {error.message}" if name else error.message) from error
    except OSError as error:
        raise _explained(error, name, root) from error
    finally:
        unpacker.close()
    return unpacker.result


def _explained(error: OSError, name: bytes, root: int) -> ImageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = os.fstatvfs(root)
        space = free.f_bavail * free.f_frsize >> 20
        return StoreError(
            f"no space left to unpack {shown(name)}: {space} MiB and {free.f_favail} inodes free",
            hint="minirun prune",
        )
    return LayerError(f"{shown(name)}: {error.strerror}")


class _Unpacker:
    def __init__(self, root: int, below: Sequence[int] | None) -> None:
        self.result = Unpacked()
        self._root = root
        self._below = below
        self._path: bytes | None = None  # the directory that entries are being put into
        self._fd = -1
        self._times = (0, 0)

    def add(self, member: Member, tar: tarstream.Tar) -> None:
        self.result.entries += 1
        if self.result.entries > MAX_ENTRIES:
            raise LayerError(f"more than {MAX_ENTRIES} entries in one layer")
        path = clean(member.name)
        if whiteout.PREFIX in path and self._is_whiteout(path, member):
            return
        if not path:
            return self._add_root(member)
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
            self._add_device(name, member)

    # --- the directory that is being filled -----------------------------------------------------

    def _enter(self, path: bytes) -> None:
        """Make ``path`` the current directory. Entries of one directory come in a row, mostly."""
        if path == self._path:
            return
        self.leave()
        try:
            self._fd = linux.openat2(self._root, path or b".", _DIRECTORY, resolve=_IN_ROOT)
        except (FileNotFoundError, NotADirectoryError):
            self._fd = self._make_parents(path)
        self._path = path
        status = os.fstat(self._fd)
        self._times = (status.st_atime_ns, status.st_mtime_ns)

    def leave(self) -> None:
        """Filling a directory changed its times: put them back."""
        if self._path is not None:
            os.utime(self._fd, ns=self._times)
            self.close()

    def close(self) -> None:
        if self._path is not None:
            self._path = None
            os.close(self._fd)

    def _make_parents(self, path: bytes) -> int:
        """Open a directory, and make what is missing on the way; links lead to places in the root.

        The kernel's own walk (RESOLVE_IN_ROOT) makes nothing, so this one goes step by step, each
        step from an open directory to a name in it.
        """
        fd = linux.openat2(self._root, b".", _DIRECTORY, resolve=_IN_ROOT)
        done: list[bytes] = []
        todo = path.split(b"/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name != b".." and (status := tree.lstat(name, fd)) and stat.S_ISLNK(status.st_mode):
                links += 1
                if links > MAX_SYMLINKS:
                    os.close(fd)
                    raise LayerError("too many symbolic links on the way")
                target = os.readlink(name, dir_fd=fd)
                todo += target.split(b"/")[::-1]
                if not target.startswith(b"/"):
                    continue
                done = []
            elif name == b"..":
                done = done[:-1]
            else:
                done.append(name)
                fd = self._step(fd, done)
                continue
            os.close(fd)
            fd = linux.openat2(self._root, b"/".join(done) or b".", _DIRECTORY, resolve=_IN_ROOT)
        return fd

    def _step(self, fd: int, path: list[bytes]) -> int:
        """From the parent of ``path`` to itself, which is made if need be. Closes the parent."""
        name = path[-1]
        try:
            return tree.open_directory(name, fd)
        except (FileNotFoundError, NotADirectoryError):
            if name.startswith(whiteout.PREFIX):
                raise LayerError("a whiteout is no directory") from None
            status = os.fstat(fd)
            tree.remove(name, fd)
            os.mkdir(name, 0o700, dir_fd=fd)
            new = tree.open_directory(name, fd)
            self._as_below(new, b"/".join(path))
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
            return new
        finally:
            os.close(fd)

    def _as_below(self, fd: int, path: bytes) -> None:
        """A directory that has no entry of its own (yet) looks as in the layers below."""
        os.fchmod(fd, 0o755)
        found = self._find_below(path)
        if found is None:
            return
        try:
            if stat.S_ISDIR(os.fstat(found).st_mode):
                self.result.leans = True
                tree.copy_attributes(found, fd)
        finally:
            os.close(found)

    def _find_below(self, path: bytes) -> int | None:
        if self._below is None:
            raise NeedsBelow
        return whiteout.find(self._below, path)

    # --- entries, by their types ----------------------------------------------------------------

    def _add_root(self, member: Member) -> None:
        if member.kind != tarstream.DIRECTORY:
            raise LayerError("the root can only be a directory")
        self._enter(b"")
        self._set_attributes(self._fd, member)
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
            self._set_attributes(fd, member)
        finally:
            os.close(fd)

    def _add_file(self, name: bytes, member: Member, tar: tarstream.Tar) -> None:
        try:
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=self._fd)
        except FileExistsError:
            tree.remove(name, self._fd)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=self._fd)
        try:
            for piece in tar.data(member.stored):
                _write(fd, piece)
            self._set_attributes(fd, member)
        finally:
            os.close(fd)

    def _add_symlink(self, name: bytes, member: Member) -> None:
        try:
            os.symlink(member.linkname, name, dir_fd=self._fd)
        except FileExistsError:
            tree.remove(name, self._fd)
            os.symlink(member.linkname, name, dir_fd=self._fd)
        os.chown(name, member.uid, member.gid, dir_fd=self._fd, follow_symlinks=False)
        times = (member.mtime, member.mtime)
        os.utime(name, ns=times, dir_fd=self._fd, follow_symlinks=False)

    def _add_device(self, name: bytes, member: Member) -> None:
        mode = _DEVICES[member.kind] | 0o600
        device = os.makedev(member.major, member.minor)
        tree.remove(name, self._fd)
        os.mknod(name, mode, device, dir_fd=self._fd)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._fd)
        try:
            os.chown(tree.handle(fd), member.uid, member.gid)
            os.chmod(tree.handle(fd), member.mode)
            os.utime(tree.handle(fd), ns=(member.mtime, member.mtime))
        finally:
            os.close(fd)

    def _add_hard_link(self, name: bytes, member: Member) -> None:
        target = clean(member.linkname)
        parent, _, base = target.rpartition(b"/")
        if not base or whiteout.PREFIX in target and _reserved(target):
            raise LayerError(f"a hard link to {shown(member.linkname)}")
        fd = linux.openat2(self._root, parent or b".", _DIRECTORY, resolve=_IN_ROOT)
        try:
            status = tree.lstat(base, fd)
            if status is None:
                raise LayerError(f"a hard link to {shown(member.linkname)}, which is not there")
            there = tree.lstat(name, self._fd)
            if there and os.path.samestat(there, status):
                return
            tree.remove(name, self._fd)
            os.link(base, name, src_dir_fd=fd, dst_dir_fd=self._fd, follow_symlinks=False)
        finally:
            os.close(fd)

    def _is_whiteout(self, path: bytes, member: Member) -> bool:
        """Deal with a name that is reserved; False if it only looks like one (``a.wh.b``)."""
        parent, _, name = path.rpartition(b"/")
        if not _reserved(path):
            return False
        if path.partition(b"/")[0] in whiteout.AUFS:
            return True
        if _reserved(parent) or member.kind != tarstream.FILE:
            raise LayerError("a name that is reserved for whiteouts")
        self._enter(parent)
        if name == whiteout.OPAQUE:
            whiteout.make_opaque(self._fd)
            self.result.whiteouts += 1
        else:
            self._hide(whiteout.hidden_name(name))
        return True

    def _hide(self, name: bytes) -> None:
        whiteout.hide(name, self._fd)
        self.result.whiteouts += 1

    # --- owner, mode, times ---------------------------------------------------------------------

    def _set_attributes(self, fd: int, member: Member) -> None:
        os.fchown(fd, member.uid, member.gid)  # first: it clears set-user-ID and capabilities
        os.fchmod(fd, member.mode)
        for name, value in member.xattrs.items():
            os.setxattr(fd, name, value)
        os.utime(fd, ns=(member.mtime, member.mtime))


def _write(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


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


def _reserved(path: bytes) -> bool:
    return any(part.startswith(whiteout.PREFIX) for part in path.split(b"/"))
