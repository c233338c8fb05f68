"""Trees as tars: what is written is what is read back, by us and by other tars."""

from __future__ import annotations

import io
import os
import random
import socket
import stat
import tarfile
import time
from pathlib import Path

import pytest

from minirun.errors import LayerError
from minirun.image import layer, packing, tarwriter, tree
from minirun.image.pax import SECOND
from minirun.image.tarstream import DIRECTORY, FILE, Member, Tar
from tests.image.trees import gnu_tar, picture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")
LONG = "n" * 200


def pack(top: Path, **options: object) -> bytes:
    tar = io.BytesIO()
    fd = tree.open_directory(str(top))
    try:
        packing.pack(fd, tar.write, **options)  # type: ignore[arg-type]
    finally:
        os.close(fd)
    return tar.getvalue()


def unpack(data: bytes, target: Path) -> Path:
    target.mkdir()
    (target.parent / f"{target.name}.tar").write_bytes(data)
    fd = tree.open_directory(str(target))
    try:
        layer.unpack(str(target.parent / f"{target.name}.tar"), fd)
    finally:
        os.close(fd)
    return target


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """A tree with one of each kind."""
    top = tmp_path / "everything"
    top.mkdir(0o751)
    (top / "file").write_bytes(random.Random(1).randbytes(3_000_001))
    os.utime(top / "file", ns=(5, 1_600_000_000_123_456_789))
    (top / "old").write_text("before 1970")
    os.utime(top / "old", ns=(0, -1_250_000_000))
    (top / "run").write_text("#!/bin/sh\n")
    os.chown(top / "run", 70_000, 3_000_000)
    os.chmod(top / "run", 0o4755)
    os.setxattr(top / "run", "user.note", b"\0binary=\n")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(top / "run", "security.capability", capability)
    deep = top / LONG / LONG / "é\udcff\n"
    deep.mkdir(parents=True)
    (deep / LONG).write_text("long")
    os.link(deep / LONG, top / "linked")
    (top / "symlink").symlink_to("/absolute/" + LONG)
    os.lchown(top / "symlink", 5, 6)
    os.mkfifo(top / "fifo", 0o600)
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "disk", stat.S_IFBLK | 0o660, os.makedev(259, 300))
    (top / "empty").mkdir(0o1777)
    os.utime(top / "empty", ns=(0, SECOND))
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(5 << 20)
        file.write(b"in the middle")
        file.seek((1 << 30) - 3)
        file.write(b"end")
    return top


def test_what_is_packed_is_what_comes_out(everything: Path, tmp_path: Path) -> None:
    data = pack(everything, with_root=True)
    assert len(data) < 8 << 20  # a hole takes no room
    assert picture(unpack(data, tmp_path / "ours")) == picture(everything)
    (tmp_path / "x.tar").write_bytes(data)
    gnu_tar(tmp_path / "x.tar", tmp_path / "gnu")
    assert picture(tmp_path / "gnu") == picture(everything)


def test_python_reads_the_same_names_and_owners(everything: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(everything))) as tar:
        members = {member.name: member for member in tar}
    assert members["run"].uid == 70_000
    assert members["run"].gid == 3_000_000
    assert members["sparse"].size == 1 << 30
    assert members["null"].devminor == 3
    names = [name.encode(errors="surrogateescape") for name in members]
    assert f"{LONG}/{LONG}/é".encode() + b"\xff\n" in names


def test_equal_trees_give_equal_bytes(tmp_path: Path) -> None:
    """Whatever order the names were made in, and whenever."""
    tars = []
    for n, order in enumerate(("abc", "cab")):
        top = tmp_path / str(n)
        for name in order:
            (top / name).mkdir(parents=True)
            (top / name / "f").write_text(name)
        tars.append(pack(top, mtime=0))
        time.sleep(0.01)
    assert tars[0] == tars[1]


def test_paths_can_be_left_out(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/d"):
        (tmp_path / "t" / name).mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(pack(tmp_path / "t", omit={b"a/b"}))) as tar:
        assert tar.getnames() == ["a", "a/d"]


