"""Three ways to make the root "/". After each, no path leads to what was "/" before.

    pivot   of a mount namespace of our own: the old root is moved away, and unmounted
    move    the same where "/" is the initramfs, which cannot be moved away: it is covered
    leave   without a mount namespace of our own: the root is a tree that is attached nowhere

chroot(2) alone would be none: who has CAP_SYS_CHROOT walks out of it with chdir(2) and "..".

Interface: pivot, move, leave, propagate, mount_point.
"""

from __future__ import annotations

import os
from errno import EINVAL, ENOENT

from minirun import linux
from minirun.errors import StepError
from minirun.runtime.mounts import PROPAGATION
from minirun.runtime.rootfs import EVERYTHING, Root


def pivot(root: Root) -> None:
    """With "." for both, the old root lies on top of the new one and is then detached, and no
    directory in the image is needed to put it in (pivot_root(2))."""
    old = os.open("/", os.O_PATH | os.O_CLOEXEC)
    linux.fchdir(root.fd)
    try:
        linux.pivot_root(".", ".")
    except OSError as error:
        hint = "is / the initramfs? then: --no-pivot" if error.errno == EINVAL else None
        raise StepError(str(error.strerror), hint=hint) from error
    linux.fchdir(old)
    # What is shared with the host would be unmounted there too.
    linux.mount_setattr(old, "", EVERYTHING, propagation=linux.MS_SLAVE)
    linux.umount2(".", linux.MNT_DETACH)
    linux.chdir("/")
    os.close(old)


def move(root: Root) -> None:
    """As switch_root(8) does. What else was mounted in the old root is gone: a /proc that shows
    more than the container's, even out of sight, would allow it to mount another such."""
    old = os.open("/", os.O_PATH | os.O_CLOEXEC)
    points = set(_mount_points())
    if b"/" not in points:
        raise StepError("--no-pivot: / is no mount, but a directory that chroot(2) has led to")
    linux.move_mount(root.fd, "", linux.AT_FDCWD, "/", linux.MOVE_MOUNT_F_EMPTY_PATH)
    linux.fchdir(old)
    for point in points - {b"/"}:
        try:
            linux.umount2(b"." + point, linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno not in (EINVAL, ENOENT):  # it went with the one that it lay in
                raise
    os.close(old)
    _chroot(root)


def leave(root: Root, namespace: int) -> None:
    """Go back to the host's mount namespace with a clone of all that was mounted for us. The host
    sees none of it, and ".." ends at its top."""
    tree = linux.open_tree(root.fd, "", linux.OPEN_TREE_CLONE | EVERYTHING)
    linux.setns(namespace, linux.CLONE_NEWNS)
    os.close(root.fd)
    root.fd = tree
    _chroot(root)


def _chroot(root: Root) -> None:
    linux.fchdir(root.fd)
    linux.chroot(".")
    linux.chdir("/")


def propagate(wanted: str) -> None:
    """``linux.rootfsPropagation``, as far as it says how "/" itself shall be."""
    kind = wanted.removeprefix("r")
    if kind in ("shared", "unbindable"):
        below = 0 if kind == wanted else linux.MS_REC
        linux.mount(None, "/", None, below | PROPAGATION[kind])


def mount_point(path: str) -> bytes:
    """Where the mount that ``path`` lies in is attached."""
    directory = os.fsencode(os.path.realpath(path)) + b"/"
    return max(
        (point for point in _mount_points() if directory.startswith(point.rstrip(b"/") + b"/")),
        key=len,
        default=b"/",
    )


def _mount_points() -> list[bytes]:
    """proc_pid_mountinfo(5); spaces are written as \\040 there."""
    with open("/proc/self/mountinfo", "rb") as file:
        return [line.split()[4].decode("unicode_escape").encode("latin-1") for line in file]
