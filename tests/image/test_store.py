"""The store: blobs that are what their names say, names that appear last, locks that die."""

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from minirun.errors import (
    DigestError,
    InvalidReference,
    NotFound,
    RegistryError,
    StoreError,
    UsageError,
)
from minirun.image import blobs, lock
from minirun.image.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from minirun.image.store import Store
from tests.components import require
from tests.images import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "images"))


def descriptor(data: bytes, **more) -> dict:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return {"mediaType": OCI_LAYER, "digest": digest, "size": len(data), **more}


def an_image(store: Store, name: str, content: bytes = b"", **config):
    """Store an image of one layer with ``content``, which is no tar: nobody unpacks it here."""
    with store.hold():
        layer = store.put(OCI_LAYER, content or name.encode())
        config = {"os": "linux", "architecture": "amd64", **config}
        config["rootfs"] = {"type": "layers", "diff_ids": [layer["digest"]]}
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [layer]}
        document["config"] = store.put(OCI_CONFIG, json.dumps(config).encode())
        return store.tag(name, store.put(OCI_MANIFEST, json.dumps(document).encode()))


def files(store: Store) -> list[str]:
    found = (path for path in Path(store.root).rglob("*") if path.is_file())
    return sorted(str(path.relative_to(store.root)) for path in found)


def names(store: Store) -> list[str | None]:
    return [image.name for image in store.images()]


# --- blobs ----------------------------------------------------------------------------------


def test_a_blob_that_is_what_it_says_is_stored(store):
    data = os.urandom(3 << 20)
    with store.hold():
        path = store.ingest(descriptor(data), lambda offset: [data[:99], data[99:]])
    assert Path(path).read_bytes() == data
    assert store.has(descriptor(data))
    assert not os.listdir(f"{store.root}/ingest")


def test_a_blob_that_is_there_is_not_fetched(store):
    with store.hold():
        store.put(OCI_LAYER, b"abc")
        path = store.ingest(descriptor(b"abc"), lambda offset: pytest.fail("fetched again"))
    assert Path(path).read_bytes() == b"abc"


@pytest.mark.parametrize("sent, reason", [
    (b"abcdefgX", "the content has the digest"),
    (b"abcdefg", "7 instead of the 8 bytes"),
    (b"", "0 instead of the 8 bytes"),
    (b"abcdefgh\0", "more than the 8 bytes"),
    (b"abcdefgh" * 1000, "more than the 8 bytes"),
])  # fmt: skip
def test_other_bytes_are_refused_and_leave_nothing(store, sent, reason):
    """IM20, IM21: a flipped byte, a byte too few, a byte too many."""
    with store.hold(), pytest.raises(DigestError, match=reason) as caught:
        store.ingest(descriptor(b"abcdefgh"), lambda offset: [sent[offset:]])
    assert caught.value.hint
    assert files(store) == []


@pytest.mark.parametrize("change", [-1, 1])
def test_a_size_that_is_off_by_one_is_refused(store, change):
    """IM21: the right digest, the wrong size."""
    wrong = descriptor(b"abcdefgh") | {"size": 8 + change}
    with store.hold(), pytest.raises(DigestError):
        store.ingest(wrong, lambda offset: [b"abcdefgh"[offset:]])
    assert files(store) == []


def test_no_more_is_read_than_was_announced(store):
    """IM21, RG09: an answer without end is left at the first byte too many."""
    given = []

    def long(offset):
        for _ in range(1000):
            given.append(1)
            yield b"x" * 100

    with store.hold(), pytest.raises(DigestError):
        store.ingest(descriptor(b"x" * 150), long)
    assert len(given) == 2


def broken_after(data: bytes, count: int):
    """A connection that breaks when ``count`` bytes of the blob have come."""

    def fetch(offset):
        yield data[offset:count]
        raise RegistryError("the connection broke")

    return fetch


def test_what_came_before_a_connection_broke_is_continued(store):
    data = os.urandom(1000)
    with store.hold():
        with pytest.raises(RegistryError):
            store.ingest(descriptor(data), broken_after(data, 600))
        assert not store.has(descriptor(data))
        asked = []
        store.ingest(descriptor(data), lambda offset: asked.append(offset) or [data[offset:]])
    assert asked == [600]
    assert Path(store.blob_path(descriptor(data)["digest"])).read_bytes() == data


