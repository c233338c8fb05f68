"""Pulls that are killed, that fail in the middle, and that run at the same time.

The store is never half: whatever happens to a pull, ``images`` lists whole images, and the next
pull completes what the other began. Each pull here is a process of its own.
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minirun.errors import NotFound
from tests.components import require
from tests.image.fake_registry import fake_registry, forever, hang
from tests.image.test_transfer import (
    REPOSITORY,
    TWO_LAYERS,
    Puller,
    an_image,
    digest_of,
    layer,
)
from tests.images import file, run

ROOT = Path(__file__).resolve().parents[2]

# Errors end a pull as the command line ends it; anything else prints a traceback.
PULL = """
import resource, sys
from minirun.errors import Error, render
from minirun.image import reference, transfer
from minirun.image.snapshot import Snapshots
from minirun.image.store import Store
store, snapshots = Store(sys.argv[2] + "/images"), Snapshots(sys.argv[2] + "/layers")
try:
    transfer.pull(reference.parse(sys.argv[1]), store, snapshots)
    with open("/proc/self/status") as status:  # our ru_maxrss is our parent's, if that was larger
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
except Error as error:
    sys.exit(render(error))
except OSError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def fake():
    with fake_registry() as server:
        yield server


def command(fake, root: Path) -> list[str]:
    return [sys.executable, "-B", "-c", PULL, f"{fake.host}/{REPOSITORY}:1", str(root)]


def start(fake, root: Path) -> subprocess.Popen:
    return subprocess.Popen(command(fake, root), cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition, what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.01)


# --- killed, or failed by the kernel, at one system call ------------------------------------


# What changes the store, its locks, or what is running. openat is here for the files it creates.
CALLS = (
    "openat", "mkdir", "mkdirat", "write", "ftruncate", "fsync", "syncfs", "rename", "unlink",
    "unlinkat", "rmdir", "flock", "symlinkat", "linkat", "mknodat", "fsetxattr", "fchown",
    "fchownat", "fchmod", "utimensat", "fsmount", "clone", "clone3", "sendto",
)  # fmt: skip
LAYERS = {
    "one layer": TWO_LAYERS[:1],
    "four layers": (*TWO_LAYERS, layer(file("three", "3")), layer(file("four", "4"))),
}


def strace(log: Path, *options: str) -> list[str]:
    # not --seccomp-bpf: with it, strace 6.1 injects no signal
    return [require("strace"), "-f", "-qq", "-o", str(log), *options]


def moments(fake, root: Path) -> list[tuple[str, int]]:
    """Every call of a whole pull that changes something, as strace counts them: by thread."""
    log = root / "log"
    run(*strace(log, "-e", f"trace={','.join(CALLS)}"), *command(fake, root), cwd=ROOT)
    counts: dict[tuple[str, str], int] = {}
    found = set()
    for line in log.read_text(errors="replace").splitlines():
        if begun := re.match(r"(\d+) +(\w+)\(", line):
            thread, call = begun[1], begun[2]
            counts[thread, call] = number = counts.get((thread, call), 0) + 1
            if call != "openat" or "O_CREAT" in line:
                found.add((call, number))
    return sorted(found)


