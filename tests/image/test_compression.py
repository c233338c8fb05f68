"""What a blob holds, whichever way it is compressed; and what is no blob, or a bomb."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import resource
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from minirun.errors import LayerError
from minirun.image import compression
from tests.image.hostile import file, tar

zstandard = pytest.importorskip("zstandard")

DATA = tar(*(file(f"f{n}", bytes([n]) * 100_000) for n in range(20)))
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstandard.ZstdCompressor(1).compress(data),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
}
COMPRESSED = {name: compress(DATA) for name, compress in COMPRESSORS.items()}
PACKED = [name for name in COMPRESSED if name != "plain"]


def content(blob: bytes) -> bytes:
    return b"".join(compression.uncompressed(io.BytesIO(blob)))


@pytest.fixture(params=["isal", "zlib"])
def gzip_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    else:
        pytest.importorskip("isal")
    return str(request.param)


@pytest.mark.parametrize("name", COMPRESSED)
def test_what_was_compressed_comes_back(name: str, gzip_library: str) -> None:
    assert content(COMPRESSED[name]) == DATA
    with compression.Layer(io.BytesIO(COMPRESSED[name])) as layer:
        assert b"".join(layer) == DATA
    assert layer.diff_id == f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.mark.parametrize("name", PACKED)
def test_several_members_are_one_content(name: str, gzip_library: str) -> None:
    """IM16: pigz and zstd:chunked write such; and the digest is over all of them."""
    parts = [DATA[at : at + 700_001] for at in range(0, len(DATA), 700_001)]
    assert content(b"".join(map(COMPRESSORS[name], parts))) == DATA
    small = [bytes([n]) for n in range(200)]
    assert content(b"".join(map(COMPRESSORS[name], small))) == b"".join(small)


def test_zstd_frames_that_are_to_be_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18" + (8).to_bytes(4, "little") + b"metadata"
    assert content(COMPRESSED["zstd"] + skipped) == content(skipped + COMPRESSED["zstd"]) == DATA


@pytest.mark.parametrize("name", PACKED)
def test_zeros_may_follow_but_nothing_else(name: str, gzip_library: str) -> None:
    """IM16"""
    blob = COMPRESSED[name]
    assert content(blob + bytes(100_000)) == DATA
    for garbage in (b"x", bytes(100_000) + b"x", b"\x1f", b"PK\3\4" * 1000):
        with pytest.raises(LayerError, match=f"follows the end of the {name} data"):
            content(blob + garbage)


@pytest.mark.parametrize("name", PACKED)
def test_data_that_was_cut(name: str, gzip_library: str) -> None:
    """IM15: at any byte; the last ones are a check sum, or say that this is the end."""
    blob = COMPRESSED[name]
    for end in {*range(20, len(blob), len(blob) // 50), *range(len(blob) - 8, len(blob))}:
        with pytest.raises(LayerError, match="ends too early"):
            content(blob[:end])


@pytest.mark.parametrize("name", PACKED)
def test_data_that_was_damaged(name: str, gzip_library: str) -> None:
    """The format's own check sums see it, before any digest does."""
    noise = random.Random(1).randbytes(300_000)
    blob = COMPRESSORS[name](noise)
    if name == "zstd":
        blob = zstandard.ZstdCompressor(1, write_checksum=True).compress(noise)
    for at in range(len(blob) // 10, len(blob) - 10, len(blob) // 10):
        damaged = blob[:at] + bytes([blob[at] ^ 0x55]) + blob[at + 1 :]
        with pytest.raises(LayerError, match=rf"{name} data"):
            content(damaged)


def test_an_error_of_the_thread_arrives() -> None:
    with compression.Layer(io.BytesIO(COMPRESSED["gzip"][:-5])) as layer:
        with pytest.raises(LayerError, match="ends too early"):
            list(layer)


@pytest.mark.parametrize("wanted", [0, 1])
def test_the_thread_ends_with_its_reader(wanted: int) -> None:
    before = threading.active_count()
    with compression.Layer(io.BytesIO(gzip.compress(bytes(50_000_000)))) as layer:
        for _, _chunk in zip(range(wanted), layer, strict=False):
            pass
    assert threading.active_count() == before


def test_bombs(monkeypatch: pytest.MonkeyPatch, gzip_library: str) -> None:
    """IM17: a ratio that no real layer has, from a size on at which it would hurt."""
    monkeypatch.setattr(compression, "MIN_BOMB", 10_000_000)
    zeros = bytes(30_000_000)
    for name in PACKED:
        blob = COMPRESSORS[name](zeros)
        produced = 0
        with pytest.raises(LayerError, match="refusing to unpack a bomb"):
            for chunk in compression.uncompressed(io.BytesIO(blob)):
                produced += len(chunk)
        ahead = compression.MAX_RATIO * compression.READ
        assert produced <= max(10_000_000, ahead) + compression.CHUNK
        assert len(content(COMPRESSORS[name](zeros[:9_000_000]))) == 9_000_000


def test_a_bomb_in_a_bomb_is_no_tar() -> None:
    """IM17: what is inside is not looked for."""
    once = gzip.compress(DATA)
    assert content(gzip.compress(once)) == once


def test_zstd_windows_are_bounded() -> None:
    """IM17: a frame may ask for gigabytes of memory before it holds a byte."""
    header = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(LayerError, match="zstd data"):
        content(header + bytes(100))


def test_memory_is_bounded(tmp_path: Path) -> None:
    """200 MB of zeros, in each format: what is read ahead is a few chunks."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    compressor = zlib.compressobj(1, wbits=31)
    blob = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(200)) + compressor.flush()
    with compression.Layer(io.BytesIO(blob)) as layer:
        assert sum(len(chunk) for chunk in layer) == 200 << 20
    zstd = zstandard.ZstdCompressor(1).compressobj()
    blob = b"".join(zstd.compress(bytes(1 << 20)) for _ in range(200)) + zstd.flush()
    assert sum(len(chunk) for chunk in compression.uncompressed(io.BytesIO(blob))) == 200 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_without_zstandard_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(LayerError) as caught:
        content(COMPRESSED["zstd"])
    assert caught.value.hint == "pip install zstandard"
