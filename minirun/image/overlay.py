"""Laying directories on one another for a container: overlayfs(5), many read-only, one writable."""

from __future__ import annotations

import os

from minirun import linux
from minirun.errors import StoreError
from minirun.image import whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 4096  # bytes that mount(2) takes for its options, with the zero byte


def mount(lowers: Sequence[str], container: str) -> str:
    """Mount layers (newest first) and ``container``/upper on ``container``/rootfs; returns that.

    No device of an image works through it: what a container needs is in a /dev of its own.
    """
    for name in ("upper", "work", "rootfs"):
        os.makedirs(f"{container}/{name}", mode=0o755 if name != "work" else 0o700, exist_ok=True)
    rootfs = f"{container}/rootfs"
    options = f"lowerdir={':'.join(lowers)},upperdir={container}/upper,workdir={container}/work"
    if len(os.fsencode(options)) >= PAGE:
        raise StoreError("too many layers for now")
    linux.mount("overlay", rootfs, "overlay", linux.MS_NODEV, options)
    return rootfs


__all__ = ["mount", "whiteout"]
