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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO, Protocol

    class Decoder(Protocol):
        """What bz2, lzma and igzip_lib have in common."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, /, max_length: int) -> bytes: ...


READ = 1 << 17  # compressed bytes at once
CHUNK = 1 << 19  # uncompressed bytes at once, about what a core's cache holds
AHEAD = 4  # chunks that may wait for the reader
WINDOW = 1 << 27  # bytes of history a decoder may ask memory for: the limit of zstd(1)

MIN_BOMB = 1 << 30  # bytes; a smaller layer may be as dense as it likes
MAX_RATIO = 200  # a real layer of this size stays below 20; deflate could reach 1032


class Layer:
    """The uncompressed bytes of a blob, read ahead by a thread. Ends the thread when closed."""

    def __init__(self, blob: BinaryIO) -> None:
        self.size = 0
        """Uncompressed bytes so far."""
        self._hash = hashlib.sha256()
        self._blob = blob
        self._closed = False
        self._chunks: queue.Queue[bytes | BaseException | None] = queue.Queue(AHEAD)
        self._thread = threading.Thread(target=self._read_ahead, daemon=True)
        self._thread.start()

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

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
                self._hash.update(chunk)
                self.size += len(chunk)
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
    """A file that counts, and whose first bytes can be looked at before they are read."""

    def __init__(self, blob: BinaryIO) -> None:
        self._blob = blob
        self.first = blob.read(READ)
        self.position = 0

    def read(self, size: int) -> bytes:
        data, self.first = self.first[:size], self.first[size:]
        data = data or self._blob.read(size)
        self.position += len(data)
        return data


def _decoded(source: _Source) -> Iterator[bytes]:
    for name, magics, size, new_decoder in _FORMATS:
        if source.first.startswith(magics):
            return _members(source, name, magics, size, new_decoder)
    return iter(lambda: source.read(CHUNK), b"")


def _members(
    source: _Source,
    name: str,
    magics: tuple[bytes, ...],
    size: int,
    new_decoder: Callable[[], Decoder],
) -> Iterator[bytes]:
    """Compressed files are members, one after the other; pigz and zstd:chunked write many."""
    data = source.read(size)
    while data:
        if not data.startswith(magics):
            return _only_zeros(source, data, name)
        decoder = new_decoder()
        while not decoder.eof:
            try:
                chunk = decoder.decompress(data, CHUNK)
            except Exception as error:  # each library has an exception of its own
                raise LayerError(f"the {name} data is damaged: {error}") from error
            if chunk:
                yield chunk
            data = b""
            if decoder.needs_input and not decoder.eof:
                data = source.read(size)
                if not data:
                    raise LayerError(f"the {name} data ends too early: {source.position} bytes")
        data = decoder.unused_data
        if len(data) < MAGIC_SIZE:
            data += source.read(size)
    return None


def _only_zeros(source: _Source, data: bytes, name: str) -> None:
    """Some tools fill up with zeros, as gzip(1) allows; anything else was put there by somebody."""
    while data:
        if data.strip(b"\0"):
            raise LayerError(f"something follows the end of the {name} data")
        data = source.read(READ)


# --- decoders: one interface for every library --------------------------------------------------


def _gzip() -> Decoder:
    try:
        from isal import igzip_lib  # twice as fast as zlib
    except ImportError:
        return _Zlib()
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


class _Zlib:
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


class _Zstd:
    """The library has no ``max_length``: what it is given bounds what it gives (ZSTD_READ)."""

    needs_input = True

    def __init__(self) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise LayerError(
                "a layer is compressed by zstd, and the Python package zstandard is missing",
                hint="pip install zstandard",
            ) from error
        self._object: Any = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._object.decompress(data)  # type: ignore[no-any-return]

    @property
    def eof(self) -> bool:
        return self._object.eof  # type: ignore[no-any-return]

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data  # type: ignore[no-any-return]


def _bzip2() -> Decoder:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> Decoder:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW)


ZSTD_READ = 1 << 11  # four bytes of zstd can stand for 128 KiB: this bounds a chunk to 64 MiB
MAGIC_SIZE = 6
_ZSTD_MAGICS = (b"\x28\xb5\x2f\xfd", *(bytes([n]) + b"\x2a\x4d\x18" for n in range(0x50, 0x60)))
_FORMATS: tuple[tuple[str, tuple[bytes, ...], int, Callable[[], Decoder]], ...] = (
    ("gzip", (b"\x1f\x8b\x08",), READ, _gzip),
    ("zstd", _ZSTD_MAGICS, ZSTD_READ, _Zstd),
    ("bzip2", (b"BZh",), READ, _bzip2),
    ("xz", (b"\xfd7zXZ\0",), READ, _xz),
)