@pytest.mark.parametrize("left", [b"\0" * 600, b"\0" * 1000, b"\0" * 2000])
def test_a_damaged_rest_of_an_earlier_pull_is_thrown_away(store, left):
    """RG08: what a power cut left may be zeros, of any length; the digest decides."""
    data = os.urandom(1000)
    with store.hold():
        Path(store.root, "ingest", descriptor(data)["digest"]).write_bytes(left)
        path = store.ingest(descriptor(data), lambda offset: [data[offset:]])
    assert Path(path).read_bytes() == data


@pytest.mark.parametrize("damage", [b"abc", b"abcdefgX", b""])
def test_a_blob_that_is_damaged_is_fetched_again(store, damage):
    """CR14: cut short, or with other bytes in it."""
    with store.hold():
        stored = store.put(OCI_LAYER, b"abcdefgh")
        Path(store.blob_path(stored["digest"])).write_bytes(damage)
        store.ingest(stored, lambda offset: [b"abcdefgh"[offset:]])
    assert store.read(stored["digest"]) == b"abcdefgh"


def test_other_algorithms_have_directories_of_their_own(store):
    digest = "sha512:" + hashlib.sha512(b"abc").hexdigest()
    with store.hold():
        store.ingest({"digest": digest, "size": 3}, lambda offset: [b"abc"])
    assert store.read(digest) == b"abc"


def test_threads_that_want_one_blob_fetch_it_once(store):
    """CR06, within a process."""
    data, fetched = os.urandom(1 << 20), []

    def fetch(offset):
        fetched.append(1)
        for at in range(0, len(data), 1 << 17):
            time.sleep(0.005)
            yield data[at : at + (1 << 17)]

    with store.hold(), ThreadPoolExecutor(8) as threads:
        paths = set(threads.map(lambda _: store.ingest(descriptor(data), fetch), range(8)))
    assert len(fetched) == 1
    assert len(paths) == 1


def test_who_waits_for_a_blob_goes_on_when_the_other_gives_up(store):
    data = os.urandom(1000)

    def slow_and_broken(offset):
        yield data[:500]
        time.sleep(0.2)
        raise RegistryError("the connection broke")

    with store.hold(), ThreadPoolExecutor(2) as threads:
        first = threads.submit(store.ingest, descriptor(data), slow_and_broken)
        time.sleep(0.1)
        second = threads.submit(store.ingest, descriptor(data), lambda offset: [data[offset:]])
        with pytest.raises(RegistryError):
            first.result()
        assert Path(second.result()).read_bytes() == data


@contextmanager
def small_disk(path: Path, options: str):
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", options, "minirun-test", path)
    try:
        yield path
    finally:
        run("umount", path)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, size):
    """CR04: the error names the path and the room; with more of it, it works."""
    data = os.urandom(4 << 20)
    with small_disk(tmp_path / "disk", f"size={size}m") as disk:
        store = Store(str(disk / "images"))
        with store.hold():
            old = store.put(OCI_LAYER, b"old")
            with pytest.raises(StoreError, match=r"ingest.*No space left.*0 bytes free") as caught:
                store.ingest(descriptor(data), lambda offset: [data[offset:]])
            assert caught.value.hint
            assert files(store) == [f"blobs/sha256/{old['digest'][7:]}"]
            run("mount", "-o", "remount,size=8m", disk)
            store.ingest(descriptor(data), lambda offset: [data[offset:]])


def test_no_inodes_left_is_an_error_of_the_system(tmp_path):
    """CR04: the kernel's own words, which the command line prints."""
    with small_disk(tmp_path / "disk", "nr_inodes=6") as disk:
        store = Store(str(disk / "images"))
        with pytest.raises(OSError, match="No space left"), store.hold():
            for number in range(6):
                store.put(OCI_LAYER, bytes([number]))


# --- names ----------------------------------------------------------------------------------


