"""File trees that somebody else filled: opened, described, copied and removed by descriptor.

No function here takes a path of more than one component from outside, follows a symbolic link, or
counts on a tree being shallow: names may be 2,000 directories deep, longer than a path may be.

See path_resolution(7), openat(2), xattr(7).
"""

from __future__ import annotations

import errno
import os
import stat

from minirun.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
OVERLAY = ("trusted.overlay.", "user.overlay.")  # how overlayfs's own attributes begin
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory(name: bytes | str, dir_fd: int | None = None) -> int:
    """OSError (ENOTDIR) if it is anything but a directory, a symbolic link to one included."""
    return os.open(name, _DIRECTORY, dir_fd=dir_fd)


def lstat(name: bytes | str, dir_fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_directory(status: os.stat_result | None) -> bool:
    return status is not None and stat.S_ISDIR(status.st_mode)


def handle(fd: int) -> str:
    """A path to what an O_PATH descriptor is open on, even to a link: for calls without dir_fd."""
    return f"/proc/self/fd/{fd}"


def remove(name: bytes | str, dir_fd: int) -> None:
    """Remove whatever has this name, a whole tree too. Nothing there: nothing to do."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        fd = open_directory(name, dir_fd)
        try:
            clear(fd)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=dir_fd)


def rmtree(path: str) -> None:
    """Remove what ``path`` names, a file or a tree. Nothing there: nothing to do."""
    parent = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove(os.path.basename(path), parent)
    finally:
        os.close(parent)


class Walk:
    """An open directory of a tree, to go down from and up again: one descriptor at any depth.

    The way up is "..", and it must lead where we came from: a directory that somebody moved
    meanwhile would lead us out of the tree.
    """

    def __init__(self, fd: int) -> None:
        self.fd = os.open(".", _DIRECTORY, dir_fd=fd)
        self._above: list[tuple[int, int]] = []

    def down(self, name: bytes | str) -> None:
        fd = open_directory(name, self.fd)
        self._above.append(_identity(self.fd))
        self._replace(fd)

    def up(self) -> None:
        self._replace(os.open("..", _DIRECTORY, dir_fd=self.fd))
        if _identity(self.fd) != self._above.pop():
            raise StoreError("a directory was moved out of a tree while we were in it")

    def _replace(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def clear(fd: int, spare: str = "") -> None:
    """Remove all that is in a directory, but for the entry called ``spare``."""
    with Walk(fd) as walk:
        todo = [[name for name in _remove_files(walk.fd) if name != spare]]
        done: list[str] = []
        while todo:
            if todo[-1]:
                done.append(todo[-1].pop())
                walk.down(done[-1])
                todo.append(_remove_files(walk.fd))
            else:
                todo.pop()
                if done:
                    walk.up()
                    os.rmdir(done.pop(), dir_fd=walk.fd)


def _remove_files(fd: int) -> list[str]:
    """Remove what is not a directory; returns the names of the directories."""
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=fd)
    return directories


def xattrs(fd: int) -> dict[str, bytes]:
    """Extended attributes of an open file, but for those by which overlayfs keeps its books."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    return {n: os.getxattr(fd, n) for n in names if not n.startswith(OVERLAY)}


def copy_attributes(source: int, target: int) -> None:
    """Owner, mode, times and extended attributes, from one open file to another."""
    status = os.fstat(source)
    apply_status(target, status)
    wanted, present = xattrs(source), xattrs(target)
    for name in present.keys() - wanted.keys():
        os.removexattr(target, name)
    for name, value in wanted.items():
        if present.get(name) != value:
            os.setxattr(target, name, value)


def apply_status(target: int | str, status: os.stat_result) -> None:
    """Owner, mode and times, of an open file or of one by its ``handle``."""
    os.chown(target, status.st_uid, status.st_gid)  # first: it clears set-user-ID and capabilities
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_file(source: int, name: bytes | str, dir_fd: int) -> None:
    """An open regular file as a new one, its content shared on disk where the file system can."""
    target = os.open(name, NEW_FILE, 0o600, dir_fd=dir_fd)
    try:
        while _copy_range(source, target, 1 << 30):
            pass
        copy_attributes(source, target)
    finally:
        os.close(target)


def _copy_range(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return os.sendfile(target, source, None, count)


def each_directory(fd: int, visit: Callable[[int], object]) -> None:
    """Call ``visit(fd)`` for a directory and for all that are in it, parents first."""
    with Walk(fd) as walk:
        visit(walk.fd)
        todo = [_directories(walk.fd)]
        while todo:
            if todo[-1]:
                walk.down(todo[-1].pop())
                visit(walk.fd)
                todo.append(_directories(walk.fd))
            else:
                todo.pop()
                if todo:
                    walk.up()


def _directories(fd: int) -> list[str]:
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
