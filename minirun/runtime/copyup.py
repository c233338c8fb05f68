"""``tmpcopyup``: a tmpfs that begins as a copy of the directory which it hides.

So /run or /var of an image can be written to although its root is read-only. Interface: copy.
"""

from __future__ import annotations

import os
import stat

DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy(source: int, target: int) -> None:
    """Copy all that lies in one directory to another: contents, owners, modes and times. Both are
    file descriptors (O_PATH will do). Links are copied, and none is followed."""
    source = os.open(".", os.O_RDONLY | DIRECTORY, dir_fd=source)
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISDIR(status.st_mode):
            os.mkdir(name, dir_fd=target)
            below = [os.open(name, os.O_PATH | DIRECTORY, dir_fd=fd) for fd in (source, target)]
            copy(*below)
            for fd in below:
                os.close(fd)
        elif stat.S_ISREG(status.st_mode):
            _copy_file(name, source, target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not is_link:
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        times = status.st_atime_ns, status.st_mtime_ns
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
    os.close(source)


def _copy_file(name: str, source: int, target: int) -> None:
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # if it has become a FIFO
    reader = os.open(name, os.O_RDONLY | flags, dir_fd=source)
    writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=target)
    while os.sendfile(writer, reader, None, 1 << 20):
        pass
    os.close(reader)
    os.close(writer)
