"""/dev: the few device files that every container has, those that config.json adds, and the links.

A device file is a name for a number, and the number is the power: c 1:3 is the null device wherever
it lies (null(4), mknod(2)). An image may have put anything at these names, so what is there already
is accepted only if it is that very device. Which numbers a container may use at all is decided by
its cgroup. In a user namespace mknod(2) is refused, and the host's device is bound instead.

Interface: make_all, make_console, open_null, use_own_null.
"""

from __future__ import annotations

import os
import stat
from errno import EPERM

from minirun import linux
from minirun.errors import SpecError, StepError, from_os_error, printable
from minirun.runtime import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.rootfs import Root
    from minirun.runtime.spec import Spec

DEFAULT = (  # config-linux.md, "Default Devices"; the numbers: admin-guide/devices.txt
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
NULL = os.makedev(1, 3)


def open_null() -> int:
    """The host's /dev/null, which it really is (O_PATH)."""
    fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    if os.fstat(fd).st_rdev != NULL:
        raise StepError("/dev/null of this machine is not the null device")
    return fd


def use_own_null(root: Root) -> None:
    """Where standard input, output or error is the host's /dev/null, make it the container's.

    Nothing that a process holds is then from outside its mounts; CRIU, for one, asks for that.
    """
    for fd in (0, 1, 2):
        if os.fstat(fd).st_rdev == NULL:
            own = root.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            if os.fstat(own).st_rdev == NULL:
                linux.dup2(own, fd)
            os.close(own)


def make_all(root: Root, spec: Spec) -> None:
    """The default devices, those of ``linux.devices``, and the links."""
    if _is_bound(spec):
        return  # a /dev of the host's is as the caller wants it
    dev = _directory(root)
    wanted = {f"/dev/{name}": _default(name, *number) for name, *number in DEFAULT}
    for device in (spec.get("linux") or {}).get("devices") or []:
        wanted[os.path.normpath(device["path"])] = device
    wanted.pop("/dev/ptmx", None)  # a link, to the container's own pseudo-terminals
    for path, device in wanted.items():
        parent, name = os.path.split(path)
        fd = dev if parent == "/dev" else root.make(parent, directory=True)
        try:
            make(fd, name, device)
        except OSError as error:
            raise StepError(
                f"linux.devices: cannot make {printable(path)}: {from_os_error(error).message}"
            ) from error
        if fd != dev:
            os.close(fd)
    for name, target in LINKS:
        _link(dev, name, target)


def _default(name: str, major: int, minor: int) -> dict[str, Any]:
    return {"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor}


def _is_bound(spec: Spec) -> bool:
    for mount in spec.get("mounts") or []:
        if os.path.normpath("/" + mount["destination"]) in ("/dev", "//dev"):
            bind = {"bind", "rbind"} & set(mount.get("options") or [])
            return bool(bind) or mount.get("type") == "bind"
    return False


def _directory(root: Root) -> int:
    """/dev, which must be no link: its files would be made where that leads (CVE-2026-41579)."""
    os.close(root.make("/dev", directory=True))
    resolve = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_SYMLINKS
    try:
        return root.open("/dev", os.O_PATH | os.O_DIRECTORY, resolve)
    except OSError as error:
        raise SpecError(
            f"/dev in the image must be an ordinary directory: {error.strerror}"
        ) from error


def make(parent: int, name: str, device: dict[str, Any]) -> None:
    """One device file in an open directory, with its mode and owner."""
    kind, number = _number(device)
    mode = device.get("fileMode")
    mode = 0o666 if mode is None else mode & 0o7777
    try:
        linux.mknodat(name, kind | mode, number, dir_fd=parent)  # our umask is 0
        owner = device.get("uid") or 0, device.get("gid") or 0
        if owner != (0, 0):
            linux.fchownat(name, *owner, dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        _check(os.stat(name, dir_fd=parent, follow_symlinks=False), device, "in the image")
    except OSError as error:
        if error.errno != EPERM or kind == stat.S_IFIFO:
            raise
        _bind(parent, name, device)


def _number(device: dict[str, Any]) -> tuple[int, int]:
    """What makes two devices the same: the kind of file, and st_rdev."""
    kind = KINDS[device["type"]]
    return kind, 0 if kind == stat.S_IFIFO else os.makedev(device["major"], device["minor"])


def _check(found: os.stat_result, device: dict[str, Any], where: str) -> None:
    if (stat.S_IFMT(found.st_mode), found.st_rdev) != _number(device):
        shown = f"{device['type']} {device.get('major')}:{device.get('minor')}"
        raise SpecError(f"{printable(device['path'])} {where} is not the device {shown}")


def _bind(parent: int, name: str, device: dict[str, Any]) -> None:
    """The host's device of that path in the place of one of our own; its owner and mode stay."""
    tree = linux.open_tree(linux.AT_FDCWD, device["path"], linux.OPEN_TREE_CLONE)
    _check(os.fstat(tree), device, "of the host, which a user namespace gets,")
    flags = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC
    linux.mount_setattr(tree, "", linux.AT_EMPTY_PATH, set=flags)
    target = file_for_mount(parent, name)
    mounts.attach(tree, target, mounts.Options())
    os.close(target)
    os.close(tree)


def file_for_mount(parent: int, name: str) -> int:
    """An ordinary file of that name to mount something on, made if it is missing (O_PATH)."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        os.close(os.open(name, flags, 0o600, dir_fd=parent))
    except FileExistsError:
        pass
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    if not (stat.S_ISREG(os.fstat(fd).st_mode) or stat.S_ISCHR(os.fstat(fd).st_mode)):
        raise SpecError(f"/dev/{name} in the image is neither a file nor a device")
    return fd


def _link(parent: int, name: str, target: str) -> None:
    try:
        linux.symlinkat(target, name, dir_fd=parent)
    except FileExistsError:
        pass  # the image's own; a wrong one misleads nobody but the image's programs


def make_console(root: Root, slave: int) -> None:
    """/dev/console is the container's terminal, bound from its open file."""
    dev = _directory(root)
    target = file_for_mount(dev, "console")
    tree = linux.open_tree(slave, "", linux.OPEN_TREE_CLONE | linux.AT_EMPTY_PATH)
    mounts.attach(tree, target, mounts.Options())
    for fd in (tree, target, dev):
        os.close(fd)