def test_a_store_appears_when_something_is_put_in(store):
    assert store.images() == []
    assert not os.path.exists(store.root)
    an_image(store, "localhost/a:1")
    assert json.loads(Path(store.root, "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert os.stat(store.root).st_mode & 0o777 == 0o700


def test_skopeo_reads_the_store(store):
    require("skopeo")
    image = an_image(store, "docker.io/library/a:1", config={"Env": ["A=b"]})
    shown = json.loads(run("skopeo", "inspect", f"oci:{store.root}:docker.io/library/a:1"))
    assert shown["Digest"] == image.digest
    assert shown["Layers"] == [layer["digest"] for layer in image.layers]
    assert shown["Env"] == ["A=b"]


def test_an_image_knows_itself(store):
    an_image(store, "localhost/a:1", created="2026-01-01T00:00:00Z")
    image = store.resolve("localhost/a:1")
    assert image.id == image.manifest["config"]["digest"]
    assert image.source == image.digest
    assert image.diff_ids == [layer["digest"] for layer in image.layers]
    assert (str(image.platform), image.created) == ("linux/amd64", "2026-01-01T00:00:00Z")
    blobs = [Path(path).stat().st_size for path in Path(store.root, "blobs/sha256").iterdir()]
    assert image.size == sum(blobs)


@pytest.mark.parametrize("text, expected", [
    ("a", "docker.io/library/a:latest"),
    ("a:1", "docker.io/library/a:1"),
    ("docker.io/a", "docker.io/library/a:latest"),
    ("tiny", "localhost/tiny:latest"),
    ("localhost/tiny", "localhost/tiny:latest"),
    ("both", "docker.io/library/both:latest"),
    ("abc", "docker.io/library/abc:latest"),
])  # fmt: skip
def test_a_name_is_found(store, text, expected):
    for name in ("docker.io/library/a:latest", "docker.io/library/a:1", "localhost/tiny:latest",
                 "localhost/both:latest", "docker.io/library/both:latest",
                 "docker.io/library/abc:latest"):
        an_image(store, name)
    assert store.resolve(text).name == expected


def test_an_id_is_found_by_its_beginning(store):
    image = an_image(store, "localhost/a:1")
    an_image(store, "localhost/b:1")
    for text in (image.id, image.id[7:], image.id[:19], image.id[7:19]):
        assert store.resolve(text).name == "localhost/a:1"


def test_an_id_that_two_images_share_is_refused(store):
    seen = {}
    for number in range(17):  # of 17 images, two have an id that begins alike
        image = an_image(store, f"localhost/a:{number}", author=str(number))
        if other := seen.get(image.id[7]):
            break
        seen[image.id[7]] = image
    with pytest.raises(UsageError, match="several images"):
        store.resolve(image.id[7])
    assert other.id != image.id


def test_a_digest_finds_the_image_of_its_repository(store):
    image = an_image(store, "docker.io/library/a:1")
    other = "sha256:" + "b" * 64
    store.tag("docker.io/library/a:2", image.descriptor, source=other)
    assert store.resolve(f"a@{image.digest}").name == "docker.io/library/a:1"
    assert store.resolve(f"a@{other}").name == "docker.io/library/a:2"
    with pytest.raises(NotFound):
        store.resolve(f"b@{other}")


def test_an_image_pulled_by_digest_has_that_name(store):
    name = "docker.io/library/a@sha256:" + "b" * 64
    an_image(store, name)
    assert store.resolve(name.removeprefix("docker.io/library/")).name == name


@pytest.mark.parametrize("text, error", [
    ("nope", NotFound), ("nope:1", NotFound), ("0123", NotFound), ("f" * 64, NotFound),
    ("UPPER", InvalidReference), ("a/../b", InvalidReference), ("", InvalidReference),
    ("a\n", InvalidReference), ("sha256:" + "f" * 64, NotFound),
])  # fmt: skip
def test_what_is_not_there_is_an_error(store, text, error):
    """IM32."""
    an_image(store, "localhost/a:1")
    with pytest.raises(error):
        store.resolve(text)


def test_a_name_that_moves_leaves_the_old_image_without_one(store):
    old = an_image(store, "localhost/a:1", b"old")
    new = an_image(store, "localhost/a:1", b"new")
    assert [(i.name, i.digest) for i in store.images()] == [
        (None, old.digest), ("localhost/a:1", new.digest)]
    assert store.resolve(old.id[7:]).digest == old.digest
    events, freed = store.prune()
    assert events == [f"Deleted: {old.id}"]
    assert freed == old.size
    assert names(store) == ["localhost/a:1"]


def test_a_name_that_moves_back_and_forth_leaves_no_double(store):
    old = an_image(store, "localhost/a:1", b"old")
    an_image(store, "localhost/a:1", b"new")
    store.tag("localhost/a:1", old.descriptor)
    assert len(names(store)) == 2
    store.tag("localhost/b:1", old.descriptor)
    store.tag("localhost/b:1", old.descriptor)
    assert sorted(map(str, names(store))) == ["None", "localhost/a:1", "localhost/b:1"]


def test_removing_the_last_name_removes_the_image(store):
    image = an_image(store, "localhost/a:1")
    store.tag("localhost/b:1", image.descriptor)
    before, image_id = files(store), image.id
    assert store.remove("localhost/a:1") == ["Untagged: localhost/a:1"]
    assert files(store) == before
    assert store.remove("localhost/b:1") == ["Untagged: localhost/b:1", f"Deleted: {image_id}"]
    assert files(store) == ["index.json", "oci-layout"]


def test_removing_by_id_takes_all_names_if_forced(store):
    image = an_image(store, "localhost/a:1")
    store.tag("localhost/b:1", image.descriptor)
    with pytest.raises(UsageError, match="several names"):
        store.remove(image.id[7:19])
    assert len(names(store)) == 2
    events = store.remove(image.id[7:19], force=True)
    assert events == ["Untagged: localhost/a:1", "Untagged: localhost/b:1", f"Deleted: {image.id}"]


def test_what_two_images_share_stays_for_the_other(store):
    an_image(store, "localhost/a:1", b"shared", author="a")
    other = an_image(store, "localhost/b:1", b"shared", author="b")
    store.remove("localhost/a:1")
    for blob in (other.descriptor, other.manifest["config"], *other.layers):
        assert store.has(blob)


def test_nothing_is_deleted_while_somebody_holds(store):
    """CR07: a pull that has found a blob must not lose it to an rmi."""
    image = an_image(store, "localhost/a:1")
    with store.hold():
        assert store.remove("localhost/a:1")[-1] == f"Deleted: {image.id}"
        assert store.has(image.descriptor)
        assert names(store) == []
        with pytest.raises(StoreError, match=f"locked by process {os.getpid()}"):
            store.sweeping(wait=0.1)
    assert store.prune() == ([], image.size)
    assert not store.has(image.descriptor)


def test_what_a_container_needs_only_loses_its_name(store):
    """CR08"""
    image = an_image(store, "localhost/a:1")
    store.tag("localhost/b:1", image.descriptor)
    assert store.remove("localhost/a:1", used={image.id}) == ["Untagged: localhost/a:1"]
    assert store.remove("localhost/b:1", used={image.id}) == ["Untagged: localhost/b:1"]
    assert names(store) == [None]
    assert store.remove(image.id[7:], used={image.id}) == []
    assert store.resolve(image.id).layers
    assert store.prune(lambda _: False) == ([], 0)
    assert store.remove(image.id[7:]) == [f"Deleted: {image.id}"]
    assert names(store) == []


def test_who_prunes_says_what_is_unwanted(store):
    old = an_image(store, "localhost/old:1", author="x").id
    an_image(store, "localhost/new:1")
    events, freed = store.prune(lambda image: image.config.get("author") == "x")
    assert events == ["Untagged: localhost/old:1", f"Deleted: {old}"]
    assert freed > 0
    assert names(store) == ["localhost/new:1"]


def test_leftovers_of_pulls_are_pruned(store):
    data = os.urandom(1000)
    with store.hold(), pytest.raises(RegistryError):
        store.ingest(descriptor(data), broken_after(data, 600))
    assert store.prune() == ([], 600)


def test_a_damaged_image_is_told_and_nothing_else_is_deleted(store):
    image = an_image(store, "localhost/a:1")
    an_image(store, "localhost/b:1")
    before = files(store)
    for damage in (b"{", b"[]", b"\xff"):
        Path(store.blob_path(image.digest)).write_bytes(damage)
        with pytest.raises(StoreError, match="is damaged"):
            store.resolve("localhost/a:1").config  # noqa: B018
        with pytest.raises(StoreError, match="is damaged"):
            store.prune()
    assert files(store) == before
    os.unlink(store.blob_path(image.digest))
    with pytest.raises(StoreError, match="is missing") as caught:
        store.prune()
    assert caught.value.hint == "minirun pull localhost/a:1 mends it"


def test_a_damaged_image_can_be_removed_and_no_other_suffers(store):
    image = an_image(store, "localhost/a:1")
    other = an_image(store, "localhost/b:1")
    other_id = other.id
    Path(store.blob_path(image.digest)).write_bytes(b"{")
    with pytest.raises(StoreError, match="localhost/a:1: "):
        store.remove("localhost/b:1")  # the name goes; its blobs could be the other's too
    assert store.has(other.descriptor)
    assert store.remove("localhost/a:1") == ["Untagged: localhost/a:1", f"Deleted: {image.digest}"]
    assert other_id and files(store) == ["index.json", "oci-layout"]


def test_who_looked_just_before_a_blob_came_does_not_fetch_it_again(store, monkeypatch):
    """CR06: the blob is renamed to its place between the look and the lock."""
    looks = []

    def late(descriptor, look=store._is_right):
        looks.append(look(descriptor))
        if len(looks) == 1:
            Store(store.root).put(OCI_LAYER, b"abc")
        return looks[-1]

    monkeypatch.setattr(store, "_is_right", late)
    with store.hold():
        store.ingest(descriptor(b"abc"), lambda offset: pytest.fail("fetched again"))
    assert looks == [False, True, True]
    assert not os.listdir(f"{store.root}/ingest")


@pytest.mark.parametrize("damage", [
    "", "{", "[]", "null", "{}", '{"manifests": 7}', '{"manifests": [7]}', '{"manifests": [{}]}',
    '{"manifests": [{"mediaType": 7, "digest": "x", "size": 1}]}',
    '{"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,'
    ' "digest": "sha256:../../../../etc/passwd"}]}',
])  # fmt: skip
def test_a_damaged_index_is_told(store, damage):
    """CR14: an error that names the file, and no traceback."""
    an_image(store, "localhost/a:1")
    Path(store.root, "index.json").write_text(damage)
    with pytest.raises(StoreError, match=r"index\.json is damaged"):
        store.images()


def test_tagging_at_once_loses_no_name(store):
    """The lock on the index: sixteen writers, sixteen names."""
    image = an_image(store, "localhost/a:1")
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: store.tag(f"localhost/b:{n}", image.descriptor), range(16)))
    assert len(names(store)) == 17