def test_sockets_are_left_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert list(Tar([pack(tmp_path)])) == []


def test_marks_of_overlayfs_become_whiteouts(tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    (upper / "opaque").mkdir(parents=True)
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    os.setxattr(upper / "opaque", "trusted.overlay.origin", b"x")
    (upper / "opaque" / "f").touch()
    os.mknod(upper / "opaque" / "gone", stat.S_IFCHR, 0)
    os.mknod(upper / "gone", stat.S_IFCHR, 0)
    with tarfile.open(fileobj=io.BytesIO(pack(upper, layer=True))) as tar:
        names = tar.getnames()
        assert not any(member.pax_headers.keys() - {"mtime"} for member in tar)
    assert names == [".wh.gone", "opaque", "opaque/.wh..wh..opq", "opaque/f", "opaque/.wh.gone"]


@pytest.mark.parametrize("name", [".wh.x", "d/.wh..wh..opq"])
def test_a_file_cannot_pretend_to_be_a_whiteout(tmp_path: Path, name: str) -> None:
    (tmp_path / "t" / "d").mkdir(parents=True)
    (tmp_path / "t" / name).touch()
    with pytest.raises(LayerError, match="cannot be in a layer"):
        pack(tmp_path / "t", layer=True)
    assert name.encode() in pack(tmp_path / "t")


@pytest.mark.parametrize("xattr", ["redirect", "metacopy"])
def test_what_overlayfs_copied_in_part_is_refused(tmp_path: Path, xattr: str) -> None:
    (tmp_path / "t" / "d").mkdir(parents=True)
    os.setxattr(tmp_path / "t" / "d", f"trusted.overlay.{xattr}", b"/x")
    with pytest.raises(LayerError, match="a part only"):
        pack(tmp_path / "t", layer=True)


def test_files_that_change_meanwhile_do_not_break_the_tar(tmp_path: Path) -> None:
    """One grows, one shrinks, one goes: the entries behind them are still where they must be."""
    for name in "abcde":
        (tmp_path / name).write_text("12345678")
    tar = io.BytesIO()

    def write(data: bytes) -> None:
        if data[:2] == b"a\0":
            (tmp_path / "a").write_text("1")
            (tmp_path / "b").write_text("123456789" * 1000)
            (tmp_path / "c").unlink()
        if data[:2] == b"b\0":
            (tmp_path / "b").write_text("123456789" * 2000)
        tar.write(data)

    fd = tree.open_directory(str(tmp_path))
    packing.pack(fd, write)
    os.close(fd)
    with tarfile.open(fileobj=io.BytesIO(tar.getvalue())) as read:
        sizes = {member.name: member.size for member in read}
        content = read.extractfile("a").read()
    assert content == b"1" + bytes(7)  # what was cut off
    assert sizes == {"a": 8, "b": 9000, "d": 8, "e": 8}


def test_numbers_that_a_header_has_no_room_for() -> None:
    """Sizes from 8 GiB on, and all that pax has records for."""
    big = Member.new(b"x" * 300, FILE, mode=0o644)
    big.size = big.stored = 1 << 34
    big.uid = big.gid = 2**32 - 2
    big.mtime = -1
    chunks: list[bytes] = []
    tarwriter.Writer(chunks.append).add(big)
    read = next(iter(Tar([b"".join(chunks)])))
    fields = ("name", "size", "stored", "uid", "gid", "mtime", "mode")
    assert [getattr(read, f) for f in fields] == [getattr(big, f) for f in fields]


def test_a_tree_deeper_than_a_path_may_be_is_refused_by_whoever_reads_it(tmp_path: Path) -> None:
    top = tree.open_directory(str(tmp_path))
    fd = os.dup(top)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=fd)
        fd = tree.open_directory("d" * 200, fd)
    tar = io.BytesIO()
    packing.pack(top, tar.write)
    with pytest.raises(LayerError, match="a name of"):
        list(Tar([tar.getvalue()]))
    tree.clear(top)


def test_directories_end_with_a_slash(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (member,) = Tar([pack(tmp_path)])
    assert (member.name, member.kind) == (b"d/", DIRECTORY)
