"""The root file system: mounts are placed in it, then it becomes "/" and the host's is gone.

Every path of a config.json that lies in the container is resolved *in the root*, by openat2(2) with
RESOLVE_IN_ROOT: symbolic links and ".." in it mean what they will mean to the container, and magic
links (/proc/self/fd/N) are refused. What we get is a file descriptor, and only that is used.

Interface: Root.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, ELOOP, ENOENT

from minirun import linux
from minirun.errors import SpecError, StepError, from_os_error, printable
from minirun.runtime import mounts
from minirun.runtime import spec as specs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.runtime.cgroup import Cgroup
    from minirun.runtime.spec import Spec

EVERYTHING = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
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


# In a user namespace only who owns the namespace that these show may mount them; where it is the
# host's, so is what a new mount would show, and the host's own is as good.
VIEWS = {"proc": ("/proc", "pid"), "sysfs": ("/sys", "network"), "mqueue": ("/dev/mqueue", "ipc")}


class Root:
    """The container's root directory as a file descriptor, and all that is done in it."""

    def __init__(self, bundle: str, spec: Spec, borrow: Callable[[int], int]) -> None:
        """Bind ``root.path`` onto itself: pivot_root(2) wants a mount point. Private, so that what
        is mounted below it later shows up nowhere else, and what the host mounts not here, unless
        ``linux.rootfsPropagation`` is slave.

        ``borrow`` gets the tree of a bind mount, by its index, from who may clone it (lend.py).
        """
        self.bundle, self.spec, self.borrow = bundle, spec, borrow
        self.propagation = specs.get(spec, "linux.rootfsPropagation") or "private"
        self.readonly_later: list[int] = []  # tmpfs in which mount points may have to be made first
        path = os.path.join(bundle, spec["root"]["path"])
        flags = linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE
        self.fd = linux.open_tree(linux.AT_FDCWD, path, flags)
        if not stat.S_ISDIR(os.fstat(self.fd).st_mode):
            raise SpecError(f"root.path: {printable(path)} is not a directory")
        if self.propagation not in ("slave", "rslave"):
            linux.mount_setattr(self.fd, "", EVERYTHING, propagation=linux.MS_PRIVATE)
        linux.move_mount(self.fd, "", linux.AT_FDCWD, path, linux.MOVE_MOUNT_F_EMPTY_PATH)
        self.real_path = os.readlink(f"/proc/self/fd/{self.fd}")

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
            target = os.path.join(parent_path, _link(parent, name))
            return self.make(target, directory=directory, links=links + 1)
        finally:
            os.close(parent)
        return self.open(path)

    def inside(self, fd: int) -> str:
        """The path, as the container will see it, of what is open in the root."""
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(self.real_path) or "/"

    # mounts

    def mount(self, index: int, cgroup: Cgroup) -> None:
        """Make and attach one entry of ``mounts``."""
        mount, place = self.spec["mounts"][index], f"mounts[{index}]"
        options = mounts.parse(mount, place)
        path = "/" + mount["destination"].lstrip("/")
        try:
            if "remount" in options.special:
                target = self.open(path)
                mounts.remount(target, options)
                os.close(target)
            elif options.bind:
                self._bind(index, path, options)
            elif mount["type"] == "cgroup" or (mount["type"] == "cgroup2" and _is_unified(cgroup)):
                self._mount_cgroup(path, options, cgroup)
            else:
                self._new(mount, path, options)
        except OSError as error:
            what = from_os_error(error).message
            raise StepError(f"{place}: cannot mount {printable(path)}: {what}") from error

    def _bind(self, index: int, path: str, options: mounts.Options) -> None:
        """Bind a file or directory of the host; or with copy-symlink, if it is a link, copy it."""
        source = os.path.join(self.bundle, self.spec["mounts"][index]["source"])
        try:
            tree = self._clone(index, source, options)
        except FileNotFoundError as error:
            raise SpecError(
                f"mounts[{index}].source: {printable(source)} does not exist",
                hint=f"mkdir -p {printable(source)}",
            ) from error
        kind = stat.S_IFMT(os.fstat(tree).st_mode)
        if kind == stat.S_IFLNK and "copy-symlink" in options.special:
            self._copy_link(path, os.readlink("", dir_fd=tree))
        else:
            mounts.set_attributes(tree, options)
            is_proc = linux.fstatfs_type(tree) == linux.PROC_SUPER_MAGIC
            target = self._target(
                path, kind == stat.S_IFDIR, is_proc, follow="dest-nofollow" not in options.special
            )
            mounts.attach(tree, target, options)
            os.close(target)
        os.close(tree)

    def _clone(self, index: int, source: str, options: mounts.Options) -> int:
        if not options.special & {"idmap", "ridmap"}:
            try:
                return mounts.clone(source, options)
            except PermissionError:
                if "user" not in specs.namespaces(self.spec):
                    raise
        return self.borrow(index)

    def _copy_link(self, path: str, target: str) -> None:
        parent = self.make(os.path.dirname(path), directory=True)
        name = os.path.basename(path)
        try:
            linux.symlinkat(target, name, dir_fd=parent)
        except FileExistsError:
            if _link(parent, name) != target:
                raise
        os.close(parent)

    def _new(self, mount: dict[str, Any], path: str, options: mounts.Options) -> None:
        """Mount a new file system; a tmpfs takes over the mode of the directory that it hides."""
        kind, data, attributes = mount["type"], options.data, options.set
        if kind in ("proc", "sysfs"):
            target, mode = self._plain_directory(path), None
        else:
            mode = self._mode(path)
            target = self._target(path, directory=True)
        if kind == "tmpfs":
            attributes &= ~linux.MOUNT_ATTR_RDONLY
            if mode is not None and not any(word.startswith("mode=") for word in data):
                data = [*data, f"mode={mode:o}"]
        elif attributes & linux.MOUNT_ATTR_RDONLY:
            data = [*data, "ro"]  # the file system itself: a disk may be write-protected
        tree = self._new_tree(kind, mount.get("source") or kind, data, attributes)
        if "tmpcopyup" in options.special:
            from minirun.runtime import copyup

            copyup.copy(target, tree)
        mounts.attach(tree, target, options)
        if attributes != options.set:
            self.readonly_later.append(tree)
        else:
            os.close(tree)
        os.close(target)

    def _mode(self, path: str) -> int | None:
        try:
            fd = self.open(path)
        except FileNotFoundError:
            return None
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        os.close(fd)
        return mode

    def _new_tree(self, kind: str, source: str, data: list[str], attributes: int) -> int:
        try:
            return mounts.new(kind, source, data, attributes)
        except PermissionError:
            host, namespace = VIEWS.get(kind, ("", ""))
            if not host or namespace in specs.namespaces(self.spec):
                raise
        tree = linux.open_tree(linux.AT_FDCWD, host, linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE)
        linux.mount_setattr(tree, "", EVERYTHING, set=attributes, propagation=linux.MS_PRIVATE)
        return tree

    def _target(
        self, path: str, directory: bool, is_proc: bool = False, follow: bool = True
    ) -> int:
        """Where to attach a mount: no part of /proc may be hidden, and not the root itself."""
        target = self.make(path, directory=directory, follow=follow)
        inside = self.inside(target)
        onto_proc = inside == "/proc" and not is_proc
        if onto_proc or (inside.startswith("/proc/") and inside not in PROC_FILES):
            raise SpecError(f"a mount at {printable(inside)} would hide a part of /proc")
        if inside == "/":
            raise SpecError(f"a mount at {printable(path)} would hide the root, which is root.path")
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

    def _mount_cgroup(self, path: str, options: mounts.Options, cgroup: Cgroup) -> None:
        """The container's own cgroup in each tree, as if there were no other.

        On v2 the one tree is bound to the destination, all of it for a container without a cgroup
        namespace, whose /proc/self/cgroup has paths from its top. On v1 a directory is made for
        each tree.
        """
        if _is_unified(cgroup):
            own = "cgroup" in specs.namespaces(self.spec)
            top = mounts.clone(cgroup.directories()[0] if own else cgroup.trees[0].mount, options)
            mounts.set_attributes(top, options)
        else:
            top = mounts.new(
                "tmpfs", "cgroup", ["mode=755"], options.set & ~linux.MOUNT_ATTR_RDONLY
            )
        target = self._target(path, directory=True)
        mounts.attach(top, target, options)
        if not _is_unified(cgroup):
            _fill_cgroup_v1(top, options, cgroup)
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

    # three ways in

    def pivot(self) -> None:
        """Make it "/". With "." for both, the old root lies on top of the new one and is then
        detached, and no directory in the image is needed to put it in (pivot_root(2))."""
        old = os.open("/", os.O_PATH | os.O_CLOEXEC)
        linux.fchdir(self.fd)
        try:
            linux.pivot_root(".", ".")
        except OSError as error:
            hint = "a / that is the initramfs cannot be left: --no-pivot" * (error.errno == EINVAL)
            raise StepError(f"pivot_root: {error.strerror}", hint=hint) from error
        linux.fchdir(old)
        # What is shared with the host would be unmounted there too.
        linux.mount_setattr(old, "", EVERYTHING, propagation=linux.MS_SLAVE)
        linux.umount2(".", linux.MNT_DETACH)
        linux.chdir("/")
        os.close(old)
        self._propagate()

    def move(self) -> None:
        """Move it over "/", for a "/" that pivot_root(2) cannot move away: the initramfs, which
        stays below, as after switch_root(8). What else was mounted there is gone: a /proc without
        masks would allow to mount another one."""
        old = os.open("/", os.O_PATH | os.O_CLOEXEC)
        with open("/proc/self/mountinfo", "rb") as file:
            points = {line.split()[4] for line in file}
        if b"/" not in points:
            raise StepError("--no-pivot: / is no mount, but a directory that chroot(2) has led to")
        linux.move_mount(self.fd, "", linux.AT_FDCWD, "/", linux.MOVE_MOUNT_F_EMPTY_PATH)
        linux.fchdir(old)
        for point in sorted(points - {b"/"}):
            try:
                linux.umount2(b"." + point, linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
            except OSError as error:
                if error.errno not in (EINVAL, ENOENT):  # it went with the one that it lay in
                    raise
        os.close(old)
        self._chroot()
        self._propagate()

    def leave(self, namespace: int) -> None:
        """Enter it as a tree that is attached nowhere, in the mount namespace of the host, which
        thus sees no mount of the container. No ".." leads out of such a tree."""
        tree = linux.open_tree(self.fd, "", linux.OPEN_TREE_CLONE | EVERYTHING)
        linux.setns(namespace, linux.CLONE_NEWNS)
        os.close(self.fd)
        self.fd = tree
        self._chroot()

    def _chroot(self) -> None:
        linux.fchdir(self.fd)
        linux.chroot(".")
        linux.chdir("/")

    def _propagate(self) -> None:
        """linux.rootfsPropagation, as far as it is not done from the beginning."""
        kind = self.propagation.removeprefix("r")
        if kind in ("shared", "unbindable"):
            below = 0 if kind == self.propagation else linux.MS_REC
            linux.mount(None, "/", None, below | mounts.PROPAGATION[kind])


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


def _is_unified(cgroup: Cgroup) -> bool:
    """Is there but one tree, of version 2?"""
    return [tree.version for tree in cgroup.trees] == [2]


def _fill_cgroup_v1(top: int, options: mounts.Options, cgroup: Cgroup) -> None:
    """A directory for each tree in ``top``, with the container's own cgroup mounted on it."""
    for tree, source in zip(cgroup.trees, cgroup.directories(), strict=True):
        name = os.path.basename(tree.mount)
        linux.mkdirat(name, 0o755, dir_fd=top)
        for other in tree.controllers - {name} if tree.version == 1 else ():
            if "=" not in other:  # cpu → cpu,cpuacct
                linux.symlinkat(name, other, dir_fd=top)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        mount_point = os.open(name, flags, dir_fd=top)
        clone = mounts.clone(source, options)
        mounts.set_attributes(clone, options)
        mounts.attach(clone, mount_point, options)
        os.close(mount_point)
        os.close(clone)
    mounts.set_attributes(top, options)