# --- locks ----------------------------------------------------------------------------------


@contextmanager
def another_process(code: str, *arguments: object):
    """Python code that runs until the block ends; it says "ready" when it has what it wants."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


HOLDER = """
import sys, time
from minirun.image import lock
with lock.exclusive(sys.argv[1]):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_lock_dies_with_its_holder(tmp_path):
    """CR09: killed with -9."""
    with another_process(HOLDER, tmp_path) as holder:
        with pytest.raises(StoreError):
            lock.exclusive(str(tmp_path), wait=0.05)
        holder.kill()
        holder.wait()
        with lock.exclusive(str(tmp_path), wait=0.05):
            pass


def test_who_waits_too_long_learns_for_whom(tmp_path):
    """CR09: a holder that is stopped."""
    with another_process(HOLDER, tmp_path) as holder:
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(StoreError, match=f"process {holder.pid}") as caught:
            lock.shared(str(tmp_path), wait=0.1)
        assert caught.value.hint


def test_shared_locks_bear_each_other_and_no_exclusive_one(tmp_path):
    with lock.shared(str(tmp_path)), lock.shared(str(tmp_path), wait=0):
        with pytest.raises(StoreError):
            lock.exclusive(str(tmp_path), wait=0)
    with lock.exclusive(str(tmp_path), wait=0):
        pass


def test_progress_of_the_holder_prolongs_the_wait(tmp_path):
    with another_process(HOLDER, tmp_path) as holder:
        fd = os.open(tmp_path, os.O_RDONLY)
        ticks = iter([*range(10), *[99] * 1000])
        started = time.monotonic()
        with pytest.raises(StoreError, match=str(holder.pid)):
            lock.acquire(fd, fcntl.LOCK_EX, "x", wait=0.05, progress=lambda: next(ticks))
        assert time.monotonic() - started > 0.05 + 9 * lock.INTERVAL
        os.close(fd)


def test_a_blob_that_does_not_grow_is_waited_for_in_vain(store, monkeypatch):
    """CR09: another pull is stopped in the middle of a blob; we say which, and end."""
    monkeypatch.setattr(blobs, "STALLED", 0.1)
    with store.hold():
        partial = Path(store.root, "ingest", descriptor(b"abc")["digest"])
        partial.write_bytes(b"a")
        with another_process(HOLDER, partial) as holder:
            with pytest.raises(StoreError, match=str(holder.pid)):
                store.ingest(descriptor(b"abc"), lambda offset: [b"abc"[offset:]])
        store.ingest(descriptor(b"abc"), lambda offset: [b"abc"[offset:]])
