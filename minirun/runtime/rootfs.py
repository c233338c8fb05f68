"""The root file system: a directory, until it becomes "/" (entering.py) and the host's is gone.

Every path of a config.json that lies in the container is resolved *in the root*, by openat2(2) with
RESOLVE_IN_ROOT: symbolic links and ".." in it mean what they will mean to the container, and magic
links (/proc/self/fd/N) are refused. What we get is a file descriptor, and only that is used.

Interface: Root.
"""

from __future__ import annotations

import os
import stat
from errno import ELOOP, ENOENT

from minirun import linux
from minirun.errors import SpecError, printable
from minirun.runtime import mounts

EVERYTHING = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
REAL = IN_ROOT | linux.RESOLVE_NO_SYMLINKS
MAX_LINKS = 40  # as the kernel: path_resolution(7)


class Root:
    """The container's root directory as a file descriptor, and all that is done in it."""

    def __init__(self, path: str, *, private: bool) -> None:
        """Bind ``path`` onto itself: pivot_root(2) wants a mount point. What is mounted below it
        later shows up nowhere else; if ``private``, what the host mounts there not here either."""
        flags = linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE
        self.fd = linux.open_tree(linux.AT_FDCWD, path, flags)
        if not stat.S_ISDIR(os.fstat(self.fd).st_mode):
            raise SpecError(f"root.path: {printable(path)} is not a directory")
        propagation = linux.MS_PRIVATE if private else linux.MS_SLAVE
        linux.mount_setattr(self.fd, "", EVERYTHING, propagation=propagation)
        linux.move_mount(self.fd, "", linux.AT_FDCWD, path, linux.MOVE_MOUNT_F_EMPTY_PATH)
        self.real_path = os.readlink(f"/proc/self/fd/{self.fd}")
        self.readonly_later: list[int] = []  # tmpfs in which mount points may have to be made first

    def open(self, path: str, flags: int = os.O_PATH, resolve: int = IN_ROOT) -> int:
        """Open what is at ``path`` for the container. The caller closes it."""
        return linux.openat2(self.fd, path, flags, resolve=resolve)

    def make(self, path: str, *, directory: bool, follow: bool = True, links: int = 0) -> int:
        """Open ``path`` (O_PATH), made first if it is missing, and its parents too.

        A symbolic link that leads to nothing is followed: what it names is made, in the root.
        Without ``follow`` the last link of ``path`` is what is opened.
        """
        try:
            return self.open(path, os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            pass
        parent_path, name = os.path.split(path.rstrip("/"))
        if name in ("", ".", ".."):
            raise SpecError(f"cannot make {printable(path)} in the root")
        parent = self.make(parent_path or "/", directory=True, links=links)
        try:
            if linux.fstatfs_type(parent) == linux.PROC_SUPER_MAGIC:
                raise FileNotFoundError(ENOENT, "nothing can be made in /proc", path)
            _create(parent, name, directory)
        except FileExistsError:  # a dangling link, or somebody was faster
            if links == MAX_LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP), path) from None
            target = os.path.join(parent_path, link_target(parent, name))
            return self.make(target, directory=directory, links=links + 1)
        finally:
            os.close(parent)
        return self.open(path)

    def inside(self, fd: int) -> str:
        """The path, as the container will see it, of what is open in the root."""
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(self.real_path) or "/"

    # what the container must not see or change

    def mask(self, path: str, null: int) -> None:
        """Hide what is at ``path``: a file behind ``null`` (/dev/null), a directory behind nothing.

        ``null`` is the host's device, opened and checked beforehand: the one in the image is
        anything that its author wanted (CVE-2025-31133).
        """
        try:
            target = self.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(os.fstat(target).st_mode):
            tree = mounts.new(
                "tmpfs", "tmpfs", ["nr_blocks=1", "nr_inodes=1"], linux.MOUNT_ATTR_RDONLY
            )
        else:
            tree = linux.open_tree(null, "", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH)
        mounts.attach(tree, target, mounts.Options())
        os.close(tree)
        os.close(target)

    def make_readonly(self, path: str) -> None:
        """Bind ``path`` onto itself, read-only, with all that is mounted below it."""
        try:
            target = self.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return
        tree = linux.open_tree(target, "", linux.OPEN_TREE_CLONE | EVERYTHING)
        linux.mount_setattr(tree, "", EVERYTHING, set=linux.MOUNT_ATTR_RDONLY)
        mounts.attach(tree, target, mounts.Options())
        os.close(tree)
        os.close(target)

    def seal(self, *, root: bool) -> None:
        """Make each tmpfs read-only that shall be, and ``root`` itself, not what lies in it."""
        for tree in [*self.readonly_later, *([self.fd] if root else [])]:
            linux.mount_setattr(tree, "", linux.AT_EMPTY_PATH, set=linux.MOUNT_ATTR_RDONLY)
        for tree in self.readonly_later:
            os.close(tree)


def _create(parent: int, name: str, directory: bool) -> None:
    if directory:
        linux.mkdirat(name, 0o755, dir_fd=parent)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=parent))


def link_target(parent: int, name: str) -> str:
    """Where a link leads; a name that is no link leads to itself."""
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError:
        return name
