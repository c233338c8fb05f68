"""Reading tars that nobody should have written. Python's tarfile is the judge of the good ones."""

from __future__ import annotations

import io
import tarfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirun.errors import LayerError
from minirun.image import pax, sparse, tarstream
from tests.image import hostile
from tests.image.hostile import file, header, tar


def members(data: bytes, chunk: int = 700) -> list[tuple[bytes, bytes]]:
    """Names and contents, of a tar that comes in chunks which fit nothing."""
    stream = tarstream.Tar(data[at : at + chunk] for at in range(0, len(data), chunk))
    return [(m.name, b"".join(stream.data(m.stored))) for m in stream]


def first(data: bytes) -> tarstream.Member:
    return next(iter(tarstream.Tar([data])))


# --- the stream ---------------------------------------------------------------------------------

GOOD = tar(file("a", b"x" * 1000), file("b", b""), file("c", b"y" * 512), hostile.directory("d/"))


@pytest.mark.parametrize("chunk", [1, 3, 511, 512, 513, 1024, 10**6])
def test_chunks_of_any_size(chunk: int) -> None:
    assert members(GOOD, chunk) == [
        (b"a", b"x" * 1000), (b"b", b""), (b"c", b"y" * 512), (b"d/", b""),
    ]  # fmt: skip


def test_data_that_nobody_read_is_skipped() -> None:
    stream = tarstream.Tar([GOOD])
    assert [m.name for m in stream] == [b"a", b"b", b"c", b"d/"]
    stream = tarstream.Tar([GOOD])
    assert [next(stream.data(1)).tobytes() for m in stream if m.stored] == [b"x", b"y"]


@pytest.mark.parametrize("end", range(0, len(GOOD), 256))
def test_a_tar_that_was_cut(end: int) -> None:
    """IM15: anywhere, also between two entries, also between the two blocks of its end."""
    with pytest.raises(LayerError, match="ends too early"):
        members(GOOD[:end])


def test_zeros_may_follow_the_end_but_nothing_else() -> None:
    """IM16"""
    assert members(GOOD + bytes(10_000)) == members(GOOD)
    for garbage in (b"x", bytes(9_999) + b"\1", GOOD):
        with pytest.raises(LayerError, match="follows the end of the tar"):
            members(GOOD + garbage)
    with pytest.raises(LayerError, match="lone block of zeros"):
        members(GOOD[:2048] + bytes(512) + GOOD)


def test_no_members() -> None:
    assert members(bytes(1024)) == []
    with pytest.raises(LayerError, match="ends too early"):
        members(b"")


@pytest.mark.parametrize(
    "data", [b"x" * 2000, b"\x1f\x8b" + bytes(2000), GOOD[1:], b"hello\n" * 400]
)
def test_what_is_no_tar(data: bytes) -> None:
    with pytest.raises(LayerError, match=r"not a (header of a tar|number)"):
        members(data)


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644), (b"   644 \0", 0o644), (b"644\0junk"[:8], 0o644), (bytes(8), 0),
        (b"        ", 0), (b"77777777", 0o77777777), (b"\x80" + bytes(6) + b"\5", 5),
        (b"\xff" * 8, -1), (b"\x80\0\0\1" + bytes(8), 1 << 64),
    ],
)  # fmt: skip
def test_numbers(field: bytes, value: int) -> None:
    assert tarstream._number(field) == value


@pytest.mark.parametrize(
    "field",
    [b"0000_644", b"+000644\0", b"-0000644", b"0o644\0\0\0", b"6 4    \0", b"89\0", b"\xb2"],
)
def test_not_numbers(field: bytes) -> None:
    """IM14: Python's own int() takes some of these."""
    with pytest.raises(LayerError, match="not a number"):
        tarstream._number(field if field[0] < 128 else b"0" + field)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (b"\xff" * 12, "size -1 is out of range"),
        (b"\xff" + bytes(11), "out of range"),
        (b"\x80" + b"\x7f" * 11, "out of range"),
        (hostile.number(1 << 60, 12), r"ends too early|what the tar holds"),
        (b"99999999999\0", "not a number"),
        (b"-0000000001\0", "not a number"),
    ],
)
def test_sizes_that_cannot_be(size: bytes, message: str) -> None:
    """IM14: an error at once, and no hang."""
    started = time.monotonic()
    for kind in (b"0", b"S", b"7"):
        with pytest.raises(LayerError, match=message):
            members(tar(header("f", kind, size=size), bytes(2048)))
    for kind in (b"x", b"g", b"L", b"K", b"V"):
        with pytest.raises(LayerError, match=r"bytes|ends too early|not a number"):
            members(tar(header("f", kind, size=size), bytes(2048)))
    assert time.monotonic() - started < 1


