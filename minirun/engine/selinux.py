"""The label by which SELinux lets a container use files of the host: ``-v …:z`` and ``:Z``.

Where SELinux is, a process with the label of containers may use what is labelled for them, and
nothing else. All our containers have one label, so there is no difference between files for one of
them (Z) and for all (z). See https://github.com/containers/container-selinux
"""

from __future__ import annotations

import os

from minirun.errors import UsageError, printable
from minirun.image import tree

ATTRIBUTE = "security.selinux"
LABEL = b"system_u:object_r:container_file_t:s0\0"
OF_THE_SYSTEM = ("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root",
                 "/run", "/sbin", "/sys", "/usr", "/var")  # fmt: skip


def relabel(path: str) -> None:
    """Label a file, or a directory with all that is in it; no link is followed in there.

    UsageError for directories without whose labels the machine would not start any more.
    """
    if os.path.realpath(path) in OF_THE_SYSTEM:
        raise UsageError(f"{printable(path)} belongs to the system: it keeps its SELinux label")
    if os.path.isdir(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tree.each_directory(fd, _label_directory)
        finally:
            os.close(fd)
    else:
        os.setxattr(path, ATTRIBUTE, LABEL)


def _label_directory(fd: int) -> None:
    os.setxattr(fd, ATTRIBUTE, LABEL)
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    for name in names:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=fd)
        try:
            os.setxattr(tree.handle(handle), ATTRIBUTE, LABEL)
        finally:
            os.close(handle)
