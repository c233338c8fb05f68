"""What a tree looks like, in all that a layer can say of it: to find the file that is damaged.

A directory is walked as if it were packed into a tar (packing.py), but of each entry only a digest
is kept, over its attributes and its content.
"""

from __future__ import annotations

import os
from hashlib import sha256

from minirun.image import packing, roots, tree
from minirun.image.pax import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.image.tarstream import Member

_FIELDS = ("kind", "mode", "uid", "gid", "size", "mtime", "linkname", "major", "minor")


class Fingerprint:
    """Takes what a tar would, and remembers the digest of each entry."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}

    def add(self, member: Member, data: Iterable[bytes] = ()) -> None:
        fields = [getattr(member, field) for field in _FIELDS]
        hashed = sha256(repr((fields, sorted(member.xattrs.items()))).encode())
        for chunk in data:
            hashed.update(chunk)
        self.entries[member.name] = hashed.digest()

    def close(self) -> None:
        pass


def of(directory: str) -> dict[bytes, bytes]:
    """A digest for each name in a directory that overlayfs would mount, and for itself."""
    taken = Fingerprint()
    fd = tree.open_directory(directory)
    try:
        named = roots.root_of([directory]) is not None
        packing.pack_into(taken, fd, layer=True, with_root=named)
    finally:
        os.close(fd)
    return taken.entries


def difference(right: str, other: str) -> str | None:
    """The first thing in which the directory ``other`` is not as ``right``; None if it is."""
    wanted, found = of(right), of(other)
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            return f"{shown(name)} is missing"
        if name not in wanted:
            return f"{shown(name)} does not belong there"
        if wanted[name] != found[name]:
            return f"{shown(name)} is not as it was"
    return None
