"""Laying directories on one another for a container: overlayfs, many read-only, one writable.

    mount -t overlay overlay -o lowerdir=NEWEST:…:OLDEST,upperdir=CHANGES,workdir=ITS_OWN rootfs

See Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

import errno
import os

from minirun import linux
from minirun.errors import StoreError
from minirun.image import tree, whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# How file systems and kernels say that overlayfs cannot be used, or not by us.
OBSTACLES = (
    errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES,
)  # fmt: skip
# A directory that is renamed is copied, whatever the module's default is: else what a container
# has changed would be no layer, but in part a reference to the layers below.
ALWAYS = ",redirect_dir=nofollow"
# How many bytes mount(2) takes, the zero byte at the end included
PAGE = 4096 - len(ALWAYS + ",volatile,userxattr")


def mount(lowers: Sequence[str], container: str, rootfs: str, *, volatile: bool = False) -> None:
    """Mount layers (newest first) on ``rootfs``, what changes there going to ``container``/upper.

    No device of an image works through this mount: a container has a /dev of its own. A
    ``volatile`` mount is never flushed to the disk: unmounting it need not wait for that.
    """
    own = (f"{container}/upper", f"{container}/work")
    _mount([*lowers, *own], rootfs, linux.MS_NODEV, _options, ",volatile" * volatile)


def look(layers: Sequence[str], rootfs: str) -> None:
    """Mount layers (newest first; two at least) on ``rootfs``, for reading only."""
    _mount(layers, rootfs, linux.MS_NODEV | linux.MS_RDONLY, _reading, "")


def _mount(
    paths: Sequence[str],
    rootfs: str,
    flags: int,
    options: Callable[[Sequence[str]], str],
    more: str,
) -> None:
    more += ALWAYS + ",userxattr" * whiteout.in_user_namespace()
    if _fits(options(paths), paths):
        linux.mount("overlay", rootfs, "overlay", flags, options(paths) + more)
        return
    with _Handles(paths) as handles:
        if not _fits(options(handles), handles):
            raise StoreError(f"{len(paths)} layers are more than one mount can have")
        linux.mount("overlay", rootfs, "overlay", flags, options(handles) + more)


class _Handles:
    """Other names for directories: short, and without a character that needs an escape."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._fds: list[int] = []
        try:
            self._fds.extend(os.open(path, os.O_PATH | os.O_CLOEXEC) for path in paths)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> list[str]:
        return [tree.handle(fd) for fd in self._fds]

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)


def _options(paths: Sequence[str]) -> str:
    *lowers, upper, work = paths
    return f"{_reading(lowers)},upperdir={upper},workdir={work}"


def _reading(lowers: Sequence[str]) -> str:
    return f"lowerdir={':'.join(lowers)}"


def _fits(options: str, paths: Sequence[str]) -> bool:
    """Paths fit on the page of options, and hold nothing that means something to overlayfs."""
    return len(os.fsencode(options)) < PAGE and not any(c in "".join(paths) for c in ":,\\")


def obstacle(directory: str) -> str | None:
    """Why overlayfs cannot be used in ``directory``; None if it can. That is tried, not guessed.

    The mount is attached to no place, so it is gone when we are, however we end.
    """
    trial = f"{directory}/trial"
    for name in ("lower", "upper", "work"):
        os.makedirs(f"{trial}/{name}")
    fd = tree.open_directory(f"{trial}/lower")
    try:
        whiteout.hide(b"x", fd)
        whiteout.make_opaque(fd)
        whiteout.to_overlay(fd)
        _try([f"{trial}/lower", f"{trial}/upper", f"{trial}/work"])
    except OSError as error:
        if error.errno not in OBSTACLES:
            raise  # a full disk, say: that is no reason to do it another way
        return os.strerror(error.errno)
    finally:
        os.close(fd)
        tree.rmtree(trial)
    return None


def _try(paths: list[str]) -> None:
    overlay = linux.fsopen("overlay")
    try:
        with _Handles(paths) as handles:
            for key, handle in zip(("lowerdir", "upperdir", "workdir"), handles, strict=True):
                linux.fsconfig(overlay, linux.FSCONFIG_SET_STRING, key, handle)
            if whiteout.in_user_namespace():
                linux.fsconfig(overlay, linux.FSCONFIG_SET_FLAG, "userxattr")
            linux.fsconfig(overlay, linux.FSCONFIG_CMD_CREATE)
        os.close(linux.fsmount(overlay))
    finally:
        os.close(overlay)
