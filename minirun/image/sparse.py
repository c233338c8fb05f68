"""Sparse files in a tar: only the pieces that are not holes, and a map that says where they go.

GNU tar has had four formats. All come down to the size of the file and a list of pieces:

    old GNU    the map is in the header (type S) and in blocks that follow it
    0.0, 0.1   it is in an extended header (pax.py makes the former look like the latter)
    1.0        it is the beginning of the data: decimal numbers, one a line

See "Storing Sparse Files" in the manual of GNU tar.
"""

from __future__ import annotations

from minirun.errors import LayerError
from minirun.image import pax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Pieces = list[tuple[int, int]]  # (offset in the file, bytes) of each, in order
    Read = Callable[[int], bytes]  # the next bytes of the tar, exactly so many
    Number = Callable[[bytes], int]  # a number of a header

BLOCK = 512
MAX_PIECES = 1 << 16  # GNU tar makes one for each run of data; a file system has fewer
_NUMBER = 12  # bytes of one in a header, so a piece is twice that


def of_old_gnu(header: bytes, read: Read, number: Number) -> tuple[int, Pieces]:
    """The file's size and pieces, by the header and the blocks that continue it, which are read."""
    size = number(header[483:495])
    pieces = _fields(header[386:482], number)
    more = header[482]
    while more:
        block = read(BLOCK)
        pieces += _fields(block[:504], number)
        more = block[504]
        if len(pieces) > MAX_PIECES:
            raise LayerError(f"a sparse file of more than {MAX_PIECES} pieces")
    return size, pieces


def _fields(fields: bytes, number: Number) -> Pieces:
    starts = range(0, len(fields), 2 * _NUMBER)
    pairs = [(fields[at : at + _NUMBER], fields[at + _NUMBER : at + 2 * _NUMBER]) for at in starts]
    return [(number(offset), number(size)) for offset, size in pairs if offset.strip(b"\0")]


def of_records(records: dict[bytes, bytes], stored: int, read: Read) -> tuple[int, Pieces]:
    """The file's size and pieces, by an extended header. Format 1.0 reads its map from the data."""
    size = records.get(b"GNU.sparse.realsize", records.get(b"GNU.sparse.size", b""))
    if b"GNU.sparse.major" not in records:
        return pax.decimal(size), _pairs(records[pax.SPARSE_MAP].split(b","))
    version = records[b"GNU.sparse.major"], records.get(b"GNU.sparse.minor")
    if version != (b"1", b"0"):
        raise LayerError("a sparse file in a format later than 1.0")
    return pax.decimal(size), _map_in_data(stored, read)


def _map_in_data(stored: int, read: Read) -> Pieces:
    """The number of pieces, then an offset and a size for each; filled up to a whole block."""
    text, wanted = b"", 1
    while text.count(b"\n") < wanted:
        if len(text) + BLOCK > stored or wanted > 2 * MAX_PIECES:
            raise LayerError("the map of a sparse file has no end")
        text += read(BLOCK)
        if wanted == 1 and b"\n" in text:
            wanted += 2 * pax.decimal(text.partition(b"\n")[0])
    return _pairs(text.split(b"\n")[1:wanted])


def _pairs(numbers: list[bytes]) -> Pieces:
    values = [pax.decimal(number) for number in numbers]
    if len(values) % 2:
        raise LayerError("a piece of a sparse file without its size")
    return list(zip(values[::2], values[1::2], strict=True))


def check(pieces: Pieces, size: int, stored: int) -> None:
    """Pieces lie in the file one after the other, and are all that the tar holds of it."""
    end = 0
    for offset, length in pieces:
        if not (end <= offset and length >= 0 and offset + length <= size):
            raise LayerError(f"a sparse file with a piece of {length} bytes at {offset}")
        end = offset + length
    if sum(length for _, length in pieces) != stored:
        raise LayerError("a sparse file whose pieces are not what the tar holds of it")
