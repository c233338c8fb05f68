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

from minirun.errors import LayerError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 512
ZEROS = bytes(BLOCK)
MAX_HEADER = 1 << 20  # bytes of an extended header
MAX_NAME = 4095  # PATH_MAX of limits.h, less the zero byte at the end

# types of entries, as in tar(5)
FILE, HARD_LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = "0123456"
_FILES = b"0\x007"  # a file; one of a tar from 1979; one that wants to lie in one piece
_KINDS = {**{bytes([c]): FILE for c in _FILES}, **{k.encode(): k for k in "123456"}}
_GNU_LONG_NAME, _GNU_LONG_LINK, _GNU_SPARSE, _GNU_DIRECTORY, _GNU_LABEL = (
    b"L",
    b"K",
    b"S",
    b"D",
    b"V",
)
_PAX, _PAX_GLOBAL, _PAX_SOLARIS = b"x", b"g", b"X"

#                        name  mode uid gid size mtime sum type link magic names  dev  prefix
_HEADER = struct.Struct("100s  8s   8s  8s  12s  12s   8s  c   100s  8s    64x  8s 8s  155s 12x")
_NOT_OCTAL = bytes(set(range(256)) - set(b"01234567"))


class Member:
    """One entry of a tar. Numbers are checked, names are not: they are whatever the tar says."""

    __slots__ = (
        "gid", "kind", "linkname", "major", "minor", "mode", "mtime", "name", "size", "sparse",
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
    sparse: list[tuple[int, int]] | None  # (offset, length) of each piece that the tar holds


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
        self._global: dict[bytes, bytes] = {}

    def data(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` stored bytes of the current member."""
        self._left -= size
        return self._blocks.pieces(size)

    def __iter__(self) -> Iterator[Member]:
        extended: dict[bytes, bytes] = {}
        while (header := self._next_header()) is not None:
            kind = header[7]
            if kind in (_PAX, _PAX_SOLARIS):
                extended.update(self._records(header))
            elif kind == _PAX_GLOBAL:
                self._global |= _global_records(self._records(header))
            elif kind == _GNU_LONG_NAME:
                extended[b"path"] = self._extension(header).split(b"\0")[0]
            elif kind == _GNU_LONG_LINK:
                extended[b"linkpath"] = self._extension(header).split(b"\0")[0]
            elif kind == _GNU_LABEL:
                self._begin_data(_number(header[4]))
            else:
                yield self._member(header, self._global | extended if extended else self._global)
                extended = {}
        if extended:
            raise LayerError("the tar ends after an extended header that belongs to no entry")
        if not self._blocks.rest_is_zeros():
            raise LayerError("something follows the end of the tar")

    # --- headers --------------------------------------------------------------------------------

    def _next_header(self) -> tuple[bytes, ...] | None:
        """The fields of the next header; None at the two blocks of zeros that end a tar."""
        blocks = self._blocks
        if self._left or self._padding:
            blocks.skip(self._left + self._padding)
            self._left = self._padding = 0
        block = blocks.read(BLOCK)
        if block == ZEROS:
            if blocks.read(BLOCK) != ZEROS:
                raise LayerError(f"a lone block of zeros at byte {blocks.position - 2 * BLOCK}")
            return None
        _check_sum(block, blocks.position)
        return _HEADER.unpack(block)

    def _begin_data(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _extension(self, header: tuple[bytes, ...]) -> bytes:
        size = _number(header[4])
        if not 0 <= size <= MAX_HEADER:
            raise LayerError(f"an extended header of {size} bytes (at most {MAX_HEADER})")
        self._begin_data(size)
        return b"".join(self.data(size))

    def _records(self, header: tuple[bytes, ...]) -> dict[bytes, bytes]:
        return parse_records(self._extension(header))

    def _member(self, header: tuple[bytes, ...], extended: dict[bytes, bytes]) -> Member:
        name, mode, uid, gid, size, mtime, _, kind, linkname, magic, major, minor, prefix = header
        member = Member()
        member.name = name.partition(b"\0")[0]
        if prefix[0] and magic == b"ustar\x0000":
            member.name = prefix.partition(b"\0")[0] + b"/" + member.name
        member.linkname = linkname.partition(b"\0")[0]
        member.mode = _number(mode) & 0o7777
        member.uid = _number(uid)
        member.gid = _number(gid)
        member.stored = _number(size)
        member.mtime = _number(mtime) * 1_000_000_000
        member.xattrs = {}
        member.sparse = None
        if extended:
            _apply(member, extended)
        _check_names(member)
        self._set_kind(member, kind, major, minor)
        if member.kind != FILE:
            member.stored = 0  # a link of some old tars gives the size of what it links to
        member.size = member.stored
        _check_numbers(member)
        self._begin_data(member.stored)
        if kind == _GNU_SPARSE or b"GNU.sparse.major" in extended or b"GNU.sparse.map" in extended:
            raise LayerError("sparse files are not known yet")
        return member

    def _set_kind(self, member: Member, flag: bytes, major: bytes, minor: bytes) -> None:
        kind = FILE if flag == _GNU_SPARSE else _KINDS.get(flag)
        if kind is None:
            raise LayerError(f"{shown(member.name)}: an entry of unknown type {flag!r}")
        if kind == FILE and member.name.endswith(b"/"):
            kind = DIRECTORY  # tars older than the type field say it like this
        member.kind = kind
        member.major = member.minor = 0
        if kind in (CHARACTER, BLOCK_DEVICE):
            member.major, member.minor = _number(major), _number(minor)


def shown(name: bytes) -> str:
    """A name of an entry, for people."""
    text = printable(name.decode(errors="surrogateescape"))
    return text if len(text) <= 200 else text[:100] + "…" + text[-99:]


def _check_sum(block: bytes, end: int) -> None:
    field = block[148:156]
    found = sum(block) - sum(field) + 8 * ord(" ")
    stated = _number(field)
    # some old tars added up signed bytes
    if stated not in (found, found - 256 * sum(byte > 127 for byte in block)):
        raise LayerError(f"not a tar header at byte {end - BLOCK}: its check sum is wrong")


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


# --- extended headers ---------------------------------------------------------------------------


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """``b"18 path=some/name\\n"`` → ``{b"path": b"some/name"}``; a later record wins."""
    records = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        digits = data[at:space]
        if space < 0 or not digits.isdigit():
            raise LayerError("a record of an extended header has no length")
        end = at + int(digits)
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or data[end - 1 : end] != b"\n" or not equals or end <= space:
            raise LayerError("a record of an extended header is cut")
        records[keyword] = value
        at = end
    return records


def _global_records(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """What one header may say of all entries: an owner, a time. A name or a size makes no sense."""
    for keyword in records:
        if keyword in (b"path", b"linkpath", b"size") or keyword.startswith(_PREFIXES):
            raise LayerError(f"a global header sets {shown(keyword)} for every entry")
    return {k: v for k, v in records.items() if k in (b"uid", b"gid", b"mtime")}


_XATTR = b"SCHILY.xattr."
_PREFIXES = (_XATTR, b"GNU.sparse.")


def _apply(member: Member, extended: dict[bytes, bytes]) -> None:
    for keyword, value in extended.items():
        if keyword == b"path":
            member.name = value
        elif keyword == b"linkpath":
            member.linkname = value
        elif keyword == b"size":
            member.stored = _decimal(keyword, value)
        elif keyword == b"uid":
            member.uid = _decimal(keyword, value)
        elif keyword == b"gid":
            member.gid = _decimal(keyword, value)
        elif keyword == b"mtime":
            member.mtime = _nanoseconds(value)
        elif keyword.startswith(_XATTR):
            member.xattrs[keyword[len(_XATTR) :]] = value


def _decimal(keyword: bytes, value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise LayerError(f"not a number in an extended header: {shown(keyword)}={shown(value)}")
    return int(value)


def _nanoseconds(value: bytes) -> int:
    """``b"-1.25"`` → -1_250_000_000"""
    seconds, _, fraction = value.removeprefix(b"-").partition(b".")
    if fraction and not fraction.isdigit():
        raise LayerError(f"not a time in an extended header: {shown(value)}")
    time = _decimal(b"mtime", seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -time if value.startswith(b"-") else time


# --- what every entry must keep -----------------------------------------------------------------


def _check_names(member: Member) -> None:
    for name in (member.name, member.linkname):
        if len(name) > MAX_NAME:
            raise LayerError(f"{shown(name)}: a name of {len(name)} bytes (at most {MAX_NAME})")
        if b"\0" in name:
            raise LayerError(f"{shown(name)}: a name with a zero byte in it")


def _check_numbers(member: Member) -> None:
    """chown(2) takes 2^32 - 1 as "leave it"; mknod(2) takes 12 and 20 bits; a size is an off_t."""
    for what, value, most in (
        ("user", member.uid, 2**32 - 2),
        ("group", member.gid, 2**32 - 2),
        ("size", member.size, 2**63 - 1),
        ("major number", member.major, 2**12 - 1),
        ("minor number", member.minor, 2**20 - 1),
    ):
        if not 0 <= value <= most:
            raise LayerError(f"{shown(member.name)}: {what} {value} is out of range")
