"""Layers that are unpacked once and shared, and what a container sees of them."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from minirun import linux
from minirun.errors import DigestError, LayerError, NotFound
from minirun.image import overlay, snapshot
from minirun.image.snapshot import Snapshots
from tests.image.hostile import directory, file, hardlink, opaque, symlink, tar, whiteout
from tests.image.trees import picture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


class Image:
    """Layers in files, and what a config says of them."""

    def __init__(self, top: Path, *layers: bytes) -> None:
        self.blobs = []
        self.diff_ids = []
        for data in layers:
            digest = hashlib.sha256(data).hexdigest()
            (top / digest).write_bytes(data)
            self.blobs.append(str(top / digest))
            self.diff_ids.append(f"sha256:{digest}")
        self.config: dict[str, Any] = {"rootfs": {"type": "layers", "diff_ids": self.diff_ids}}

    def add_to(self, snapshots: Snapshots) -> list[str | None]:
        return [snapshots.add(blob, self.diff_ids[: n + 1]) for n, blob in enumerate(self.blobs)]


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(str(tmp_path / "layers"))


BASE = tar(directory("./", 0o711, uid=3, mtime=7), directory("d", 0o700), file("d/f"), file("g"))


class Mounted:
    def __init__(self, snapshots: Snapshots, image: Image, container: Path) -> None:
        self.snapshots, self.image, self.container = snapshots, image, container

    def __enter__(self) -> Path:
        self.container.mkdir(exist_ok=True)
        lowers = self.snapshots.lowers(self.image.config)
        return Path(self.snapshots.mount(lowers, str(self.container)))

    def __exit__(self, *_: object) -> None:
        self.snapshots.unmount(str(self.container))
        self.snapshots.unmount(str(self.container))  # a second time is no error


def test_a_layer_is_unpacked_once(tmp_path: Path, snapshots: Snapshots) -> None:
    image = Image(tmp_path, BASE)
    assert snapshots.find(image.diff_ids) is None
    path = snapshots.add(image.blobs[0], image.diff_ids)
    assert path == snapshots.find(image.diff_ids)
    assert path == f"{snapshots.root}/{image.diff_ids[0][7:]}"
    os.unlink(image.blobs[0])
    assert snapshots.add(image.blobs[0], image.diff_ids) == path
    assert os.listdir(snapshots.root) == [os.path.basename(path)]
    assert stat.S_IMODE(os.stat(snapshots.root).st_mode) == 0o700


def test_what_a_container_sees_and_does(tmp_path: Path, snapshots: Snapshots) -> None:
    image = Image(tmp_path, BASE, tar(whiteout("g"), file("d/new"), symlink("s", "d")))
    image.add_to(snapshots)
    with Mounted(snapshots, image, tmp_path / "one") as one:
        assert sorted(os.listdir(one)) == ["d", "s"]
        assert sorted(os.listdir(one / "d")) == ["f", "new"]
        (one / "d" / "f").write_text("changed")
        with Mounted(snapshots, image, tmp_path / "two") as two:
            assert (two / "d" / "f").read_bytes() == b"new"
    with Mounted(snapshots, image, tmp_path / "one") as one:
        assert (one / "d" / "f").read_text() == "changed"


def test_the_root_looks_as_in_the_image(tmp_path: Path, snapshots: Snapshots) -> None:
    """By the newest layer that says anything of it; the container's own directory hides it."""
    for n, (layers, mode, uid) in enumerate((
        ((BASE, tar(file("x"))), 0o711, 3),
        ((BASE, tar(directory(".", 0o1777)), tar(file("x"))), 0o1777, 0),
        ((tar(file("x")),), 0o755, 0),
        ((), 0o755, 0),
    )):  # fmt: skip
        image = Image(tmp_path, *layers)
        image.add_to(snapshots)
        before = os.umask(0o077)
        with Mounted(snapshots, image, tmp_path / f"c{n}") as root:
            os.umask(before)
            status = root.stat()
            assert (stat.S_IMODE(status.st_mode), status.st_uid) == (mode, uid)
            assert os.listxattr(root) == []


def test_an_opaque_root_hides_the_layers_below(tmp_path: Path, snapshots: Snapshots) -> None:
    image = Image(tmp_path, BASE, tar(opaque("."), file("x")), tar(file("y")))
    image.add_to(snapshots)
    with Mounted(snapshots, image, tmp_path / "c") as root:
        assert sorted(os.listdir(root)) == ["x", "y"]


