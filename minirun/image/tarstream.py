"""Reading a tar: a run of 512-byte blocks in, one Member after the other out.

    header  data…  header  data…  zeros zeros        each part filled up to whole blocks

A header has room for names of 100 bytes and sizes of 8 GiB. All that is longer came later, in two
ways that both put an entry of their own before the one they are about: GNU's (types L and K hold a
long name) and POSIX's (type x holds ``length keyword=value`` records; g holds them for all that
follows). This reader knows old, ustar, GNU and pax tars, sparse files included (sparse.py).

A tar from a registry is hostile input: every number is checked before it is used, a header is at
most 1 MiB, a name fits what the kernel takes, and an archive that stops before its end is an error.
Nothing here touches a file system.

Formats: tar(5), pax(1) "pax Interchange Format", GNU tar's manual "Basic Tar Format".
"""

from __future__ import annotations

import struct
from functools import lru_cache

from minirun.errors import LayerError
from minirun.image import pax, sparse
from minirun.image.pax import SECOND, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 512
ZEROS = bytes(BLOCK)
MAX_HEADER = 1 << 20  # bytes of an extended header
MAX_NAME = 4095  # PATH_MAX of limits.h, less the zero byte at the end

MAX_ID = 2**32 - 2  # chown(2) takes the one above for "leave it as it is"
MAX_SIZE = 2**63 - 1
MAX_MAJOR, MAX_MINOR = 2**12 - 1, 2**20 - 1  # makedev(3), as far as mknod(2) looks
MAX_TIME = 2**40 * SECOND  # file systems know less, and the kernel bends a time to what they know

FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = "0123456"
_PAX, _PAX_SOLARIS, _PAX_GLOBAL = b"x", b"X", b"g"
_GNU_LONG_NAME, _GNU_LONG_LINK, _GNU_LABEL, _GNU_SPARSE = b"L", b"K", b"V", b"S"
_KINDS = {
    b"0": FILE,
    b"\0": FILE,  # in a tar from before 1988
    b"7": FILE,  # that would like to lie in one piece
    _GNU_SPARSE: FILE,
    **{
        kind.encode(): kind
        for kind in (HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)
    },
}
_USTAR = b"ustar\0"
TYPE = 156
#                        name mode uid gid size mtime sum type link magic names dev dev prefix
_HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8x c 100s 8s 64x 8s 8s 155s 12x")


class Member:
    """One entry of a tar. Numbers are checked, names are not: they are whatever the tar says."""

    __slots__ = (
        "gid", "kind", "linkname", "major", "minor", "mode", "mtime", "name", "pieces", "size",
        "stored", "uid", "xattrs",
    )  # fmt: skip

    name: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int  # of the file
    stored: int  # bytes of it that the tar holds
    mtime: int  # nanoseconds since 1970
    linkname: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes]
    pieces: list[tuple[int, int]] | None  # where the stored bytes of a sparse file go (sparse.py)

    @classmethod
    def new(cls, name: bytes, kind: str, *, mode: int = 0) -> Member:
        """An entry with nothing in it, root's and of 1970."""
        member = cls()
        member.name, member.kind, member.mode = name, kind, mode
        member.uid = member.gid = member.size = member.stored = member.mtime = 0
        member.linkname = b""
        member.major = member.minor = 0
        member.xattrs = {}
        member.pieces = None
        return member


