"""Extended headers of a tar: ``length keyword=value`` records that say more than a header can.

    27 path=a/very/long/name\\n

The length counts all of the record, itself included. One header may hold records for the entry that
follows (type x), or for all that follow (type g). Values are bytes: names need not be UTF-8.

See pax(1), "pax Extended Header".
"""

from __future__ import annotations

from minirun.errors import LayerError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.tarstream import Member

    Records = dict[bytes, bytes]

XATTR = b"SCHILY.xattr."
SPARSE_MAP = b"GNU.sparse.map"
_SPARSE_PIECE = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_OF_ONE_ENTRY = (b"path", b"linkpath", b"size")
_OF_ALL = (b"uid", b"gid", b"mtime")
SECOND = 1_000_000_000  # nanoseconds


def shown(name: bytes) -> str:
    """A name from a tar, for people: no control characters, and not endless."""
    text = printable(name.decode(errors="surrogateescape"))
    return text if len(text) <= 200 else f"{text[:100]}…{text[-99:]}"


def parse(data: bytes) -> Records:
    """``b"18 path=some/name\\n"`` → ``{b"path": b"some/name"}``; the last of several records wins.

    The pieces of a sparse file, which the oldest format gives in a pair of records each, come as
    the one record that its successor has for them: ``GNU.sparse.map=offset,size,offset,size…``.
    """
    records: Records = {}
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        digits = data[at:space]
        if space < 0 or not digits.isdigit():
            raise LayerError("a record of an extended header has no length")
        end = at + int(digits)
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or data[end - 1 : end] != b"\n":
            raise LayerError("a record of an extended header is cut")
        if keyword in _SPARSE_PIECE:
            if keyword != _SPARSE_PIECE[len(pieces) % 2]:
                raise LayerError("a piece of a sparse file without its size or its place")
            pieces.append(value)
        else:
            records[keyword] = value
        at = end
    if pieces:
        records[SPARSE_MAP] = b",".join(pieces)
    return records


def of_all_entries(records: Records) -> Records:
    """What a global header may say: an owner, a time. One name for all entries makes no sense."""
    for keyword in records:
        if keyword in _OF_ONE_ENTRY or keyword.startswith((XATTR, b"GNU.sparse.")):
            raise LayerError(f"a global extended header sets {shown(keyword)} for all entries")
    return {keyword: value for keyword, value in records.items() if keyword in _OF_ALL}


def apply(records: Records, member: Member) -> None:
    """Let records replace what the header says. Keywords that we don't know are for others."""
    for keyword, value in records.items():
        if keyword == b"path":
            member.name = value
        elif keyword == b"linkpath":
            member.linkname = value
        elif keyword == b"size":
            member.stored = decimal(value)
        elif keyword == b"uid":
            member.uid = decimal(value)
        elif keyword == b"gid":
            member.gid = decimal(value)
        elif keyword == b"mtime":
            member.mtime = nanoseconds(value)
        elif keyword.startswith(XATTR):
            member.xattrs[keyword[len(XATTR) :]] = value


def decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise LayerError(f"not a number: {shown(value)!r} in an extended header")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """``b"-1.25"`` → ``-1_250_000_000``"""
    seconds, _, fraction = value.removeprefix(b"-").partition(b".")
    if fraction and not fraction.isdigit():
        raise LayerError(f"not a time: {shown(value)!r} in an extended header")
    time = decimal(seconds) * SECOND + int(fraction[:9].ljust(9, b"0"))
    return -time if value.startswith(b"-") else time
