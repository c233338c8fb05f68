"""Unpacked layers, shared by all containers. roots.py lays them on one another.

    ROOT/<hex>              an unpacked layer, as overlayfs wants it; named by its diff_id, or, if
                            it leans on the layers below it (layer.py), by its chain ID
    ROOT/<hex>.base, .above one that hides files of those below it: as a base it has nothing to
                            hide, and another image may have the same layer above others
    ROOT/<hex>.whole        where there is no overlayfs: a layer with all that is below it, merged
    ROOT/<name>.partial     one that is being unpacked, locked by who does it

A layer appears by rename(2) when all of it is there, and is never changed from then on.

Chain IDs: https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.errors import DigestError, NotFound
from minirun.image import lock, overlay, tree, whiteout
from minirun.image.roots import UNNAMED, WHOLE, Roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from minirun.image.layer import Unpacked

BASE, ABOVE, PARTIAL = ".base", ".above", ".partial"
WAIT = 3600.0  # seconds; somebody else may be unpacking a large layer


class Snapshots(Roots):
    """``Snapshots(root)`` touches nothing: the directory appears with the first layer.

    ``diff_ids`` are those of an image from its base up to some layer, as in its config.
    ``warn`` is called with a line for people, such as that overlayfs cannot be used, ``tell`` with
    what is known of each layer that was unpacked.
    """

    def __init__(
        self,
        root: str,
        warn: Callable[[str], object] = lambda line: None,
        tell: Callable[[Unpacked], object] = lambda unpacked: None,
    ) -> None:
        self.root = os.path.abspath(root)
        super().__init__(warn)
        self._tell = tell
        self._obstacles: list[str | None] = []  # what the one trial has shown, once it was made

    def find(self, diff_ids: Sequence[str]) -> str | None:
        """The directory of the last layer of ``diff_ids``, or None if it must be unpacked."""
        path = f"{self.root}/{_hex(diff_ids[-1])}"
        for candidate in (path, path + (ABOVE if diff_ids[:-1] else BASE)):
            if os.path.isdir(candidate):
                return candidate
        path = f"{self.root}/{_hex(chain_id(diff_ids))}"
        for candidate in (path, path + WHOLE):
            if os.path.isdir(candidate):
                return candidate
        return None

    def lowers(self, config: dict[str, Any]) -> list[str]:
        """The directories of an image's layers, the newest first, by the image's config document.

        NotFound names a layer that is not unpacked.
        """
        return self.stack(config["rootfs"].get("diff_ids") or [])

    def stack(self, diff_ids: Sequence[str]) -> list[str]:
        """The same by its diff_ids."""
        found = []
        for n in range(len(diff_ids), 0, -1):
            path = self.find(diff_ids[:n])
            if path is None:
                raise NotFound(
                    f"layer {diff_ids[n - 1]} is not unpacked", hint="minirun pull the image again"
                )
            found.append(path)
            if path.endswith(WHOLE):
                break
        return found

    # --- layers ---------------------------------------------------------------------------------

    def add(self, blob: str, diff_ids: Sequence[str], *, alone: bool = False) -> str | None:
        """Unpack the layer in the file ``blob``, the last of ``diff_ids``; returns its directory.

        Once this returns, whoever unpacked it, the layer is whole and its content has that digest.
        Unless ``alone``, the layers below must have been added. With it they need not, so layers
        can be unpacked at the same time; those that lean on what is below return None, and are to
        be added again once the others are there. Raises LayerError, DigestError, StoreError.
        """
        from minirun.image.filling import NeedsBelow

        os.makedirs(self.root, mode=0o700, exist_ok=True)
        key = _hex(diff_ids[-1] if alone else chain_id(diff_ids))
        partial = f"{self.root}/{key}{PARTIAL}"
        with _claim(partial) as claim:
            found = self.find(diff_ids)
            try:
                if found is None:
                    tree.clear(claim.fd)
                    obstacle = self._obstacle(partial)
                    found = self._unpack(blob, diff_ids, claim.fd, alone, obstacle)
                    _put(claim.fd, partial, found)
                else:
                    tree.rmtree(partial)
            except BaseException as error:
                tree.rmtree(partial)
                if isinstance(error, NeedsBelow):
                    return None
                raise
        return found

    def _obstacle(self, directory: str) -> str | None:
        """Why overlayfs cannot be used here; tried once, in an empty directory."""
        if not self._obstacles:
            self._obstacles.append(overlay.obstacle(directory))
        return self._obstacles[0]

    def _unpack(
        self, blob: str, diff_ids: Sequence[str], root: int, alone: bool, obstacle: str | None
    ) -> str:
        """Fill the empty directory ``root``; returns the path that it is to have."""
        below = None if alone and len(diff_ids) > 1 else diff_ids[:-1]
        if obstacle:
            unpacked = self._unpack_whole(blob, below, root, obstacle)
        else:
            unpacked = self._unpack_for_overlay(blob, below, root)
        if unpacked.diff_id != diff_ids[-1]:
            raise DigestError(f"layer {diff_ids[-1]} unpacks to other bytes: {unpacked.diff_id}")
        for warning in unpacked.warnings:
            self._warn(warning)
        self._tell(unpacked)
        return f"{self.root}/{_name(diff_ids, unpacked, whole=bool(obstacle))}"

    def _unpack_for_overlay(self, blob: str, below: Sequence[str] | None, root: int) -> Unpacked:
        from minirun.image import layer

        fds = [tree.open_directory(path) for path in self.stack(below or [])]
        try:
            unpacked = layer.unpack(blob, root, below=None if below is None else fds)
        finally:
            for fd in fds:
                os.close(fd)
        if unpacked.whiteouts:
            lowest = below is not None and not below
            tree.each_directory(root, whiteout.drop if lowest else whiteout.to_overlay)
        if not unpacked.names_root:
            os.setxattr(root, whiteout.attribute(UNNAMED), b"y")
        return unpacked

    def _unpack_whole(
        self, blob: str, below: Sequence[str] | None, root: int, obstacle: str
    ) -> Unpacked:
        from minirun.image import flatten, treecopy
        from minirun.image.filling import NeedsBelow

        if below is None:
            raise NeedsBelow
        self._warn(f"{self.root}: overlayfs cannot be used here ({obstacle}), so layers are copied")
        for path in self.stack(below):  # one at most: it holds what is below it too
            source = tree.open_directory(path)
            try:
                treecopy.copy_tree(source, root)
            finally:
                os.close(source)
        return flatten.apply([blob], root, hashed=True)[0]

    def compare(self, blob: str, diff_ids: Sequence[str], *, mend: bool = False) -> str | None:
        """How the unpacked layer differs from the file ``blob`` it came from; None if it doesn't.

        It is unpacked once more, and with ``mend`` takes the place of the other. Nothing may be
        mounted above that one then.
        """
        from minirun.image import fingerprint

        found = self.find(diff_ids)
        if found is None:
            return "it is not unpacked"
        with _claim(f"{self.root}/{_hex(chain_id(diff_ids))}{PARTIAL}") as claim:
            partial = os.readlink(tree.handle(claim.fd))
            try:
                tree.clear(claim.fd)
                self._unpack(blob, diff_ids, claim.fd, False, self._obstacle(partial))
                difference = fingerprint.difference(partial, found)
                if difference and mend:
                    os.rename(found, f"{found}.old{PARTIAL}")
                    _put(claim.fd, partial, found)
                    tree.rmtree(f"{found}.old{PARTIAL}")
                return difference
            finally:
                tree.rmtree(partial)

    def prune(self, keep: Iterable[Sequence[str]]) -> list[str]:
        """Remove the layers that no image in ``keep`` (their diff_ids) has; returns their names.

        What a crash left goes too. A layer that is being unpacked is waited for, and goes.
        """
        removed = self.unneeded(keep)
        for name in removed:
            path = f"{self.root}/{name}"
            with lock.exclusive(path, wait=WAIT):
                tree.rmtree(path)
        return removed

    def unneeded(self, keep: Iterable[Sequence[str]]) -> list[str]:
        """The names of what ``prune`` would remove."""
        kept = {self.find(diff_ids[:n]) for diff_ids in keep for n in range(1, len(diff_ids) + 1)}
        names = os.listdir(self.root) if os.path.isdir(self.root) else []
        return [name for name in names if f"{self.root}/{name}" not in kept]


def _put(fd: int, partial: str, path: str) -> None:
    """Give a layer its name, once it is on the disk: or a power cut could leave one with its name,
    but without its content."""
    linux.syncfs(fd)
    os.rename(partial, path)


def chain_id(diff_ids: Sequence[str]) -> str:
    """The digest that names a stack of layers, and not only the uppermost one."""
    chain = diff_ids[0]
    if len(diff_ids) > 1:
        from hashlib import sha256

        for diff_id in diff_ids[1:]:
            chain = f"sha256:{sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"
    return chain


def _name(diff_ids: Sequence[str], unpacked: Unpacked, *, whole: bool) -> str:
    """Where ``find`` looks for the layer: a name that says all on which its content depends."""
    if whole:
        return _hex(chain_id(diff_ids)) + WHOLE
    if unpacked.leans:
        return _hex(chain_id(diff_ids))
    if unpacked.whiteouts:
        return _hex(diff_ids[-1]) + (ABOVE if diff_ids[:-1] else BASE)
    return _hex(diff_ids[-1])


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
        except FileNotFoundError:
            continue
        if _is_at(path, claim.fd):
            return claim
        os.close(claim.fd)


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
