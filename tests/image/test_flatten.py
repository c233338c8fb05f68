"""Layers laid on one another: all of them or none, whatever goes wrong."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun import linux
from minirun.errors import ImageError, LayerError, StoreError
from minirun.image import entries, flatten
from tests.image import hostile
from tests.image.hostile import directory, file, opaque, symlink, tar, whiteout
from tests.image.trees import picture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and mounts need root")


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


@pytest.fixture
def good(tmp_path: Path) -> str:
    return written(tmp_path / "good.tar", tar(directory("d", mtime=5), file("d/f"), file("g")))


@pytest.fixture
def bad(tmp_path: Path) -> str:
    return written(tmp_path / "bad.tar", tar(directory("./", 0o700), file("new"), file("../out")))


def test_a_missing_directory_is_made_and_goes_again(tmp_path: Path, good: str, bad: str) -> None:
    root = tmp_path / "root"
    with pytest.raises(LayerError, match="leads out of the root"):
        flatten.flatten([good, bad], str(root))
    assert not root.exists()
    flatten.flatten([good], str(root))
    assert sorted(os.listdir(root)) == ["d", "g"]


@pytest.mark.parametrize("content", [[], ["old", "d"]])
def test_a_refused_layer_leaves_a_directory_as_it_was(
    tmp_path: Path, good: str, bad: str, content: list[str]
) -> None:
    root = tmp_path / "root"
    root.mkdir(0o750)
    for name in content:
        (root / name).mkdir()
    before = picture(root, inodes=True)
    with pytest.raises(LayerError):
        flatten.flatten([good, bad], str(root))
    assert picture(root, inodes=True) == before


def test_what_was_there_is_the_oldest_layer(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "gone").mkdir()
    for name in ("d/old", "gone/x", "keep", "f"):
        (root / name).write_text("old")
    path = written(tmp_path / "l", tar(opaque("d"), file("d/new"), whiteout("gone"), file("f")))
    flatten.flatten([path], str(root))
    assert sorted(os.listdir(root)) == ["d", "f", "keep"]
    assert os.listdir(root / "d") == ["new"]
    assert (root / "f").read_bytes() == b"new"


def test_an_opaque_root_hides_all_of_it(tmp_path: Path, good: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "old").touch()
    path = written(tmp_path / "l", tar(file("x"), file(".wh..wh..opq", b"")))
    flatten.flatten([good, path], str(tmp_path / "root"))
    assert os.listdir(tmp_path / "root") == ["x"]


def test_a_link_to_a_directory_is_the_callers_own(tmp_path: Path, good: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    flatten.flatten([good], str(tmp_path / "link"))
    assert (tmp_path / "root" / "g").exists()


def test_the_same_layer_twice(tmp_path: Path, good: str) -> None:
    flatten.flatten([good], str(tmp_path / "root"))
    once = picture(tmp_path / "root")
    flatten.flatten([good], str(tmp_path / "root"))
    flatten.flatten([good, good, good], str(tmp_path / "root"))
    again = picture(tmp_path / "root")
    assert {k: v for k, v in again.items() if k != b"."} == {
        k: v for k, v in once.items() if k != b"."
    }


def test_no_directory(tmp_path: Path, good: str) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "no/such/parent"):
        with pytest.raises(OSError):
            flatten.flatten([good], str(tmp_path / path))
    with pytest.raises(FileNotFoundError):
        flatten.flatten([good, str(tmp_path / "none")], str(tmp_path / "root"))
    assert not (tmp_path / "root").exists()


def test_who_may_not_give_files_away_is_told_so(tmp_path: Path) -> None:
    written(tmp_path / "l", tar(file("f", uid=1)))
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(tmp_path)
            os.chmod(".", 0o777)
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            os.mkdir("root")
            flatten.flatten(["l"], "root")
        except LayerError as error:
            os._exit(0 if error.hint == "run it as root" else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.listdir(tmp_path / "root") == []


def test_a_mount_that_knows_no_whiteouts(tmp_path: Path, good: str) -> None:
    """On an overlay nobody may make a device 0:0: so a layer is unpacked without any."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    (tmp_path / "lower" / "root").mkdir()
    (tmp_path / "lower" / "root" / "g").touch()
    (tmp_path / "lower" / "root" / "d").mkdir()
    (tmp_path / "lower" / "root" / "d" / "old").touch()
    path = written(
        tmp_path / "l",
        tar(whiteout("g"), directory("d"), opaque("d"), hostile.device("x", 0, 0), file("new/f")),
    )
    linux.mount("overlay", str(tmp_path / "merged"), "overlay", 0, options)
    try:
        flatten.flatten([path], str(tmp_path / "merged" / "root"))
        assert sorted(os.listdir(tmp_path / "merged" / "root")) == ["d", "new"]
        assert os.listdir(tmp_path / "merged" / "root" / "d") == []
    finally:
        linux.umount2(str(tmp_path / "merged"))