def test_whiteouts_that_hide_nothing_are_not_listed(tmp_path: Path, snapshots: Snapshots) -> None:
    """overlayfs would list them in directories that merge with none below."""
    image = Image(
        tmp_path,
        tar(directory("d"), whiteout("d/none"), file("d/f")),
        tar(directory("e"), opaque("e"), whiteout("e/none"), whiteout("d"), directory("d"),
            whiteout("d/none")),
    )  # fmt: skip
    image.add_to(snapshots)
    with Mounted(snapshots, image, tmp_path / "c") as root:
        assert (os.listdir(root / "d"), os.listdir(root / "e")) == ([], [])


def test_no_device_of_an_image_works(tmp_path: Path, snapshots: Snapshots) -> None:
    """IM10"""
    from tests.image.hostile import device

    image = Image(tmp_path, tar(device("null", 1, 3, mode=0o666)))
    image.add_to(snapshots)
    with Mounted(snapshots, image, tmp_path / "c") as root:
        with pytest.raises(PermissionError):
            (root / "null").read_bytes()


def test_layers_that_lean_on_those_below(tmp_path: Path, snapshots: Snapshots) -> None:
    """Their name is that of the whole stack, as with another one below they would be others."""
    leaning = tar(file("d/new"))
    image, other = Image(tmp_path, BASE, leaning), Image(tmp_path, tar(file("x")), leaning)
    assert snapshots.add(image.blobs[1], image.diff_ids, alone=True) is None
    assert os.listdir(snapshots.root) == []
    path = image.add_to(snapshots)[1]
    assert path == f"{snapshots.root}/{snapshot.chain_id(image.diff_ids)[7:]}"
    assert stat.S_IMODE(os.stat(f"{path}/d").st_mode) == 0o700
    path = other.add_to(snapshots)[1]
    assert path == f"{snapshots.root}/{other.diff_ids[1][7:]}"
    assert stat.S_IMODE(os.stat(f"{path}/d").st_mode) == 0o755


def test_layers_that_do_not_can_come_in_any_order(tmp_path: Path, snapshots: Snapshots) -> None:
    image = Image(tmp_path, BASE, tar(directory("d", 0o700), file("d/new"), whiteout("g")))
    assert snapshots.add(image.blobs[1], image.diff_ids, alone=True)
    assert snapshots.add(image.blobs[0], image.diff_ids[:1], alone=True)
    with Mounted(snapshots, image, tmp_path / "c") as root:
        assert sorted(os.listdir(root / "d")) == ["f", "new"]


def test_chain_ids() -> None:
    """image-spec, config.md: the digest of the one below, a space, and the diff_id."""
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert snapshot.chain_id([one]) == one
    expected = hashlib.sha256(f"{one} {two}".encode()).hexdigest()
    assert snapshot.chain_id([one, two]) == f"sha256:{expected}"


def test_other_content_than_the_config_says(tmp_path: Path, snapshots: Snapshots) -> None:
    """IM23"""
    image = Image(tmp_path, BASE)
    Path(image.blobs[0]).write_bytes(tar(file("other")))
    with pytest.raises(DigestError, match="unpacks to other bytes"):
        snapshots.add(image.blobs[0], image.diff_ids)
    assert os.listdir(snapshots.root) == []
    with pytest.raises(NotFound, match="not unpacked"):
        snapshots.lowers(image.config)


def test_a_refused_layer_leaves_nothing(tmp_path: Path, snapshots: Snapshots) -> None:
    for data in (tar(file("a"), file("../b")), tar(file("a"), end=False), b"no tar" * 500):
        image = Image(tmp_path, data)
        with pytest.raises(LayerError):
            snapshots.add(image.blobs[0], image.diff_ids)
        assert os.listdir(snapshots.root) == []
    image = Image(tmp_path, BASE, tar(hardlink("h", "none")))
    with pytest.raises(LayerError, match="does not exist"):
        image.add_to(snapshots)


@pytest.mark.parametrize("count", [60, 127, 200])
def test_more_layers_than_a_page_of_options_holds(
    tmp_path: Path, snapshots: Snapshots, count: int
) -> None:
    image = Image(tmp_path, *(tar(file(f"f{n}"), file("last", b"%d" % n)) for n in range(count)))
    image.add_to(snapshots)
    with Mounted(snapshots, image, tmp_path / "c") as root:
        assert len(os.listdir(root)) == count + 1
        assert (root / "last").read_bytes() == b"%d" % (count - 1)


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b", "\u00fc", "x" * 200])
def test_names_that_mean_something_to_overlayfs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    snapshots = Snapshots(str(tmp_path / name / "layers"))
    image = Image(tmp_path, BASE, tar(file("x")))
    image.add_to(snapshots)
    with Mounted(snapshots, image, tmp_path / name / "c") as root:
        assert sorted(os.listdir(root)) == ["d", "g", "x"]


