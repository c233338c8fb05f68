"""The root filesystem of a container: the layers of its image, laid on one another.

    CONTAINER/upper         its own changes
    CONTAINER/work          overlayfs's own
    CONTAINER/rootfs        on which all is mounted; or, where there is no overlayfs, a copy

``lowers`` are directories of layers as snapshot.py has them, the newest first.
"""

from __future__ import annotations

import errno
import os

from minirun import linux
from minirun.image import overlay, tree, whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UNNAMED = "minirun.unnamed"  # overlayfs hides it, as all of its attributes
WHOLE = ".whole"  # ends the name of a layer with all that is below it, merged


class Roots:
    """``warn`` is called with a line for people, such as that overlayfs cannot be used."""

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn

    def mount(self, lowers: Sequence[str], container: str, *, volatile: bool = False) -> str:
        """Give a container its root filesystem: returns ``container``/rootfs.

        It is an overlay of the layers (newest first) below a directory of its own, or, where there
        is no overlayfs, a copy. ``volatile``: what the container writes will not be wanted again.
        """
        rootfs = f"{container}/rootfs"
        if is_copied(lowers):
            self._copy_once(lowers[0], rootfs)
            return rootfs
        self.upper(lowers, container)
        os.makedirs(rootfs, exist_ok=True)
        os.makedirs(f"{container}/work", exist_ok=True)
        overlay.mount(_visible(lowers, container), container, rootfs, volatile=volatile)
        return rootfs

    def look(self, lowers: Sequence[str], container: str) -> None:
        """Mount the same for reading only, for a container that is not mounted elsewhere."""
        upper = self.upper(lowers, container)
        os.makedirs(f"{container}/rootfs", exist_ok=True)
        overlay.look([upper, *_visible(lowers, container)], f"{container}/rootfs")

    def upper(self, lowers: Sequence[str], container: str) -> str:
        """The directory with what the container has changed."""
        upper = f"{container}/upper"
        if not os.path.isdir(upper):
            _make_upper(lowers, upper)
        return upper

    def _copy_once(self, whole: str, rootfs: str) -> None:
        from minirun.image import treecopy

        if os.path.isdir(rootfs):
            return
        self._warn(f"overlayfs cannot be used here: copying the image to {rootfs}")
        os.makedirs(f"{rootfs}.new", exist_ok=True)
        _with_both(treecopy.copy_tree, whole, f"{rootfs}.new")
        os.rename(f"{rootfs}.new", rootfs)

    def unmount(self, container: str) -> None:
        """Take the mount away, if there is one."""
        try:
            linux.umount2(f"{container}/rootfs", linux.MNT_DETACH)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise


def is_copied(lowers: Sequence[str]) -> bool:
    """Whether a container of these layers has a copy of them, as there is no overlayfs."""
    return bool(lowers) and lowers[0].endswith(WHOLE)


def root_of(lowers: Sequence[str]) -> str | None:
    """The newest layer that says what the root itself looks like; None if none does."""
    return next((path for path in lowers if not _has_attribute(path, UNNAMED)), None)


def _make_upper(lowers: Sequence[str], upper: str) -> None:
    """The root that a container sees is its upper directory: that is to look as in the image."""
    new = f"{upper}.new"
    os.makedirs(new, exist_ok=True)
    os.chmod(new, 0o755)
    if root := root_of(lowers):
        _with_both(tree.copy_attributes, root, new)
    os.rename(new, upper)


def _visible(lowers: Sequence[str], container: str) -> list[str]:
    """What overlayfs is to mount. It would merge the roots of all layers, also of those below an
    opaque one; and it wants one at least, also of an image that has none."""
    for n, path in enumerate(lowers, start=1):
        if _has_attribute(path, "opaque"):
            return list(lowers[:n])
    if not lowers:
        os.makedirs(f"{container}/empty", exist_ok=True)
        return [f"{container}/empty"]
    return list(lowers)


def _has_attribute(path: str, name: str) -> bool:
    try:
        os.getxattr(path, whiteout.attribute(name))
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return False
    return True


def _with_both(do: Callable[[int, int], object], source: str, target: str) -> None:
    """Call ``do`` with two directories, open."""
    old, new = tree.open_directory(source), tree.open_directory(target)
    try:
        do(old, new)
    finally:
        os.close(old)
        os.close(new)
