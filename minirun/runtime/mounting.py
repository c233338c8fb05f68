"""Entries of ``mounts``: each is made (mounts.py) and attached in the root, where it may be.

Not everywhere: a /proc that is not the kernel's, or lacks a part of it, would deceive programs, and
ourselves, who set up the container through it.

Interface: mount.
"""

from __future__ import annotations

import os
import stat
from errno import EACCES, EINVAL, EPERM

from minirun import linux
from minirun.errors import SpecError, StepError, from_os_error, printable
from minirun.runtime import mounts
from minirun.runtime import spec as specs
from minirun.runtime.rootfs import EVERYTHING, REAL, Root, link_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.cgroup import Cgroup
    from minirun.runtime.mounts import Options
    from minirun.runtime.setup import Setup

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


def mount(setup: Setup, index: int) -> None:
    """Make and attach one entry of ``mounts``."""
    entry, place = setup.spec["mounts"][index], f"mounts[{index}]"
    options = mounts.parse(entry, place)
    path, unified = "/" + entry["destination"].lstrip("/"), _is_unified(setup.cgroup)
    try:
        if "remount" in options.special:
            target = setup.root.open(path)
            mounts.remount(target, options)
            os.close(target)
        elif options.bind:
            _bind(setup, index, path, options)
        elif entry["type"] in (("cgroup", "cgroup2") if unified else ("cgroup",)):
            _cgroup(setup, path, options)
        else:
            _new(setup, path, entry["type"], entry.get("source") or entry["type"], options)
    except OSError as error:
        what = from_os_error(error).message
        raise StepError(f"{place}: cannot mount {printable(path)}: {what}") from error


def _bind(setup: Setup, index: int, path: str, options: Options) -> None:
    """A file or directory of the host; with copy-symlink a link is made anew, not mounted."""
    source = os.path.join(setup.bundle, setup.spec["mounts"][index]["source"])
    try:
        tree = _clone(setup, index, source, options)
    except FileNotFoundError as error:
        raise SpecError(
            f"mounts[{index}].source: {printable(source)} does not exist",
            hint=f"mkdir -p {printable(source)}",
        ) from error
    status = os.fstat(tree)
    if stat.S_ISLNK(status.st_mode) and "copy-symlink" in options.special:
        _copy_link(setup.root, path, os.readlink("", dir_fd=tree))
    else:
        mounts.set_attributes(tree, options)
        is_proc = linux.fstatfs_type(tree) == linux.PROC_SUPER_MAGIC
        target = _target(
            setup.root,
            path,
            directory=stat.S_ISDIR(status.st_mode),
            is_proc=is_proc and status.st_ino == linux.PROC_ROOT_INO,
            follow="dest-nofollow" not in options.special,
        )
        mounts.attach(tree, target, options)
        os.close(target)
    os.close(tree)


def _clone(setup: Setup, index: int, source: str, options: Options) -> int:
    if not options.special & {"idmap", "ridmap"}:
        try:
            return mounts.clone(source, options)
        except OSError as error:
            if error.errno == EINVAL and not options.recursive:
                raise SpecError(
                    f"mounts[{index}].options: bind: {printable(source)} has mounts below it that "
                    "may hide files",
                    hint="in a user namespace they must come along: rbind",
                ) from error
            if error.errno not in (EACCES, EPERM) or "user" not in specs.namespaces(setup.spec):
                raise
    return setup.borrow_tree(index)


def _copy_link(root: Root, path: str, target: str) -> None:
    parent, name = root.make(os.path.dirname(path), directory=True), os.path.basename(path)
    try:
        linux.symlinkat(target, name, dir_fd=parent)
    except FileExistsError:
        if link_target(parent, name) != target:
            raise
    os.close(parent)