def check_that_the_store_is_whole(pull: Puller, layers) -> None:
    """What is listed is there, and a second pull makes everything as it should be."""
    name = f"{pull.fake.host}/{REPOSITORY}:1"
    for image in pull.store.images():
        assert image.name == name
        assert all(map(pull.store.has, (image.descriptor, image.manifest["config"], *image.layers)))
        assert len(pull.snapshots.lowers(image.config)) == len(layers)
    image = pull()
    assert [i.name for i in pull.store.images()] == [name]
    for blob in Path(pull.store.root, "blobs/sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    assert os.listdir(f"{pull.store.root}/ingest") == []
    expected = {digest_of(data).removeprefix("sha256:") for data in layers}
    assert set(os.listdir(pull.snapshots.root)) == expected
    *_, oldest = pull.snapshots.lowers(image.config)
    assert sorted(os.listdir(f"{oldest}/etc")) == ["both", "one"]


def sweep(fake, tmp_path: Path, layers, what: str, sample: slice) -> tuple[int, int]:
    """Do ``what`` to pulls, at one call each; how many were tried, and how many did not survive."""
    an_image(fake, layers)
    (tmp_path / "whole").mkdir()
    tried = moments(fake, tmp_path / "whole")[sample]
    if what.startswith("error"):  # the same number of an openat may be an import that Python makes
        tried = [(call, number) for call, number in tried if call != "openat"]
    assert len(tried) >= 8
    ended = 0
    for call, number in tried:
        root = tmp_path / f"{call}-{number}"
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:{what}:when={number}")
        done = subprocess.run([*strace(tmp_path / "log", *inject), *command(fake, root)], cwd=ROOT,
                              capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr, f"{call} {number}: {done.stderr}"
        ended += done.returncode != 0
        check_that_the_store_is_whole(Puller(fake, root), layers)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    return len(tried), ended


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_some_kills(fake, tmp_path, layers, residue):
    """CR01: every sixth moment of the sweep below."""
    tried, ended = sweep(fake, tmp_path, layers, "signal=KILL", slice(None, None, 6))
    assert ended >= tried * 0.8  # the rest are moments that come in another order in another run


@pytest.mark.slow
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_a_kill_at_every_call(fake, tmp_path, layers):
    """CR01: kill -9 at each call that changes something; then the store is whole."""
    tried, ended = sweep(fake, tmp_path, layers, "signal=KILL", slice(None))
    assert ended >= tried * 0.8


@pytest.mark.parametrize("errno", ["EIO", "ENOSPC"])
def test_some_errors(fake, tmp_path, errno):
    """CR05: every sixth moment of the sweep below."""
    _, ended = sweep(fake, tmp_path, LAYERS["four layers"], f"error={errno}", slice(3, None, 6))
    assert ended  # at least one of them could not be passed over


@pytest.mark.slow
@pytest.mark.parametrize("errno", ["EIO", "ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENOMEM"])
def test_an_error_at_every_call(fake, tmp_path, errno):
    """CR05: each call fails once; the pull ends with an error or well, and the store is whole."""
    _, ended = sweep(fake, tmp_path, LAYERS["four layers"], f"error={errno}", slice(None))
    assert ended


# --- at the same time -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 4, 16])
def test_pulls_at_once_fetch_each_blob_once(fake, tmp_path, count, residue):
    """CR06."""
    an_image(fake, (*TWO_LAYERS, layer(file("big", os.urandom(3 << 20)))))
    pulls = [start(fake, tmp_path) for _ in range(count)]
    for pull in pulls:
        assert pull.communicate(timeout=120)[1] == ""
    assert [pull.returncode for pull in pulls] == [0] * count
    blobs = [request.target for request in fake.asked("/blobs/")]
    assert len(blobs) == len(set(blobs)) == 4
    assert len(Puller(fake, tmp_path).store.images()) == 1


def test_who_waits_continues_for_one_who_is_killed(fake, tmp_path, residue):
    """CR06, CR09: three pulls; the one that fetches the large layer is killed half way."""
    data = layer(file("big", os.urandom(3 << 20)))
    an_image(fake, (data,))
    fake.on(digest_of(data), hang(2 << 20))
    first = start(fake, tmp_path)
    partial = tmp_path / "images/ingest" / digest_of(data)
    wait_for(lambda: partial.exists() and partial.stat().st_size >= 1 << 20, "half a layer")
    others = [start(fake, tmp_path) for _ in range(2)]
    wait_for(lambda: len(fake.asked("/manifests/")) >= 3, "other pulls")
    first.kill()
    first.communicate()
    for other in others:
        assert other.communicate(timeout=60)[1] == ""
    requests = fake.asked(digest_of(data))
    assert [bool(request.headers.get("range")) for request in requests] == [False, True]


def test_ctrl_c_ends_a_pull_soon_and_the_next_one_continues(fake, tmp_path, residue):
    data = layer(file("big", os.urandom(3 << 20)))
    an_image(fake, (*TWO_LAYERS, data))
    fake.on(digest_of(data), hang(2 << 20))
    pull = start(fake, tmp_path)
    partial = tmp_path / "images/ingest" / digest_of(data)
    wait_for(lambda: partial.exists() and partial.stat().st_size >= 1 << 20, "half a layer")
    pull.send_signal(signal.SIGINT)
    began = time.monotonic()
    pull.communicate(timeout=10)
    assert time.monotonic() - began < 3
    assert pull.returncode != 0
    later = Puller(fake, tmp_path)
    assert later.store.images() == []
    later()
    begin = fake.asked(digest_of(data))[-1].headers["range"].removeprefix("bytes=").rstrip("-")
    assert int(begin) >= 1 << 20


def test_images_come_and_go_at_once(fake, tmp_path, residue):
    """CR07: pulls beside rmi and prune. A running pull loses nothing; at the end all is whole."""
    an_image(fake)
    pull = Puller(fake, tmp_path)
    name = f"{fake.host}/{REPOSITORY}:1"
    for _ in range(6):
        pulls = [start(fake, tmp_path) for _ in range(2)]
        while any(process.poll() is None for process in pulls):
            try:
                pull.store.remove(name)
                pull.store.prune()
            except NotFound:
                time.sleep(0.005)
        assert [process.communicate()[1] for process in pulls] == ["", ""]
    check_that_the_store_is_whole(pull, TWO_LAYERS)
    pull.store.remove(name)
    assert os.listdir(f"{pull.store.root}/blobs/sha256") == []


# --- what it costs --------------------------------------------------------------------------


def peak(fake, root: Path) -> int:
    """MiB of the largest process of a pull."""
    output, errors = start(fake, root).communicate(timeout=300)
    assert errors == ""
    return max(map(int, output.split())) >> 10


def test_a_large_layer_takes_no_more_memory_than_a_small_one(fake, tmp_path):
    an_image(fake)
    small = peak(fake, tmp_path / "small")
    an_image(fake, (layer(file("big", os.urandom(1 << 20) * 128)),))
    large = peak(fake, tmp_path / "large")
    assert large < small + 16
    assert large < 100


def test_a_server_that_never_ends_a_layer_is_given_up(fake, tmp_path, monkeypatch):
    """RG07: no progress for longer than the registry client's patience."""
    from minirun.errors import RegistryError
    from minirun.image import patience

    quick = patience.Patience(connect=1, stall=0.3, tries=2, first_wait=0.01, in_all=2)
    monkeypatch.setattr(patience, "Patience", lambda: quick)
    an_image(fake)
    pull = Puller(fake, tmp_path)
    fake.on(digest_of(TWO_LAYERS[1]), forever(hang(1000)))
    with pytest.raises(RegistryError) as caught:
        pull()
    assert caught.value.hint
    assert pull.store.images() == []
