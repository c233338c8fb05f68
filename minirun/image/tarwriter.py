"""Writing a tar, in the one format that everybody reads: ustar, with pax headers where it is small.

    tar = Writer(file.write)
    tar.add(member, chunks)     the member's data, all of its ``stored`` bytes
    tar.close()                 two blocks of zeros: without them the tar is cut

Equal members give equal bytes, so the digest of a layer depends on nothing else. A header has room
for names of 100 bytes, whole seconds and owners up to 2,097,151; only what is more goes into
records before it (pax.py reads them). A sparse file is written in the format that GNU tar calls
1.0: the map of its pieces, and the pieces, one after the other.

Formats: tar(5), pax(1) "ustar Interchange Format", GNU tar's manual "Storing Sparse Files".
"""

from __future__ import annotations

import struct

from minirun.image import pax
from minirun.image.tarstream import BLOCK, FILE, Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Records = list[tuple[bytes, bytes]]

#                        name mode uid gid size mtime check type link magic names dev dev prefix
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 64x 8s 8s 155x 12x")
_MAGIC = b"ustar\x0000"
_BLANK = b" " * 8  # what counts for the check sum in place of itself
_PAX = "x"
_NAME = 100  # bytes
_LARGEST_ID = 8**7 - 1
_LARGEST_SIZE = 8**11 - 1


class Writer:
    """``write`` is called with bytes, one piece after the other."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def add(self, member: Member, data: Iterable[bytes] = ()) -> None:
        name, size, sparse_map = member.name, member.stored, b""
        records = _records(member)
        if member.pieces is not None:
            sparse_map = _map(member.pieces)
            size += len(sparse_map)
            records = [*_sparse_records(member), *records]
            name = b"GNUSparseFile.0/" + name.rpartition(b"/")[2]
        if size > _LARGEST_SIZE:
            records.append((b"size", b"%d" % size))
        if records:
            self._add_records(records)
        self._write(_header(member, name, size))
        self._write(sparse_map)
        for chunk in data:
            self._write(chunk)
        self._write(bytes(-size % BLOCK))

    def close(self) -> None:
        self._write(bytes(2 * BLOCK))

    def _add_records(self, records: Records) -> None:
        """An entry of its own, before the one that it is about."""
        body = b"".join(_record(keyword, value) for keyword, value in records)
        about = Member.new(b"PaxHeader", _PAX, mode=0o644)
        self._write(_header(about, about.name, len(body)))
        self._write(body + bytes(-len(body) % BLOCK))


def _records(member: Member) -> Records:
    """What the header has no room for."""
    records = []
    seconds, fraction = divmod(member.mtime, pax.SECOND)
    if fraction or not 0 <= seconds <= _LARGEST_SIZE:
        records.append((b"mtime", _time(member.mtime)))
    for keyword, number in ((b"uid", member.uid), (b"gid", member.gid)):
        if number > _LARGEST_ID:
            records.append((keyword, b"%d" % number))
    if len(member.name) > _NAME and member.pieces is None:
        records.append((b"path", member.name))
    if len(member.linkname) > _NAME:
        records.append((b"linkpath", member.linkname))
    records += [(pax.XATTR + name, value) for name, value in sorted(member.xattrs.items())]
    return records


def _sparse_records(member: Member) -> Records:
    return [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", member.name),
        (b"GNU.sparse.realsize", b"%d" % member.size),
    ]


def _map(pieces: list[tuple[int, int]]) -> bytes:
    numbers = [len(pieces), *(number for piece in pieces for number in piece)]
    text = b"".join(b"%d\n" % number for number in numbers)
    return text + bytes(-len(text) % BLOCK)


def _record(keyword: bytes, value: bytes) -> bytes:
    """
    >>> _record(b"path", b"some/name")
    b'18 path=some/name\\n'
    """
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:  # the length counts its own digits
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _time(nanoseconds: int) -> bytes:
    """
    >>> _time(1_500_000_000), _time(-1_250_000_000)
    (b'1.5', b'-1.25')
    """
    seconds, fraction = divmod(abs(nanoseconds), pax.SECOND)
    text = f"{'-' * (nanoseconds < 0)}{seconds}.{fraction:09}"
    return text.rstrip("0").rstrip(".").encode()


def _header(member: Member, name: bytes, size: int) -> bytes:
    def pack(check_sum: bytes) -> bytes:
        return _HEADER.pack(
            name[:_NAME], _octal(member.mode, 8), _octal(member.uid, 8), _octal(member.gid, 8),
            _octal(size, 12), _octal(member.mtime // pax.SECOND, 12), check_sum,
            member.kind.encode(), member.linkname[:_NAME], _MAGIC,
            _octal(member.major, 8), _octal(member.minor, 8),
        )  # fmt: skip

    return pack(b"%06o\0 " % sum(pack(_BLANK)))


def _octal(number: int, width: int) -> bytes:
    """Digits that fill a field but for its last byte; 0 if a record before says the number."""
    fits = 0 <= number < 8 ** (width - 1)
    return b"%0*o\0" % (width - 1, number if fits else 0)


def empty_file(name: bytes) -> Member:
    """A file that is there for its name only, such as a whiteout."""
    return Member.new(name, FILE, mode=0o600)