def _new(setup: Setup, path: str, kind: str, source: str, options: Options) -> None:
    """A new file system. A tmpfs takes over the mode of the directory that it hides."""
    data, attributes = options.data, options.set
    if kind == "tmpfs":
        attributes &= ~linux.MOUNT_ATTR_RDONLY  # later: see Root.seal
        mode = _mode(setup.root, path)
        if mode is not None and not any(word.startswith("mode=") for word in data):
            data = [*data, f"mode={mode:o}"]
    elif attributes & linux.MOUNT_ATTR_RDONLY:
        data = [*data, "ro"]  # the file system itself, too: a disk may be write-protected
    if kind in ("proc", "sysfs"):
        target = _plain_directory(setup.root, path)
    else:
        target = _target(setup.root, path, directory=True)
    tree = _new_tree(setup, kind, source, data, attributes)
    if "tmpcopyup" in options.special:
        from minirun.runtime import copyup

        copyup.copy(target, tree)
    mounts.attach(tree, target, options)
    os.close(target)
    if attributes != options.set:
        setup.root.readonly_later.append(tree)
    else:
        os.close(tree)


def _mode(root: Root, path: str) -> int | None:
    try:
        fd = root.open(path)
    except FileNotFoundError:
        return None
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    os.close(fd)
    return mode


def _new_tree(setup: Setup, kind: str, source: str, data: list[str], attributes: int) -> int:
    try:
        return mounts.new(kind, source, data, attributes)
    except PermissionError:
        host, namespace = VIEWS.get(kind, ("", ""))
        if not host or namespace in specs.namespaces(setup.spec):
            raise
    tree = linux.open_tree(linux.AT_FDCWD, host, linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE)
    linux.mount_setattr(tree, "", EVERYTHING, set=attributes, propagation=linux.MS_PRIVATE)
    return tree


def _target(
    root: Root, path: str, *, directory: bool, is_proc: bool = False, follow: bool = True
) -> int:
    """Where to attach a mount (O_PATH), made if it is missing."""
    target = root.make(path, directory=directory, follow=follow)
    inside = root.inside(target)
    onto_proc = inside == "/proc" and not is_proc
    if onto_proc or (inside.startswith("/proc/") and inside not in PROC_FILES):
        raise SpecError(f"a mount at {printable(inside)} would hide a part of /proc")
    if inside == "/":
        raise SpecError(f"a mount at {printable(path)} would hide the root, which is root.path")
    if stat.S_ISDIR(os.fstat(target).st_mode) != directory:  # move_mount would say EINVAL
        what = "not a directory, but its source is" if directory else "a directory, not a file"
        raise SpecError(f"cannot mount {printable(path)}: it is {what}")
    return target


def _plain_directory(root: Root, path: str) -> int:
    """CVE-2019-19921: a /proc that is a link would have the runtime write to what it likes."""
    try:
        os.close(root.make(path, directory=True))
        return root.open(path, os.O_PATH | os.O_DIRECTORY, REAL)
    except OSError as error:
        raise SpecError(
            f"{printable(path)} in the image must be an ordinary directory: {error.strerror}"
        ) from error


def _cgroup(setup: Setup, path: str, options: Options) -> None:
    """The container's own cgroup in each tree, as if there were no other.

    On v2 the one tree is bound to the destination, all of it for a container without a cgroup
    namespace, whose /proc/self/cgroup has paths from its top. On v1 a directory is made for each
    tree.
    """
    cgroup, unified = setup.cgroup, _is_unified(setup.cgroup)
    if unified:
        own = "cgroup" in specs.namespaces(setup.spec)
        top = mounts.clone(cgroup.directories()[0] if own else cgroup.trees[0].mount, options)
        mounts.set_attributes(top, options)
    else:
        attributes = options.set & ~linux.MOUNT_ATTR_RDONLY
        top = mounts.new("tmpfs", "cgroup", ["mode=755"], attributes)
    target = _target(setup.root, path, directory=True)
    mounts.attach(top, target, options)
    if not unified:
        _fill(top, options, cgroup)
        mounts.set_attributes(top, options)
    os.close(target)
    os.close(top)


def _is_unified(cgroup: Cgroup) -> bool:
    """Is there but one tree, of version 2?"""
    return [tree.version for tree in cgroup.trees] == [2]


def _fill(top: int, options: Options, cgroup: Cgroup) -> None:
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
