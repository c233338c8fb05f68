"""CR14: each file of a store is damaged and deleted, one by one: the check finds it, and mends it
or names what is lost."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from minirun import linux
from minirun.engine import check
from minirun.engine.paths import Paths
from minirun.engine.state import State
from tests.waiting import wait_for

# What a container writes anew at each start, and its files: what is in those is its own affair.
OF_ITS_START = {"hosts", "hostname", "resolv.conf", "log", "config.json", "runtime.lock",
                "launch.log"}  # fmt: skip


@pytest.fixture
def full(minirun):
    """A store with images, a container that has ended, a volume and a network."""
    script = "echo x > /data/f > /f"
    minirun.ok("run", "--name", "c", "-v", "data:/data", "tiny", "sh", "-c", script)
    minirun.ok("commit", "c", "mine")
    minirun.ok("run", "--rm", "mine", "true")
    assert problems(minirun) == []
    return minirun


def damages(minirun, **options):
    return list(check.damages(State(Paths(str(minirun.root))), **options))


def problems(minirun, **options):
    return [f"{damage.what}: {damage.problem}" for damage in damages(minirun, **options)]


def mend(minirun):
    """Repair until nothing more can be repaired; the hints of what is lost."""
    hints = []
    for _ in range(5):
        found = damages(minirun)
        for damage in found:
            if damage.repair:
                damage.repair()
            if damage.hint:
                hints.append(damage.hint)
        if not [damage for damage in found if damage.repair]:
            return hints
    raise AssertionError("the repairs have no end")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    data[0] ^= 0xFF
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def candidates(root):
    """Every file that is the store's own; of each unpacked layer a few."""
    of_layers = Counter()
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if {"upper", "work", "_data"} & set(parts) or path.name in OF_ITS_START | {"seeded"}:
            continue
        if path.is_symlink() or (path.is_file() and path.stat().st_size):
            of_layers[parts[:2]] += parts[0] == "layers"
            if of_layers[parts[:2]] <= 3:
                yield path


@pytest.mark.slow
def test_every_file_that_is_damaged_or_deleted_is_found(full, tmp_path):
    root = Path(full.root) / "lib"
    shutil.copytree(root, tmp_path / "copy", symlinks=True)
    missed, unmended = [], []
    names = [path.relative_to(root) for path in candidates(root)]
    assert len(names) > 15
    for name in names:
        for do in (flip, Path.unlink):
            if do is flip and (root / name).is_symlink():
                continue
            parent = (root / name).parent.stat()
            do(root / name)
            os.utime((root / name).parent, ns=(parent.st_atime_ns, parent.st_mtime_ns))
            if not damages(full):
                missed.append(f"{do.__name__} {name}")
            hints = mend(full)
            if not hints and (left := problems(full)):
                unmended.append(f"{do.__name__} {name}: {left}")
            restore(root, tmp_path / "copy")
    assert (missed, unmended) == ([], [])


def restore(root, copy):
    """The store as it was: hard, but surely."""
    for entry in root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for entry in copy.iterdir():
        if entry.is_dir():
            shutil.copytree(entry, root / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, root / entry.name)


def test_the_command_says_what_it_found_and_did(full):
    layer = next((full.root / "lib/layers").rglob("os-release"))
    flip(layer)
    seen = full("system", "check")
    assert seen.returncode == 1
    assert "etc/os-release is not as it was (--repair helps)" in seen.stdout
    assert full.ok("system", "check", "--quick").count("layers/") == 0
    mended = full("system", "check", "--repair")
    assert "etc/os-release is not as it was → unpacked again" in mended.stdout
    assert problems(full) == []
    assert full.ok("run", "--rm", "tiny", "cat", "/etc/os-release").startswith("ID=tiny")


def test_a_layer_that_a_container_runs_on_is_left_alone(full):
    full.ok("run", "-d", "--name", "runs", "tiny", "sleep", "100")
    layer = next((full.root / "lib/layers").rglob("os-release"))
    flip(layer)
    (damage,) = damages(full)
    assert damage.repair is None and "minirun stop" in damage.hint
    assert full.ok("exec", "runs", "echo", "still there") == "still there\n"
    full.ok("rm", "-f", "runs")
    (damage,) = damages(full)
    assert damage.repair() == "unpacked again"


def test_an_index_that_is_lost_is_made_anew(full):
    """Names are lost, but no image; the embedded ones even have their names."""
    before = set(full.ok("images", "-q").split())
    (full.root / "lib/images/index.json").write_text("{")
    assert full("images").returncode == 125
    assert full("system", "check", "--repair").returncode == 0
    assert set(full.ok("images", "-q").split()) == before
    assert full.ok("run", "--rm", "tiny", "echo", "there") == "there\n"


def test_an_image_that_lost_a_layer_says_how_to_get_it_back(full):
    ident = full.ok("inspect", "-f", "{{.Digest}}", "--type", "image", "mine").strip()
    manifest = json.loads((full.root / "lib/images/blobs/sha256" / ident[7:]).read_text())
    blob = full.root / "lib/images/blobs/sha256" / manifest["layers"][1]["digest"][7:]
    blob.unlink()
    seen = full("system", "check")
    assert "is missing" in seen.stdout and "minirun pull docker.io/library/mine" in seen.stderr


def test_a_corrupt_record_is_an_error_and_everything_else_works(full):
    [record] = (full.root / "lib/containers").glob("*/container.json")
    record.write_text("{")
    assert "damaged" in "".join(problems(full))
    assert full.ok("run", "--rm", "tiny", "echo", "fine") == "fine\n"
    assert full("ps", "-a").returncode == 0


def test_orphans_are_found_and_taken_away(full, residue):
    """A mount and a socket of a container that does not run; a name that leads nowhere."""
    [directory] = (full.root / "lib/containers").iterdir()
    linux.mount("tmpfs", str(directory / "rootfs"), "tmpfs")
    (full.root / "run/attach" / f"{directory.name}.sock").touch()
    (full.root / "lib/names/nobody").symlink_to("0" * 64)
    (full.root / "lib/containers/foreign").mkdir()
    found = problems(full)
    assert len(found) == 4, found
    mend(full)
    assert problems(full) == ["{}: this is not a container".format(
        full.root / "lib/containers/foreign")]
    os.rmdir(full.root / "lib/containers/foreign")


def test_leftovers_of_a_killed_pull_are_counted(full):
    (full.root / "lib/images/ingest/sha256:123").write_bytes(b"x" * 1000)
    (full.root / "lib/layers" / ("0" * 64 + ".partial")).mkdir()
    said = full("system", "check", "-q")
    assert "1kB of the store: minirun image prune" in said.stderr
    full.ok("image", "prune", "-f")
    assert "image prune" not in full("system", "check", "-q").stderr


def test_a_running_container_is_no_damage(full):
    """Nor one that is just being made, or just ends: the check looks, while others work."""
    full.ok("run", "-d", "--name", "busy", "--restart", "always", "tiny", "sh", "-c", "sleep 0.1")
    try:
        wait_for(lambda: full.ok("inspect", "-f", "{{.RestartCount}}", "busy").strip() > "1")
        for _ in range(20):
            assert problems(full, quick=True) == []
    finally:
        full.ok("rm", "-f", "busy")
