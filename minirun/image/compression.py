"""A layer's bytes as its author packed them: what a blob holds, whichever way it was compressed.

What a blob is, its first bytes say; a media type is only somebody's word for it. A layer may be a
plain tar or one compressed by gzip, zstd, bzip2 or xz, in one member or in several, with zeros
behind, and nothing else behind.

    with Layer(file) as layer:
        for chunk in layer: ...             bytes of the tar, at most CHUNK at once
        layer.diff_id                       "sha256:…" of all of them, once they were read

Both inflating and hashing give up Python's lock, so a thread of its own does them, a few chunks
ahead of whoever writes the files.

Formats: RFC 1952 (gzip), RFC 8878 (zstd), bzip2(1), xz(1).
"""

from __future__ import annotations

import hashlib
import queue
import threading

from minirun.errors import LayerError
from minirun.image import zstd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, Protocol

    class Decoder(Protocol):
        """What bz2, lzma and igzip_lib have in common."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, /, max_length: int) -> bytes: ...

    Inflate = Callable[["_Source"], Iterator[bytes]]


READ = 1 << 17  # bytes of a blob at once
CHUNK = 1 << 19  # uncompressed bytes at once, about what a core's cache holds
AHEAD = 4  # chunks that may wait for the reader

MIN_BOMB = 1 << 30  # bytes; a smaller layer may be as dense as it likes
MAX_RATIO = 200  # a real layer of this size stays below 20; deflate could reach 1032


class Layer:
    """The uncompressed bytes of a blob, read ahead by a thread. Ends the thread when closed."""

    def __init__(self, blob: BinaryIO, *, hashed: bool = True) -> None:
        self._hash = hashlib.sha256() if hashed else None
        self._blob = blob
        self._closed = False
        self._chunks: queue.Queue[bytes | BaseException | None] = queue.Queue(AHEAD)
        self._thread = threading.Thread(target=self._read_ahead, daemon=True)
        self._thread.start()

    @property
    def diff_id(self) -> str:
        """The digest of what was read; "" if it was not wanted: it takes a fifth of the time."""
        return f"sha256:{self._hash.hexdigest()}" if self._hash else ""

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        while self._thread.is_alive():  # it may be waiting for room
            try:
                self._chunks.get(timeout=0.01)
            except queue.Empty:
                pass
        self._thread.join()

    def _read_ahead(self) -> None:
        try:
            for chunk in uncompressed(self._blob):
                if self._closed:
                    return
                if self._hash:
                    self._hash.update(chunk)
                self._chunks.put(chunk)
            self._chunks.put(None)
        except BaseException as error:
            self._chunks.put(error)


def uncompressed(blob: BinaryIO) -> Iterator[bytes]:
    """The chunks of a blob's content. LayerError if it is cut, damaged, or a bomb."""
    source = _Source(blob)
    produced = 0
    for chunk in _decoded(source):
        produced += len(chunk)
        if produced > MIN_BOMB and produced > MAX_RATIO * source.position:
            raise LayerError(
                f"refusing to unpack a bomb: {source.position} bytes became over {produced}",
                hint="if that is meant, unpack the layer with the tool that compressed it",
            )
        yield chunk


class _Source:
    """A file that is read in pieces as they come, some of which are then given back."""

    def __init__(self, blob: BinaryIO) -> None:
        self._blob = blob
        self._pushed = b""
        self.position = 0
        """Bytes that were read and not given back."""

    def read(self, size: int = READ) -> bytes:
        """Up to ``size`` bytes; none at the end."""
        data = self._pushed or self._blob.read(max(size, READ))
        data, self._pushed = data[:size], data[size:]
        self.position += len(data)
        return data

    def push(self, data: bytes) -> None:
        self._pushed = data + self._pushed
        self.position -= len(data)

    def up_to(self, size: int) -> bytes:
        """``size`` bytes, or fewer at the end."""
        data = self.read(size)
        while len(data) < size and (more := self.read(size - len(data))):
            data += more
        return data


def _decoded(source: _Source) -> Iterator[bytes]:
    start = source.up_to(MAGIC_SIZE)
    source.push(start)
    for name, magics, inflate in _FORMATS:
        if start.startswith(magics):
            return _members(source, name, magics, inflate)
    return iter(lambda: source.read(CHUNK), b"")


def _members(
    source: _Source, name: str, magics: tuple[bytes, ...], inflate: Inflate
) -> Iterator[bytes]:
    """Compressed files are members, one after the other; pigz and zstd:chunked write many."""
    while (start := source.up_to(MAGIC_SIZE)).startswith(magics):
        source.push(start)
        try:
            yield from inflate(source)
        except EOFError:
            raise LayerError(f"the {name} data ends too early: {source.position} bytes") from None
        except LayerError:
            raise
        except Exception as error:  # each library has an exception of its own
            raise LayerError(f"the {name} data is damaged: {error}") from error
    while start:  # some tools fill up with zeros, as gzip(1) allows
        if start.strip(b"\0"):
            raise LayerError(f"something follows the end of the {name} data")
        start = source.read()


# --- formats: each a generator of one member's content ------------------------------------------


def _gzip(source: _Source) -> Iterator[bytes]:
    try:
        from isal import igzip_lib  # twice as fast as zlib
    except ImportError:
        return _inflated(source, _Zlib())
    return _inflated(source, igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


def _bzip2(source: _Source) -> Iterator[bytes]:
    import bz2

    return _inflated(source, bz2.BZ2Decompressor())


def _xz(source: _Source) -> Iterator[bytes]:
    import lzma

    return _inflated(source, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=zstd.WINDOW))


def _inflated(source: _Source, decoder: Decoder) -> Iterator[bytes]:
    while not decoder.eof:
        data = b""
        if decoder.needs_input and not (data := source.read()):
            raise EOFError
        if chunk := decoder.decompress(data, CHUNK):
            yield chunk
    source.push(decoder.unused_data)


class _Zlib:
    """zlib as the other libraries are."""

    def __init__(self) -> None:
        import zlib

        self._object = zlib.decompressobj(wbits=31)
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int) -> bytes:
        chunk = self._object.decompress(self._object.unconsumed_tail + data, max_length)
        self.needs_input = not self._object.unconsumed_tail and len(chunk) < max_length
        return chunk

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data


def _zstd(source: _Source) -> Iterator[bytes]:
    def take(size: int) -> bytes:
        data = source.up_to(size)
        if len(data) < size:
            raise EOFError
        return data

    return zstd.frame(take) if take(4) == zstd.MAGIC else zstd.skip(take)


MAGIC_SIZE = 6
_FORMATS: tuple[tuple[str, tuple[bytes, ...], Inflate], ...] = (
    ("gzip", (b"\x1f\x8b\x08",), _gzip),
    ("zstd", (zstd.MAGIC, *zstd.SKIPPABLE), _zstd),
    ("bzip2", (b"BZh",), _bzip2),
    ("xz", (b"\xfd7zXZ\0",), _xz),
)
