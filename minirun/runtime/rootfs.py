"""The root file system: mounts are placed in it, then it becomes "/" and the host's is gone.

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
from minirun.errors import SpecError, StepError, printable
from minirun.runtime import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.cgroup import Cgroup

IN_ROOT = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
REAL = IN_ROOT | linux.RESOLVE_NO_SYMLINKS
MAX_LINKS = 40  # as the kernel: path_resolution(7)
# What lxcfs and its like put over single files of /proc; anything else there is an attack on us.
PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo sys/kernel/ns_last_pid "
        "sys/crypto/fips_enabled"
    ).split()
)


class Root:
    """The container's root directory as a file descriptor, and all that is done in it."""

    def __init__(self, path: str) -> None:
        """Bind ``path`` onto itself: pivot_root(2) wants a mount point. Private, so that what is
        mounted below it later shows up nowhere else."""
        self.path = path
        flags = linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE
        self.fd = linux.open_tree(linux.AT_FDCWD, path, flags)
        if not stat.S_ISDIR(os.fstat(self.fd).st_mode):
            raise SpecError(f"root.path: {printable(path)} is not a directory")
        recursive = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
        linux.mount_setattr(self.fd, "", recursive, propagation=linux.MS_PRIVATE)
        linux.move_mount(self.fd, "", linux.AT_FDCWD, path, linux.MOVE_MOUNT_F_EMPTY_PATH)
        self.real_path = os.readlink(f"/proc/self/fd/{self.fd}")

    def open(self, path: str, flags: int = os.O_PATH, resolve: int = IN_ROOT) -> int:
        """Open what is at ``path`` for the container. The caller closes it."""
        return linux.openat2(self.fd, path, flags, resolve=resolve)

    def make(self, path: str, *, directory: bool, links: int = 0) -> int:
        """Open ``path`` (O_PATH), made first if it is missing, and its parents too.

        A symbolic link that leads to nothing is followed: what it names is made, in the root.
        """
        try:
            return self.open(path)
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
            target = os.path.join(parent_path, _link(parent, name))
            return self.make(target, directory=directory, links=links + 1)
        finally:
            os.close(parent)
        return self.open(path, resolve=IN_ROOT)

    def inside(self, fd: int) -> str:
        """The path, as the container will see it, of what is open in the root."""
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(self.real_path) or "/"

    # mounts

    def mount(self, mount: dict[str, Any], bundle: str, place: str) -> None:
        """Make and attach one entry of ``mounts``."""
        try:
            tree, options = mounts.detached(mount, bundle, place)
            is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            target = self._target(mount["destination"], mount.get("type"), tree, is_directory)
            mounts.attach(tree, target, options)
        except OSError as error:
            name = printable(mount["destination"])
            raise StepError(f"{place}: cannot mount {name}: {error}") from error
        os.close(target)
        os.close(tree)

    def _target(self, path: str, kind: str | None, tree: int, is_directory: bool) -> int:
        """Where to attach a mount; /proc and /sys are what they seem, and stay what they are."""
        path = "/" + path.lstrip("/")
        if kind in ("proc", "sysfs"):
            return self._plain_directory(path)
        target = self.make(path, directory=is_directory)
        inside = self.inside(target)
        onto_proc = inside == "/proc" and linux.fstatfs_type(tree) != linux.PROC_SUPER_MAGIC
        if onto_proc or (inside.startswith("/proc/") and inside not in PROC_FILES):
            raise SpecError(f"a mount at {printable(inside)} would hide a part of /proc")
        return target

    def _plain_directory(self, path: str) -> int:
        """CVE-2019-19921: a /proc that is a link would have the runtime write to what it likes."""
        try:
            os.close(self.make(path, directory=True))
            return self.open(path, os.O_PATH | os.O_DIRECTORY, REAL)
        except OSError as error:
            raise SpecError(
                f"{printable(path)} in the image must be an ordinary directory: {error.strerror}"
            ) from error

    def mount_cgroup(self, mount: dict[str, Any], cgroup: Cgroup, place: str) -> None:
        """The container's own cgroup in each tree, as if there were no other.

        On v2 the one tree is bound to the destination; on v1 a directory is made for each.
        """
        if [tree.version for tree in cgroup.trees] == [2]:
            bind = {"source": cgroup.directories()[0], "type": "bind"}
            self.mount({**mount, **bind}, "/", place)
            return
        options = mounts.parse(mount.get("options") or [], place)
        top = mounts.new("tmpfs", "cgroup", ["mode=755"], options.set & ~linux.MOUNT_ATTR_RDONLY)
        target = self._target(mount["destination"], "cgroup", top, is_directory=True)
        mounts.attach(top, target, options)
        for tree, source in zip(cgroup.trees, cgroup.directories(), strict=True):
            name = os.path.basename(tree.mount)
            linux.mkdirat(name, 0o755, dir_fd=top)
            for other in tree.controllers - {name} if tree.version == 1 else ():
                if "=" not in other:  # cpu → cpu,cpuacct
                    linux.symlinkat(name, other, dir_fd=top)
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            mount_point = os.open(name, flags, dir_fd=top)
            clone = linux.open_tree(linux.AT_FDCWD, source, linux.OPEN_TREE_CLONE)
            mounts.set_attributes(clone, options)
            mounts.attach(clone, mount_point, mounts.Options())
            os.close(mount_point)
            os.close(clone)
        mounts.set_attributes(top, options)
        os.close(target)
        os.close(top)

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
        recursive = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
        tree = linux.open_tree(target, "", linux.OPEN_TREE_CLONE | recursive)
        linux.mount_setattr(tree, "", recursive, set=linux.MOUNT_ATTR_RDONLY)
        mounts.attach(tree, target, mounts.Options())
        os.close(tree)
        os.close(target)

    def seal(self) -> None:
        """Make the root itself read-only; what is mounted in it stays as it is."""
        linux.mount_setattr(self.fd, "", linux.AT_EMPTY_PATH, set=linux.MOUNT_ATTR_RDONLY)

    def enter(self) -> None:
        """Make it "/". With "." for both, the old root lies on top of the new one and is then
        detached, and no directory in the image is needed to put it in (pivot_root(2))."""
        old = os.open("/", os.O_PATH | os.O_CLOEXEC)
        linux.fchdir(self.fd)
        linux.pivot_root(".", ".")
        linux.fchdir(old)
        # What is shared with the host would be unmounted there too.
        flags = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
        linux.mount_setattr(old, "", flags, propagation=linux.MS_SLAVE)
        linux.umount2(".", linux.MNT_DETACH)
        linux.chdir("/")
        os.close(old)


def mount_point(path: str) -> str:
    """Where the mount that ``path`` lies in is attached (proc_pid_mountinfo(5))."""
    path = os.path.realpath(path)
    points = ["/"]
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            point = line.split()[4].replace("\\040", " ")
            if path == point or path.startswith(point.rstrip("/") + "/"):
                points.append(point)
    return max(points, key=len)


def _create(parent: int, name: str, directory: bool) -> None:
    if directory:
        linux.mkdirat(name, 0o755, dir_fd=parent)
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=parent))


def _link(parent: int, name: str) -> str:
    """Where a link leads; a name that is no link leads to itself."""
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError:
        return name
