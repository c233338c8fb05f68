"""Unpacked layers, shared by all containers, and the mounts that lay them on one another.

    ROOT/<hex>              an unpacked layer, as overlayfs wants it; named by its diff_id, or, if
                            it leans on the layers below it (layer.py), by its chain ID
    ROOT/<hex>.partial      one that is being unpacked, locked by who does it

A layer appears by rename(2) when all of it is there, and is never changed from then on.
A container has a directory with ``upper`` (its own changes), ``work`` (overlayfs's own) and
``rootfs``, on which all is mounted.

Chain IDs: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
Mounts: Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

import errno
import os

from minirun import linux
from minirun.errors import DigestError, NotFound
from minirun.image import lock, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from minirun.image import layer

UNNAMED = "trusted.overlay.minirun.unnamed"  # hidden from containers by overlayfs, as all of those
PARTIAL = ".partial"
WAIT = 3600.0  # seconds; somebody else may be unpacking a large layer


class Snapshots:
    """``Snapshots(root)`` touches nothing: the directory appears with the first layer.

    ``diff_ids`` are always those of an image down to its base: oldest first, as in its config.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def find(self, diff_ids: Sequence[str]) -> str | None:
        """The directory of the last layer of ``diff_ids``, or None if it must be unpacked."""
        for name in (_hex(diff_ids[-1]), None):
            path = f"{self.root}/{name or _hex(chain_id(diff_ids))}"
            if os.path.isdir(path):
                return path
        return None

    def lowers(self, config: dict[str, Any]) -> list[str]:
        """The directories of an image's layers, the newest first, by the image's config document.

        NotFound names a layer that is not unpacked.
        """
        return self._stack(config["rootfs"]["diff_ids"])

    def _stack(self, diff_ids: Sequence[str]) -> list[str]:
        found = []
        for n in range(len(diff_ids), 0, -1):
            path = self.find(diff_ids[:n])
            if path is None:
                raise NotFound(
                    f"layer {diff_ids[n - 1]} is not unpacked", hint="minirun pull the image again"
                )
            found.append(path)
        return found

    def add(self, blob: str, diff_ids: Sequence[str], *, alone: bool = False) -> str | None:
        """Unpack the layer in the file ``blob``, the last of ``diff_ids``; returns its directory.

        Once this returns, whoever unpacked it, the layer is whole and its content has that digest.
        Unless ``alone``, the layers below must have been added. With it they need not, so layers
        can be unpacked at the same time; the few that lean on what is below return None, and are to
        be added again once the others are there. Raises LayerError, DigestError, StoreError.
        """
        from minirun.image import layer

        os.makedirs(self.root, mode=0o700, exist_ok=True)
        key = _hex(diff_ids[-1] if alone else chain_id(diff_ids))
        partial = f"{self.root}/{key}{PARTIAL}"
        with _claim(partial) as claim:
            found = self.find(diff_ids)
            try:
                if found is None:
                    tree.clear(claim.fd)
                    found = self._unpack(blob, diff_ids, claim.fd, alone)
                    os.rename(partial, found)
            except layer.NeedsBelow:
                return None
            finally:
                rmtree(partial)
        return found

    def _unpack(self, blob: str, diff_ids: Sequence[str], root: int, alone: bool) -> str:
        from minirun.image import layer
        from minirun.image.compression import Layer

        below = [] if alone or len(diff_ids) == 1 else self._stack(diff_ids[:-1])
        fds = [tree.open_directory(path) for path in below]
        try:
            with open(blob, "rb") as file, Layer(file) as chunks:
                nothing_known = alone and len(diff_ids) > 1
                unpacked = layer.unpack(chunks, root, below=None if nothing_known else fds)
                diff_id = chunks.diff_id
        finally:
            for fd in fds:
                os.close(fd)
        if diff_id != diff_ids[-1]:
            raise DigestError(f"the layer {diff_ids[-1]} unpacks to other bytes: {diff_id}")
        finish(root, unpacked)
        return f"{self.root}/{_hex(chain_id(diff_ids) if unpacked.leans else diff_id)}"

    # --- containers -----------------------------------------------------------------------------

    def mount(self, lowers: Sequence[str], container: str) -> str:
        """Lay layers (newest first) and a writable directory of its own before a container."""
        from minirun.image import overlay

        return overlay.mount(lowers, container)

    def unmount(self, container: str) -> None:
        """Take the mount away, if there is one."""
        try:
            linux.umount2(f"{container}/rootfs", linux.MNT_DETACH)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise

    def prune(self, keep: Iterable[Sequence[str]]) -> list[str]:
        """Remove the layers that no image in ``keep`` (their diff_ids) has; returns their names."""
        kept = {
            path for image in keep for n in range(len(image)) if (path := self.find(image[: n + 1]))
        }
        removed = []
        for name in os.listdir(self.root) if os.path.isdir(self.root) else []:
            path = f"{self.root}/{name}"
            if path not in kept:
                with lock.exclusive(path):
                    rmtree(path)
                removed.append(name)
        return removed


def finish(root: int, unpacked: layer.Unpacked) -> None:
    """Make an unpacked layer one that overlayfs can mount and that survives a power cut."""
    from minirun.image import whiteout

    if unpacked.whiteouts:
        tree.each_directory(root, whiteout.to_overlay)
    if not unpacked.names_root:
        os.setxattr(root, UNNAMED, b"y")
    linux.syncfs(root)


def chain_id(diff_ids: Sequence[str]) -> str:
    """The digest that names a stack of layers, and not only the uppermost one."""
    chain = diff_ids[0]
    if len(diff_ids) > 1:
        from hashlib import sha256

        for diff_id in diff_ids[1:]:
            chain = f"sha256:{sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _claim(path: str) -> lock.Lock:
    """Make a directory that only we fill. Who waited may find it renamed: then he looks again."""
    while True:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        try:
            claim = lock.exclusive(path, wait=WAIT)
            if os.path.samestat(os.fstat(claim.fd), os.stat(path)):
                return claim
            os.close(claim.fd)
        except FileNotFoundError:
            pass


def rmtree(path: str) -> None:
    """Remove a file or a tree, however deep; nothing there is fine."""
    parent = tree.open_directory(os.path.dirname(path))
    try:
        tree.remove(os.path.basename(path), parent)
    finally:
        os.close(parent)
