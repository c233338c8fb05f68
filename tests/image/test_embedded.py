"""The embedded images: the same bytes every time, and readable by others."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from minirun.errors import ImageError
from minirun.image import embedded
from minirun.image.store import Store
from tests.components import require
from tests.images import run

TINY = "localhost/tiny:latest"


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def test_seeding_twice_gives_the_same_image(store, tmp_path):
    first = {image.name: image.digest for image in embedded.seed(store)}
    assert TINY in first
    assert sorted(first) == embedded.names()
    other = Store(str(tmp_path / "other"))
    assert {image.name: image.digest for image in embedded.seed(other)} == first
    assert {image.name: image.digest for image in embedded.seed(store)} == first
    assert len(store.images()) == len(first)


def test_seeding_is_fast(store):
    """In time of the processor: the first command on a machine should not seem to hang."""
    before = os.times()
    embedded.seed(store)
    after = os.times()
    assert sum(after[:4]) - sum(before[:4]) < 0.3  # 0.1 s on an idle machine


def test_what_a_killed_one_left_is_no_hindrance(store):
    code = ("import sys; from minirun.image import embedded, store; "
            "embedded._pack = lambda *_: (print('built', flush=True), input()); "
            "embedded.seed(store.Store(sys.argv[1]))")
    command = [sys.executable, "-c", code, store.root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as seeding:
        assert seeding.stdout.readline() == b"built\n"
        seeding.kill()
    assert os.listdir(store.root + "/embedded")
    embedded.seed(store)
    assert not os.path.exists(store.root + "/embedded")
    assert [image.name for image in store.images()] == embedded.names()


def test_the_layer_runs(store, tmp_path):
    """GNU tar unpacks it, and its shell finds its tools."""
    [image] = [image for image in embedded.seed(store) if image.name == TINY]
    layer = store.blob_path(image.layers[0]["digest"])
    root = tmp_path / "root"
    root.mkdir()
    run("tar", "-xf", layer, "-C", root)
    assert run("chroot", root, "/bin/sh", "-c", "ls / && id -u && true").split()[-1] == "0"
    assert (root / "home/student").stat().st_uid == 1000
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_skopeo_reads_it(store):
    require("skopeo")
    embedded.seed(store)
    seen = json.loads(run("skopeo", "inspect", f"oci:{store.root}:{TINY}"))
    assert seen["Os"] == "linux" and len(seen["Layers"]) == 1
    assert any(setting.startswith("PATH=") for setting in seen["Env"])


def test_a_recipe_that_fails_is_named_with_its_reason(store, tmp_path, monkeypatch):
    (tmp_path / "rootfs/broken").mkdir(parents=True)
    (tmp_path / "rootfs/broken/build.sh").write_text("set -eu\ncat /nope/nope\n")
    monkeypatch.setattr(embedded, "RECIPES", str(tmp_path / "rootfs"))
    with pytest.raises(ImageError, match=r"embedded image broken: .*/nope/nope"):
        embedded.seed(store)
    assert store.images() == []


def test_tiny_without_busybox_is_the_shell_of_this_machine(tmp_path):
    """The recipe's second half: libraries and all, found without busybox on the PATH."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "ldd", "grep", "mkdir", "cp", "ln", "chmod", "chown", "cat", "bash"):
        (tools / tool).symlink_to(shutil.which(tool))
    root = tmp_path / "root"
    root.mkdir()
    script = os.path.join(embedded.RECIPES, "tiny", "build.sh")
    subprocess.run(["sh", script, root], env={"PATH": str(tools)}, check=True)
    assert not (root / "usr/bin/busybox").exists()
    said = run("chroot", root, "/bin/sh", "-c", "cat /etc/os-release; /bin/true")
    assert said.startswith("ID=tiny")