def test_check_sums() -> None:
    """Of unsigned bytes; or of signed ones, as some systems of the eighties had it; or refused."""
    name = b"\xe4\xf6\xfc"
    plain = header(name)
    fields = plain[:148] + b" " * 8 + plain[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in fields)
    assert first(tar(header(name, checksum=b"%06o\0 " % signed))).name == name
    for wrong in (signed - 1, signed + 256, 0):
        with pytest.raises(LayerError, match="check sum is wrong"):
            first(tar(header(name, checksum=b"%06o\0 " % wrong)))


# --- names and extended headers -----------------------------------------------------------------


def test_prefix_of_ustar_and_what_gnu_has_there() -> None:
    assert first(tar(file("b", prefix=b"a"))).name == b"a/b"
    assert first(tar(file("b", prefix=b"7777", magic=b"ustar  \0"))).name == b"b"
    assert first(tar(file("b", prefix=b"junk", magic=bytes(8)))).name == b"b"


def test_pax_says_it_better_than_gnu_and_gnu_better_than_the_header() -> None:
    entry = hostile.long_name("gnu") + hostile.long_name("link", b"K") + hostile.symlink("h", "t")
    assert (first(tar(entry)).name, first(tar(entry)).linkname) == (b"gnu", b"link")
    assert (
        first(tar(hostile.long_name("gnu") + hostile.pax({"path": "pax"}) + file("h"))).name
        == b"pax"
    )


def test_extended_headers_are_about_one_entry() -> None:
    assert members(tar(hostile.pax({"path": "long"}) + file("a"), file("b"))) == [
        (b"long", b"new"),
        (b"b", b"new"),
    ]


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", {}),
        (b"6 a=b\n", {b"a": b"b"}),
        (b"5 a=\n", {b"a": b""}),
        (b"9 a=b=c\n\n", {b"a": b"b=c\n"}),
        (b"6 a=b\n6 a=c\n", {b"a": b"c"}),
        (b"8 a=\0\xff\n\n", {b"a": b"\0\xff\n"}),
    ],
)
def test_records(data: bytes, records: dict[bytes, bytes]) -> None:
    assert pax.parse(data) == records


@pytest.mark.parametrize(
    "data",
    [
        b"a=b\n", b"6a=b\n", b" 6 a=b\n", b"-6 a=b\n", b"0 a=b\n", b"3 a=b\n",
        b"7 a=b\n", b"99 a=b\n",
        b"6 a=bx", b"5 ab\n", b"6 a=b\n\0", b"000000000006 a=b\n", b"99999999999999999999 a=b\n",
        b"6 a=b\n6", b"2 \n", b"\xb2 a=b\n",
    ],
)  # fmt: skip
def test_records_that_are_none(data: bytes) -> None:
    """IM13"""
    with pytest.raises(LayerError, match="a record of an extended header"):
        pax.parse(data)


@pytest.mark.parametrize(
    "records",
    [
        {"path": b"a\0b"}, {"linkpath": b"a\0b"}, {"path": b"a" * 4096}, {"linkpath": b"a" * 4096},
        {"size": "-1"}, {"size": "0x10"}, {"size": "9" * 21}, {"size": ""}, {"uid": "-1"},
        {"uid": "4294967295"}, {"gid": "1.5"}, {"mtime": "now"}, {"mtime": "1e9"}, {"mtime": ""},
        {"mtime": "--1"}, {"mtime": "1.-1"}, {"mtime": "nan"}, {"uid": "١"}, {"size": "9" * 20},
    ],
)  # fmt: skip
def test_values_that_cannot_be(records: dict[str, bytes | str]) -> None:
    """IM13"""
    with pytest.raises(LayerError):
        members(tar(hostile.pax(records) + file("f"), file("g")))


def test_size_of_a_record_counts() -> None:
    """IM13: also when the header says something else; the last of two wins."""
    data = (
        hostile.pax([("size", b"1"), ("size", b"3")]) + header("f", size=0) + hostile.padded(b"new")
    )
    assert members(tar(data)) == [(b"f", b"new")]


def test_headers_of_any_size_are_refused() -> None:
    """IM13: 50 MiB for a name; many headers for one entry; one for none."""
    for big in (hostile.pax({"path": b"a" * (1 << 20)}), hostile.long_name("a" * (1 << 20))):
        with pytest.raises(LayerError, match="extended header of"):
            members(tar(big + file("f")))
    many = [hostile.pax({f"SCHILY.xattr.user.{n}": b"x" * 500_000}) for n in range(3)]
    with pytest.raises(LayerError, match="extended header of"):
        members(tar(*many, file("f")))
    with pytest.raises(LayerError, match="before the entry it is about"):
        members(tar(hostile.pax({"path": "x"})))


@pytest.mark.parametrize(
    "keyword", ["path", "linkpath", "size", "SCHILY.xattr.user.x", "GNU.sparse.map"]
)
def test_global_headers_are_about_no_single_entry(keyword: str) -> None:
    with pytest.raises(LayerError, match="for all entries"):
        members(tar(hostile.pax({keyword: "1"}, b"g"), file("f")))