# --- no room ------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own. Tests remount it at the size they want."""
    (tmp_path / "small").mkdir()
    linux.mount("tmpfs", str(tmp_path / "small"), "tmpfs", 0, "size=64k")
    yield tmp_path / "small"
    linux.umount2(str(tmp_path / "small"))


def resize(mount: Path, options: str) -> None:
    linux.mount("tmpfs", str(mount), "tmpfs", linux.MS_REMOUNT, options)


@pytest.mark.parametrize("option", ["size={}k", "size=1m,nr_inodes={}"])
def test_no_space_left(tmp_path: Path, small: Path, option: str) -> None:
    """CR04: at every size too small a clear error, and nothing left; then it works."""
    many = [file(f"d{n}/f", b"x" * 3000) for n in range(20)]
    path = written(tmp_path / "l", tar(*many, file("big", b"x" * 100_000)))
    succeeded = False
    for size in range(8, 400, 8):
        resize(small, option.format(size))
        try:
            flatten.flatten([path], str(small / "root"))
            succeeded = True
            break
        except (StoreError, OSError) as error:
            if isinstance(error, StoreError):
                assert "no space left to unpack" in error.message
                assert "MiB" in error.message
                assert error.hint
            else:
                assert error.errno == errno.ENOSPC
        assert os.listdir(small) == []
    assert succeeded
    assert size > 8


def test_a_file_larger_than_the_disk_is_refused_before_it_is_written(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IM17: not after it has filled the disk."""
    resize(small, "size=20m")
    written_bytes: list[int] = []
    monkeypatch.setattr(entries, "_write", lambda fd, piece: written_bytes.append(len(piece)))
    path = written(tmp_path / "l", tar(file("big", bytes(30 << 20))))
    with pytest.raises(StoreError, match="no space left to unpack its 31457280 bytes"):
        flatten.flatten([path], str(small / "root"))
    assert written_bytes == []
    assert os.listdir(small) == []


# --- while others do something ------------------------------------------------------------------


SWAP = """
import os, sys
root, canary = sys.argv[1:]
while True:
    for directory, directories, _ in os.walk(root):
        for name in directories:
            path = os.path.join(directory, name)
            try:
                os.rename(path, path + ".away")
                os.symlink(canary, path)
                os.unlink(path)
                os.rename(path + ".away", path)
            except OSError:
                pass
"""


def test_directories_that_are_swapped_meanwhile(tmp_path: Path) -> None:
    """IM34: somebody exchanges a directory of the tree for a link out of it, all the time."""
    roots, canary = tmp_path / "roots", tmp_path / "canary"
    roots.mkdir()
    canary.mkdir()
    (canary / "file").write_text("the canary")
    before = picture(canary, inodes=True, times=False)
    entries = [directory("d/e")] + [file(f"d/e/{n}", b"") for n in range(40)]
    entries += [symlink("s", "../../../canary"), file("s/file"), directory("d/e", 0o777, uid=5)]
    entries += [whiteout("d/e"), opaque("d"), file("d/file")]
    path = written(tmp_path / "l", tar(*entries))
    swapper = subprocess.Popen([sys.executable, "-c", SWAP, roots, canary])
    refused = 0
    try:
        for n in range(120):
            try:
                flatten.flatten([path], str(roots / str(n)))
                flatten.flatten([path], str(roots / str(n)))
            except (ImageError, OSError):
                refused += 1
    finally:
        swapper.kill()
        swapper.wait()
    assert picture(canary, inodes=True, times=False) == before
    assert refused > 0, "nothing was ever swapped in time: the test shows nothing"