def test_where_overlayfs_cannot_be(tmp_path: Path) -> None:
    """On an overlay: every layer is a copy with all that is below it, and people are told."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    images = Image(
        tmp_path, BASE, tar(whiteout("g"), file("d/new"), hardlink("d/same", "d/new")),
        tar(directory("d", 0o750, mtime=9), opaque("d"), file("d/last"), symlink("s", "d")),
    )  # fmt: skip
    usual = Snapshots(str(tmp_path / "layers"))
    images.add_to(usual)
    with Mounted(usual, images, tmp_path / "c") as root:
        expected = picture(root)
    linux.mount("overlay", str(tmp_path / "merged"), "overlay", 0, options)
    try:
        told: list[str] = []
        copies = Snapshots(str(tmp_path / "merged" / "layers"), told.append)
        assert overlay.obstacle(str(tmp_path / "merged")) is not None
        assert copies.add(images.blobs[1], images.diff_ids[:2], alone=True) is None
        images.add_to(copies)
        with Mounted(copies, images, tmp_path / "merged" / "c") as root:
            assert picture(root) == expected
            (root / "own").touch()
        with Mounted(copies, images, tmp_path / "merged" / "c") as root:
            assert (root / "own").exists()
        with Mounted(copies, images, tmp_path / "merged" / "c2") as root:
            assert not (root / "own").exists()
        assert any("overlayfs cannot be used" in line for line in told)
        assert len(copies.prune([])) == 3
    finally:
        linux.umount2(str(tmp_path / "merged"))
    assert overlay.obstacle(str(tmp_path)) is None
    assert not (tmp_path / "trial").exists()


def test_prune(tmp_path: Path, snapshots: Snapshots) -> None:
    kept, other = Image(tmp_path, BASE, tar(file("d/x"))), Image(tmp_path, BASE, tar(file("y")))
    kept.add_to(snapshots)
    other.add_to(snapshots)
    os.mkdir(f"{snapshots.root}/{'0' * 64}.partial")
    assert len(snapshots.prune([kept.diff_ids])) == 2
    assert len(snapshots.lowers(kept.config)) == 2
    assert snapshots.find(other.diff_ids) is None
    assert len(snapshots.prune([])) == 2
    assert Snapshots(str(tmp_path / "none")).prune([]) == []


def test_prune_removes_the_deepest_trees(tmp_path: Path, snapshots: Snapshots) -> None:
    """IM18: deeper than a path is long, and deeper than Python may recurse."""
    from tests.image.hostile import pax

    data = tar(pax({"path": "a/" * 2040 + "f"}) + file("x"), symlink("l", "a/" * 2000))
    data = data[:-1024] + tar(pax({"path": "l/" + "b/" * 1500 + "f"}) + file("x"))
    image = Image(tmp_path, data)
    try:
        image.add_to(snapshots)
    except LayerError as error:
        assert "too long" in error.message
    else:
        assert snapshots.prune([]) != []
    assert os.listdir(snapshots.root) == []


# --- at the same time, and killed ---------------------------------------------------------------

ADD = """
import sys
from minirun.image.snapshot import Snapshots
Snapshots(sys.argv[1]).add(sys.argv[2], sys.argv[3:])
"""


def test_two_at_once_unpack_a_layer_once(tmp_path: Path, snapshots: Snapshots) -> None:
    image = Image(tmp_path, tar(*(file(f"f{n}", b"x" * 5000) for n in range(2000))))
    found: list[str | None] = []

    def add() -> None:
        found.append(snapshots.add(image.blobs[0], image.diff_ids))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [snapshots.find(image.diff_ids)] * 4
    assert len(os.listdir(snapshots.root)) == 1


def test_two_at_once_are_refused_both(tmp_path: Path, snapshots: Snapshots) -> None:
    entries = [file(f"f{n}", b"x" * 5000) for n in range(500)]
    image = Image(tmp_path, tar(*entries, file("../out")))
    refused: list[str] = []

    def add() -> None:
        try:
            snapshots.add(image.blobs[0], image.diff_ids)
        except LayerError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["../out: a name that leads out of the root"] * 4
    assert os.listdir(snapshots.root) == []


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.35])
def test_killed_while_unpacking(tmp_path: Path, snapshots: Snapshots, delay: float) -> None:
    """What is left has no layer's name, and the next one starts anew."""
    image = Image(tmp_path, tar(*(file(f"f{n}", b"x" * 5000) for n in range(3000))))
    command = [sys.executable, "-c", ADD, snapshots.root, image.blobs[0], *image.diff_ids]
    process = subprocess.Popen(command)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    path = snapshots.find(image.diff_ids)
    assert path is None or len(os.listdir(path)) == 3000
    path = snapshots.add(image.blobs[0], image.diff_ids)
    assert path
    assert len(os.listdir(path)) == 3000
    assert len(os.listdir(snapshots.root)) == 1
