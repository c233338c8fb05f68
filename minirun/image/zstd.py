"""zstd data, block by block.

    frame:   magic, descriptor, window…     block block … block     check sum
    block:   3 bytes that say its kind, its size, and if it is the last      size bytes

Four bytes of it can stand for 128 KiB, and the Python library inflates all that it is given into
one piece of memory. So what it is given is one block at a time; this is also how we know when a
frame is whole, which the library doesn't tell.

Format: RFC 8878, section 3.1.
"""

from __future__ import annotations

from minirun.errors import LayerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Take = Callable[[int], bytes]  # the next bytes, exactly so many

WINDOW = 1 << 27  # bytes of history that a frame may ask memory for: the limit of zstd(1)
MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = tuple(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60))
RLE, RESERVED = 1, 3  # kinds of blocks; the others, raw and compressed, have all of their size
MAX_BLOCK = 1 << 17
CHECK_SUM = 0b100  # a flag of the descriptor: the frame ends with one


def frame(take: Take) -> Iterator[bytes]:
    """The content of the frame whose magic number was just read, at most 128 KiB at once."""
    decoder = _library().ZstdDecompressor(max_window_size=WINDOW).decompressobj()
    descriptor = take(1)
    flags = descriptor[0]
    decoder.decompress(MAGIC + descriptor + take(_header_size(flags)))
    last = 0
    while not last:
        header = take(3)
        bits = int.from_bytes(header, "little")
        last, kind, size = bits & 1, bits >> 1 & 3, bits >> 3
        if kind == RESERVED or size > MAX_BLOCK:
            raise LayerError("the zstd data is damaged: a block of a kind that there is not")
        block = header + take(1 if kind == RLE else size)
        if last and flags & CHECK_SUM:
            block += take(4)
        yield decoder.decompress(block)


def skip(take: Take) -> Iterator[bytes]:
    """Read over a frame that is no content: zstd:chunked keeps its table of contents in one."""
    size = int.from_bytes(take(4), "little")
    while size:
        size -= len(take(min(size, MAX_BLOCK)))
    return iter(())


def _header_size(flags: int) -> int:
    """Bytes behind the descriptor: the window, a dictionary's number, the size of the content."""
    single = flags >> 5 & 1
    content = (single, 2, 4, 8)[flags >> 6]
    return (1 - single) + (0, 1, 2, 4)[flags & 3] + content


def _library() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise LayerError(
            "a layer is compressed by zstd, and the Python package zstandard is missing",
            hint="pip install zstandard",
        ) from error
    return zstandard