# --- sparse files -------------------------------------------------------------------------------


def sparse_1_0(text: bytes, data: bytes = b"", size: str = "100") -> bytes:
    records = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": size,
        "GNU.sparse.name": "f",
    }  # fmt: skip
    return tar(hostile.pax(records) + file("GNUSparseFile.0/f", hostile.padded(text) + data))


def test_sparse_map_in_the_data() -> None:
    member = first(sparse_1_0(b"2\n10\n3\n50\n2\n", b"abcde"))
    assert (member.name, member.size, member.stored) == (b"f", 100, 5)
    assert member.pieces == [(10, 3), (50, 2)]


@pytest.mark.parametrize(
    "text",
    [
        b"1\n-1\n5\n", b"1\n96\n5\n", b"2\n50\n3\n10\n2\n", b"2\n10\n3\n12\n2\n", b"1\n0\n4\n",
        b"1\n0\n6\n",
        b"2\n0\n5\n", b"x\n", b"", b"99999\n0\n5\n", b"9999999999\n", b"0" * 700, b"1\n0\n5x\n",
    ],
)  # fmt: skip
def test_sparse_maps_that_cannot_be(text: bytes) -> None:
    """IM13: negative, beyond the end, out of order, overlapping, and not what is there."""
    with pytest.raises(LayerError):
        members(sparse_1_0(text, b"abcde"))


@pytest.mark.parametrize(
    "records",
    [
        [("GNU.sparse.map", b"0,3,5"), ("GNU.sparse.size", b"10")],
        [("GNU.sparse.map", b"0,3")],
        [("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"2")],
        [("GNU.sparse.map", b"0,3,1,2"), ("GNU.sparse.size", b"10")],
        [("GNU.sparse.map", b""), ("GNU.sparse.size", b"10")],
        [("GNU.sparse.numbytes", b"3"), ("GNU.sparse.offset", b"0"), ("GNU.sparse.size", b"10")],
        [("GNU.sparse.offset", b"0"), ("GNU.sparse.size", b"10")],
        [("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"10")],
        [("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"10")],
        [("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"9" * 30)],
        [("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"9" * 20)],
    ],
)
def test_sparse_records_that_cannot_be(records: list[tuple[str, bytes]]) -> None:
    with pytest.raises(LayerError):
        members(tar(hostile.pax(records) + file("f", b"new")))


def test_sparse_map_of_old_gnu_without_end() -> None:
    more = bytes(482) + b"\1" + hostile.number(10, 12)
    block = header("f", b"S", size=0, magic=b"ustar  \0")
    block = block[:148] + b" " * 8 + block[156:386] + more[386:] + block[495:]
    block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    full = (hostile.number(1, 12) + hostile.number(0, 12)) * 21 + b"\1" + bytes(7)
    with pytest.raises(LayerError, match="pieces"):
        members(block + full * (sparse.MAX_PIECES // 21 + 2))


# --- judged by others ---------------------------------------------------------------------------

some_name = st.binary(min_size=1, max_size=300).filter(
    lambda name: b"\0" not in name and not name.endswith(b"/") and name.strip(b"/")
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(some_name, st.binary(max_size=2000)), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.integers(1, 3000),
)
def test_what_tarfile_writes(entries: list[tuple[bytes, bytes]], form: int, chunk: int) -> None:
    """IM19: any bytes but zero are a name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape"))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    found = members(out.getvalue(), chunk)
    assert [(name.lstrip(b"/"), data) for name, data in found] == [
        (name.lstrip(b"/"), data) for name, data in entries
    ]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_an_error_or_nothing(data: st.DataObject) -> None:
    """FZ01: whatever bytes are changed, only a LayerError comes of it."""
    seed = data.draw(st.sampled_from(SEEDS))
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # most damage stops at the check sum: mend it
        at = data.draw(st.integers(0, len(changed) // 512 - 1)) * 512
        block = changed[at : at + 148] + b" " * 8 + changed[at + 156 : at + 512]
        changed[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    try:
        members(bytes(changed), 1000)
    except LayerError as error:
        assert error.message.isprintable()


SEEDS = [
    GOOD,
    tar(hostile.pax({"path": "long", "mtime": "1.5", "SCHILY.xattr.user.x": "y"}) + file("a")),
    tar(
        hostile.long_name("n" * 200)
        + hostile.long_name("t" * 200, b"K")
        + hostile.symlink("a", "b")
    ),
    sparse_1_0(b"2\n10\n3\n50\n2\n", b"abcde"),
    tar(hostile.pax([("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"10")]) + file("f")),
    tar(hostile.device("d", 1, 3), file("g", uid=1 << 22, mtime=-5), hostile.fifo("p")),
]
