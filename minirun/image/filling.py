"""The directory that a layer's entries are being put into: opened once for all that are in a row.

Who fills a directory changes its times, and who makes a file in it gives that file what the
directory's default ACL says (acl(5)). Neither is what the layer wants, so ``leave`` puts back what
``enter`` found.
"""

from __future__ import annotations

import os
import stat

from minirun.errors import LayerError
from minirun.image import inroot, tree, whiteout
from minirun.image.attributes import DEFAULT_ACL, take_default_acl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FILES = 1_000_000


class NeedsBelow(Exception):
    """The layer leans on those below it, so it cannot be unpacked on its own."""


class Filling:
    """``enter(path)`` makes a directory of the root the current one, open as ``fd``."""

    def __init__(self, root: int, below: Sequence[int] | None) -> None:
        self.fd = -1
        self.files = 0
        """Files in the layer, directories included that have no entry of their own."""
        self.leans = False
        """Something was taken from the layers below."""
        self._root = root
        self._below = below
        self._path: bytes | None = None
        self._times = (0, 0)
        self._default_acl: bytes | None = None

    def enter(self, path: bytes) -> None:
        if path == self._path:
            return
        self.leave()
        try:
            self.fd = inroot.open_directory(self._root, path)
        except (FileNotFoundError, NotADirectoryError):
            self.fd = inroot.make_directories(self._root, path, self._make_parent)
        self._path = path
        self.keep(os.fstat(self.fd).st_mtime_ns)

    def keep(self, mtime: int) -> None:
        """The current directory is to have this time, and the default ACL that it has now."""
        self._times = (mtime, mtime)
        self._default_acl = take_default_acl(self.fd)

    def leave(self) -> None:
        if self._path is not None:
            if self._default_acl is not None:
                os.setxattr(self.fd, DEFAULT_ACL, self._default_acl)
            os.utime(self.fd, ns=self._times)
            self.close()

    def close(self) -> None:
        if self._path is not None:
            self._path = None
            os.close(self.fd)

    def count(self) -> None:
        """One more file. LayerError if that is one too many."""
        self.files += 1
        if self.files > MAX_FILES:
            raise LayerError(f"more than {MAX_FILES} files in one layer")

    def find_below(self, path: bytes) -> int | None:
        """What the layers below have at ``path`` (O_PATH), or None. NeedsBelow if we don't know."""
        if self._below is None:
            raise NeedsBelow
        found = whiteout.find(self._below, path)
        self.leans |= found is not None
        return found

    def _make_parent(self, fd: int, path: list[bytes]) -> None:
        """A directory that has no entry (yet) looks as in the layers below, or is root's."""
        name = path[-1]
        if whiteout.is_reserved(name):
            raise LayerError("a name that is reserved for whiteouts")
        self.count()
        before = os.fstat(fd)
        tree.remove(name, fd)
        os.mkdir(name, 0o700, dir_fd=fd)
        os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        new = tree.open_directory(name, fd)
        try:
            os.chmod(new, 0o755)
            self._look_as_below(new, b"/".join(path))
        finally:
            os.close(new)

    def _look_as_below(self, new: int, path: bytes) -> None:
        found = self.find_below(path)
        if found is None:
            return
        try:
            if stat.S_ISDIR(os.fstat(found).st_mode):
                with tree.Walk(found) as old:
                    tree.copy_attributes(old.fd, new)
        finally:
            os.close(found)