class Blocks:
    """Chunks of any size, read as the pieces that a tar is made of."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0
        self.position = 0
        """Offset in the tar of what ``read`` gives next."""

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, all of them."""
        end = self._at + size
        if end <= len(self._chunk):
            data = self._chunk[self._at : end]
            self._at = end
            self.position += size
            return data
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes, as they lie in memory."""
        while size:
            if self._at == len(self._chunk):
                self._next_chunk()
            piece = memoryview(self._chunk)[self._at : self._at + size]
            self._at += len(piece)
            self.position += len(piece)
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        for _ in self.pieces(size):
            pass

    def rest_is_zeros(self) -> bool:
        """Read what is left, to the last byte: the digest of a layer is over all of it."""
        rest = self._chunk[self._at :]
        zeros = not rest.strip(b"\0")
        for chunk in self._chunks:
            zeros = zeros and not chunk.strip(b"\0")
        return zeros

    def _next_chunk(self) -> None:
        chunk = next(self._chunks, b"")
        if not chunk:
            raise LayerError(f"the tar ends too early: after {self.position} bytes")
        self._chunk, self._at = chunk, 0


class Tar:
    """The members of a tar, in order. The data of one is read, if at all, before the next."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._blocks = Blocks(chunks)
        self._left = 0  # bytes of the current member's data, and of what fills up its last block
        self._padding = 0
        self._extended = 0  # bytes of extended headers since the last member
        self._global: dict[bytes, bytes] = {}

    def data(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` stored bytes of the current member; what nobody takes is skipped."""
        for piece in self._blocks.pieces(size):
            self._left -= len(piece)
            yield piece

    def __iter__(self) -> Iterator[Member]:
        extended: dict[bytes, bytes] = {}
        while (header := self._next_header()) is not None:
            kind = header[TYPE : TYPE + 1]
            if kind in (_PAX, _PAX_SOLARIS):
                extended |= pax.parse(self._extension(header))
            elif kind == _PAX_GLOBAL:
                self._global |= pax.of_all_entries(pax.parse(self._extension(header)))
            elif kind == _GNU_LONG_NAME:
                extended[b"path"] = _to_zero(self._extension(header))
            elif kind == _GNU_LONG_LINK:
                extended[b"linkpath"] = _to_zero(self._extension(header))
            elif kind == _GNU_LABEL:
                self._begin_data(_size(header))
            else:
                yield self._member(header, self._global | extended)
                extended = {}
        if extended:
            raise LayerError("the tar ends behind an extended header, before the entry it is about")
        if not self._blocks.rest_is_zeros():
            raise LayerError("something follows the end of the tar")

    # --- headers --------------------------------------------------------------------------------

    def _next_header(self) -> bytes | None:
        """The next block, after the data of the current member; None at the end of the tar."""
        blocks = self._blocks
        if self._left or self._padding:
            blocks.skip(self._left + self._padding)
            self._left = self._padding = 0
        header = blocks.read(BLOCK)
        if header == ZEROS:
            if blocks.read(BLOCK) != ZEROS:
                raise LayerError(f"a lone block of zeros at byte {blocks.position - 2 * BLOCK}")
            return None
        _check_sum(header, blocks.position - BLOCK)
        return header

    def _begin_data(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _extension(self, header: bytes) -> bytes:
        size = _size(header)
        self._extended += size
        if self._extended > MAX_HEADER:
            raise LayerError(f"an extended header of {size} bytes (at most {MAX_HEADER})")
        self._begin_data(size)
        return b"".join(self.data(size))

    def _member(self, header: bytes, extended: dict[bytes, bytes]) -> Member:
        name, mode, uid, gid, size, mtime, flag, linkname, magic, major, minor, prefix = (
            _HEADER.unpack(header)
        )
        self._extended = 0
        member = Member()
        member.name = _to_zero(name)
        if magic.startswith(_USTAR) and prefix[0]:
            member.name = _to_zero(prefix) + b"/" + member.name
        member.linkname = _to_zero(linkname)
        member.mode = _number(mode) & 0o7777
        member.uid = _number(uid)
        member.gid = _number(gid)
        member.stored = _number(size)
        member.mtime = _number(mtime) * SECOND
        member.major = member.minor = 0
        member.xattrs = {}
        member.pieces = None
        if extended:
            pax.apply(extended, member)
        member.kind = _kind(flag, member.name)
        if member.kind in (CHARACTER, BLOCK_DEVICE):
            member.major, member.minor = _number(major), _number(minor)
        if _KINDS[flag] != FILE:
            member.stored = 0  # some tars give a link the size of what it links to, but no data
        member.size = member.stored
        _check(member)
        self._begin_data(member.stored)
        if flag == _GNU_SPARSE or b"GNU.sparse.major" in extended or pax.SPARSE_MAP in extended:
            self._map_sparse(member, header if flag == _GNU_SPARSE else None, extended)
        return member

    def _map_sparse(
        self, member: Member, header: bytes | None, extended: dict[bytes, bytes]
    ) -> None:
        """Find out where the pieces of a sparse file go; the map may be further on in the tar."""
        if header:
            member.size, member.pieces = sparse.of_old_gnu(header, self._blocks.read, _number)
        else:
            before = self._left
            member.name = extended.get(b"GNU.sparse.name", member.name)
            member.size, member.pieces = sparse.of_records(extended, member.stored, self._read_data)
            member.stored -= before - self._left
        _check(member)
        sparse.check(member.pieces, member.size, member.stored)

    def _read_data(self, size: int) -> bytes:
        return b"".join(self.data(size))


def _kind(flag: bytes, name: bytes) -> str:
    kind = _KINDS.get(flag)
    if kind is None:
        raise LayerError(f"{shown(name)}: an entry of unknown type {flag!r}")
    if kind == FILE and name.endswith(b"/"):
        return DIRECTORY  # so says a tar older than the type of that name
    return kind


def _check_sum(header: bytes, position: int) -> None:
    field = header[148:156]
    excess = sum(header) - sum(field) + len(field) * ord(" ") - _number(field)
    # some old tars added up signed bytes, so that each above 127 counted 256 less
    if excess and excess != 256 * sum(byte > 127 for byte in header[:148] + header[156:]):
        raise LayerError(f"not a header of a tar at byte {position}: its check sum is wrong")


def _to_zero(text: bytes) -> bytes:
    return text.partition(b"\0")[0]


def _size(header: bytes) -> int:
    size = _number(header[124:136])
    if size < 0:
        raise LayerError(f"an entry of {size} bytes")
    return size


@lru_cache(1024)  # modes and owners are mostly the same
def _number(field: bytes) -> int:
    """A number of a header: octal digits, or, with the first bit set, base 256 as GNU has it."""
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if value >> (bits - 1) else value
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.translate(None, b"01234567"):
        raise LayerError(f"not a number in a tar header: {field!r}")
    return int(digits, 8) if digits else 0


def _check(member: Member) -> None:
    """What the kernel would take for something else, or we: names and numbers out of range."""
    for name in (member.name, member.linkname):
        if len(name) > MAX_NAME:
            raise LayerError(f"{shown(name)}: a name of {len(name)} bytes (at most {MAX_NAME})")
        if b"\0" in name:
            raise LayerError(f"{shown(name)}: a name with a zero byte in it")
    for what, value, most in (
        ("user", member.uid, MAX_ID),
        ("group", member.gid, MAX_ID),
        ("size", member.stored, MAX_SIZE),
        ("size", member.size, MAX_SIZE),
        ("major number", member.major, MAX_MAJOR),
        ("minor number", member.minor, MAX_MINOR),
    ):
        if not 0 <= value <= most:
            raise LayerError(f"{shown(member.name)}: {what} {value} is out of range")
    member.mtime = max(-MAX_TIME, min(member.mtime, MAX_TIME))
