"""A pull step by step, from a registry on loopback that lies where a test wants it to."""

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from minirun.errors import (
    DigestError,
    Error,
    ImageError,
    LayerError,
    ManifestError,
    PlatformError,
    RegistryError,
    StoreError,
)
from minirun.image import platform, progress, reference, transfer
from minirun.image.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from minirun.image.snapshot import Snapshots
from minirun.image.store import Store
from tests.image.fake_registry import body, chunked, cut, fake_registry, forever, header, status
from tests.images import directory, file, run

REPOSITORY = "lib/app"


@pytest.fixture
def fake():
    with fake_registry() as server:
        yield server


class Puller:
    """Pulls from the fake registry into a store of its own."""

    def __init__(self, fake, root: Path) -> None:
        self.fake = fake
        self.store = Store(str(root / "images"))
        self.snapshots = Snapshots(str(root / "layers"))
        self.told: list[tuple[str, list[str]]] = []

    def __call__(self, suffix: str = ":1", wanted: str = "linux/amd64", **options):
        return transfer.pull(
            reference.parse(f"{self.fake.host}/{REPOSITORY}{suffix}"),
            self.store,
            self.snapshots,
            wanted=platform.parse(wanted),
            explain=lambda step, lines: self.told.append((step.__name__, lines)),
            **options,
        )

    def state(self) -> set[str]:
        """All that is stored: files of the images, and directories of the layers."""
        images = (p for p in Path(self.store.root).rglob("*") if p.is_file())
        layers = Path(self.snapshots.root)
        return {str(p) for p in (*images, *(layers.iterdir() if layers.exists() else ()))}


@pytest.fixture
def pull(fake, tmp_path):
    return Puller(fake, tmp_path)


def layer(*entries) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


TWO_LAYERS = (
    layer(directory("etc"), file("etc/one", "1"), file("etc/both", "old")),
    layer(directory("etc"), file("etc/two", "2"), file("etc/both", "new")),
)


def an_image(fake, layers=TWO_LAYERS, tag="1", architecture="amd64", diff_ids=None, **more) -> dict:
    """Put an image into the registry; the descriptor of its manifest."""
    config = {"os": "linux", "architecture": architecture, **more}
    diff_ids = diff_ids or [digest_of(data) for data in layers]
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": fake.blob(json.dumps(config).encode(), REPOSITORY, OCI_CONFIG),
        "layers": [fake.blob(data, REPOSITORY, OCI_LAYER) for data in layers],
    }
    return publish(fake, document, tag)


def publish(fake, document: dict, tag: str = "1") -> dict:
    digest = fake.manifest(REPOSITORY, tag, document, document["mediaType"])
    size = len(json.dumps(document).encode())
    return {"mediaType": document["mediaType"], "digest": digest, "size": size}


def index_of(*entries: dict) -> dict:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}


def for_platform(descriptor: dict, name: str) -> dict:
    system, architecture = name.split("/")
    return descriptor | {"platform": {"os": system, "architecture": architecture}}


# --- what a pull gives ----------------------------------------------------------------------


def test_a_pull_gives_an_image_that_is_unpacked(fake, pull):
    manifest = an_image(fake)
    image = pull()
    assert image.name == f"{fake.host}/{REPOSITORY}:1"
    assert (image.digest, image.source) == (manifest["digest"], manifest["digest"])
    assert pull.store.resolve(image.name).id == image.id
    newest, oldest = pull.snapshots.lowers(image.config)
    assert Path(newest, "etc/both").read_text() == "new"
    assert Path(oldest, "etc/one").read_text() == "1"
    assert not os.listdir(f"{pull.store.root}/ingest")


def test_a_second_pull_asks_for_the_manifest_only(fake, pull):
    an_image(fake)
    pull()
    fake.requests.clear()
    pull()
    assert [r.target for r in fake.requests] == [f"/v2/{REPOSITORY}/manifests/1"]


@pytest.mark.parametrize("damage", [b"", b"short"])
def test_a_second_pull_mends_what_is_damaged(fake, pull, damage):
    """CR14: a layer, a config and a manifest that were cut short."""
    image = an_image(fake) and pull()
    damaged = (image.descriptor, image.manifest["config"], *image.layers)
    for blob in damaged:
        Path(pull.store.blob_path(blob["digest"])).write_bytes(damage)
    pull()
    for blob in damaged:
        assert digest_of(pull.store.read(blob["digest"])) == blob["digest"]


def test_what_another_image_brought_is_not_fetched_again(fake, pull):
    an_image(fake)
    an_image(fake, (*TWO_LAYERS, layer(file("three", "3"))), tag="2")
    pull()
    fake.requests.clear()
    pull(":2")
    fetched = [r.target.rpartition("/")[2] for r in fake.asked("/blobs/")]
    assert len(fetched) == 2  # the config and one layer
    assert not {digest_of(data) for data in TWO_LAYERS} & set(fetched)


def test_a_layer_that_comes_twice_is_fetched_once(fake, pull):
    an_image(fake, (TWO_LAYERS[0], TWO_LAYERS[1], TWO_LAYERS[0]))
    lowers = pull.snapshots.lowers(pull().config)
    assert lowers[0] == lowers[2]
    assert len(fake.asked("/blobs/")) == 3


def test_a_layer_that_leans_on_those_below_is_unpacked_after_them(fake, pull):
    link = tarfile.TarInfo("etc/link")
    link.type, link.linkname = tarfile.LNKTYPE, "etc/one"
    an_image(fake, (TWO_LAYERS[0], layer((link, b""))))
    lowers = pull.snapshots.lowers(pull().config)
    assert Path(lowers[0], "etc/link").read_text() == "1"


@pytest.mark.parametrize("order", [("alone", "above"), ("above", "alone")])
def test_a_layer_hides_what_is_below_it_also_where_it_is_the_base_of_another(fake, pull, order):
    """A base has nothing to hide; that must not spoil the same layer elsewhere, nor the reverse."""
    hiding = layer(directory("etc"), file("etc/.wh.one", ""), file("etc/x", "x"))
    an_image(fake, (hiding,), tag="alone")
    an_image(fake, (TWO_LAYERS[0], hiding), tag="above")
    lowers = {tag: pull.snapshots.lowers(pull(f":{tag}").config) for tag in order}
    assert os.listdir(f"{lowers['alone'][0]}/etc") == ["x"]
    assert sorted(os.listdir(f"{lowers['above'][0]}/etc")) == ["one", "x"]
    assert stat.S_ISCHR(os.stat(f"{lowers['above'][0]}/etc/one").st_mode)  # a whiteout


def test_an_image_pulled_by_digest_has_that_name(fake, pull):
    digest = an_image(fake)["digest"]
    image = pull(f"@{digest}")
    assert image.name == f"{fake.host}/{REPOSITORY}@{digest}"
    assert pull.store.resolve(image.name).digest == digest


def test_an_index_leads_to_the_image_for_this_machine(fake, pull):
    """IM26; what the name stood for stays known, for `repository@digest`."""
    wanted = an_image(fake, tag="amd64")
    other = an_image(fake, tag="arm64", architecture="arm64")
    index = publish(fake, index_of(for_platform(other, "linux/arm64"),
                                   for_platform(wanted, "linux/amd64")))
    image = pull()
    assert (image.digest, image.source) == (wanted["digest"], index["digest"])
    assert pull.store.resolve(f"{fake.host}/{REPOSITORY}@{index['digest']}").digest == image.digest
    assert str(pull(wanted="linux/arm64").platform) == "linux/arm64"


def test_an_index_within_an_index_is_followed(fake, pull):
    wanted = an_image(fake, tag="amd64")
    inner = publish(fake, index_of(for_platform(wanted, "linux/amd64")), "inner")
    publish(fake, index_of(inner))
    assert pull().digest == wanted["digest"]


def test_data_within_a_descriptor_is_not_used(fake, pull):
    """IM30: the content is what has the digest, whatever the manifest claims it is."""
    an_image(fake)
    document = json.loads(fake.contents[f"/v2/{REPOSITORY}/manifests/1"].body)
    for descriptor in (document["config"], *document["layers"]):
        descriptor["data"] = "bm9uc2Vuc2U="
    publish(fake, document)
    assert str(pull().platform) == "linux/amd64"


def test_every_step_is_told_with_what_it_did(fake, pull):
    descriptor = for_platform(an_image(fake, tag="amd64"), "linux/amd64")
    publish(fake, index_of(descriptor))
    pull()
    assert [name for name, _ in pull.told] == [step.__name__ for step in transfer.STEPS]
    told = dict(pull.told)
    assert any("/manifests/1" in line for line in told["find_name"])
    assert any(descriptor["digest"] in line for line in told["choose_platform"])
    for data in TWO_LAYERS:
        assert any(digest_of(data) in line and "whiteouts" in line for line in told["fetch_layers"])


def test_every_step_says_why_how_and_where():
    for step in transfer.STEPS:
        assert all(f"\n    {field}:" in step.__doc__ for field in ("why", "shell", "man"))


# --- what goes wrong ------------------------------------------------------------------------


def flip(fake, data: bytes) -> None:
    """The registry sends a blob with its last byte changed; the length stays."""
    fake.on(digest_of(data), body(data[:-1] + bytes([data[-1] ^ 1])))


def change(fake, **fields) -> None:
    """Publish the image's manifest with a field of its last layer changed."""
    document = json.loads(fake.contents[f"/v2/{REPOSITORY}/manifests/1"].body)
    document["layers"][-1] |= fields
    publish(fake, document)


def wrong_layer(fake):
    an_image(fake)
    flip(fake, TWO_LAYERS[1])


def wrong_config(fake):
    config = json.loads(fake.contents[f"/v2/{REPOSITORY}/manifests/1"].body)["config"]
    fake.on(config["digest"], body(b"x" * config["size"]))


def wrong_manifest(fake):
    sent = fake.contents[f"/v2/{REPOSITORY}/manifests/1"].body
    fake.on("/manifests/", body(sent.replace(b"sha256", b"sha512")))


def too_large(fake):
    change(fake, size=len(TWO_LAYERS[1]) - 1)


def too_small(fake):
    change(fake, size=len(TWO_LAYERS[1]) + 1)
    fake.on(digest_of(TWO_LAYERS[1]), forever(header()))


def size_zero(fake):
    change(fake, size=0)


def wrong_diff_id(fake):
    an_image(fake, diff_ids=[digest_of(TWO_LAYERS[0]), "sha256:" + "e" * 64])


def no_tar(fake):
    an_image(fake, (TWO_LAYERS[0], b"this is no tar" * 100))


def cut_tar(fake):
    an_image(fake, (TWO_LAYERS[0], TWO_LAYERS[1][:1024]))


def climbing_tar(fake):
    an_image(fake, (TWO_LAYERS[0], layer(file("../../outside", "x"))))


def other_platform(fake):
    descriptor = an_image(fake, architecture="s390x")
    publish(fake, index_of(for_platform(descriptor, "linux/s390x")))


def other_platform_without_an_index(fake):
    an_image(fake, architecture="s390x")


def lying_platform(fake):
    descriptor = an_image(fake, architecture="s390x")
    publish(fake, index_of(for_platform(descriptor, "linux/amd64")))


def one_diff_id_too_few(fake):
    an_image(fake, diff_ids=[digest_of(TWO_LAYERS[0])])


def lying_child_size(fake):
    descriptor = for_platform(an_image(fake), "linux/amd64")
    publish(fake, index_of(descriptor | {"size": descriptor["size"] + 1}))


def endless_indexes(fake):
    descriptor = an_image(fake)
    for depth in range(9):
        descriptor = publish(fake, index_of(descriptor), str(depth))
    fake.contents[f"/v2/{REPOSITORY}/manifests/1"] = fake.contents[f"/v2/{REPOSITORY}/manifests/8"]


def schema_1(fake):
    old = {"schemaVersion": 1, "name": "x", "fsLayers": [], "history": [], "signatures": []}
    fake.manifest(REPOSITORY, "1", old, "application/vnd.docker.distribution.manifest.v1+json")


def html(fake):
    fake.manifest(REPOSITORY, "1", b"<html>sign in</html>", "text/html")


def foreign_layer(fake):
    change(fake, urls=[f"{fake.url}/evil"])


def huge_layer(fake):
    change(fake, size=1 << 60)


def unknown_layer(fake):
    change(fake, mediaType="application/vnd.oci.image.layer.v1.tar+rar")


def path_as_digest(fake):
    change(fake, digest="sha256:../../../../etc/passwd")


def no_such_tag(fake):
    for path in [path for path in fake.contents if "/manifests/" in path]:
        del fake.contents[path]


def no_such_blob(fake):
    fake.on(digest_of(TWO_LAYERS[1]), forever(status(404)))


FAULTS = {
    wrong_layer: DigestError,
    wrong_config: DigestError,
    wrong_manifest: DigestError,
    too_large: DigestError,
    too_small: ImageError,
    size_zero: DigestError,
    wrong_diff_id: DigestError,
    no_tar: LayerError,
    cut_tar: LayerError,
    climbing_tar: LayerError,
    other_platform: PlatformError,
    other_platform_without_an_index: PlatformError,
    lying_platform: PlatformError,
    one_diff_id_too_few: ManifestError,
    lying_child_size: ManifestError,
    endless_indexes: ManifestError,
    schema_1: ManifestError,
    html: ManifestError,
    foreign_layer: ManifestError,
    huge_layer: StoreError,
    unknown_layer: ManifestError,
    path_as_digest: ManifestError,
    no_such_tag: RegistryError,
    no_such_blob: RegistryError,
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("earlier", [True, False], ids=["later", "first"])
def test_a_fault_is_told_and_the_next_pull_works(fake, pull, fault, earlier):
    """IM20–IM29, IM05: the images are as before, no wrong byte stays, and nothing is spoilt."""
    if earlier:
        an_image(fake, (layer(file("other", "o")),), tag="0")
        pull(":0")
    an_image(fake)
    images, state = [i.name for i in pull.store.images()], pull.state()
    fault(fake)
    with pytest.raises(FAULTS[fault]) as caught:
        pull()
    assert caught.value.message.isprintable()
    assert [i.name for i in pull.store.images()] == images
    if not issubclass(FAULTS[fault], RegistryError):
        assert stored_images(pull.state() - state) == set()
    assert not fake.asked("/evil")
    fake._faults.clear()
    an_image(fake)
    assert len(pull.snapshots.lowers(pull().config)) == 2


def stored_images(paths: set[str]) -> set[str]:
    """Without the empty layout, and without layers that were unpacked, and are right."""
    right = {f"/layers/{digest_of(data)[7:]}" for data in TWO_LAYERS}
    return {p for p in paths if not any(p.endswith(r) for r in (*right, "oci-layout"))}


def test_a_pull_that_fails_leaves_no_process_and_no_mount(fake, pull, residue):
    an_image(fake)
    wrong_layer(fake)
    with pytest.raises(DigestError):
        pull()


def test_a_cut_layer_is_continued_where_it_was_cut(fake, pull):
    """RG08: what came before is not asked for again; at most the last mebibyte is."""
    data = layer(file("big", os.urandom(3 << 20)))
    an_image(fake, (data,))
    fake.on(digest_of(data), cut(5 << 19))
    pull()
    first, second = [r.headers.get("range", "") for r in fake.asked(digest_of(data))]
    assert first == ""
    assert int(second.removeprefix("bytes=").removesuffix("-")) >= 3 << 19


def test_a_pull_continues_what_an_earlier_one_left(fake, pull):
    """The registry is asked for the rest, and the digest is that of the whole."""
    an_image(fake)
    data = TWO_LAYERS[1]
    with pull.store.hold():
        Path(pull.store.root, "ingest", digest_of(data)).write_bytes(data[:700])
    pull()
    assert [r.headers.get("range") for r in fake.asked(digest_of(data))] == ["bytes=700-"]


def test_a_blob_without_a_length_is_taken_if_it_is_right(fake, pull):
    """RG09."""
    an_image(fake)
    fake.on(digest_of(TWO_LAYERS[1]), chunked())
    lowers = pull.snapshots.lowers(pull().config)
    assert [Path(lower, "etc/both").read_text() for lower in lowers] == ["new", "old"]


def test_a_manifest_may_come_without_its_media_type(fake, pull):
    wanted = an_image(fake)
    fake.on("/manifests/", header(Content_Type="application/json"))
    assert pull().digest == wanted["digest"]


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(fake, tmp_path):
    """CR04."""
    an_image(fake, (TWO_LAYERS[0], os.urandom(4 << 20)))
    (tmp_path / "disk").mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=2m", "minirun-test", tmp_path / "disk")
    try:
        pull = Puller(fake, tmp_path / "disk")
        with pytest.raises(StoreError, match=r"needs 4\.2MB, 2\.\d+MB are free"):
            pull()
        assert not fake.asked(digest_of(TWO_LAYERS[0]))
        an_image(fake)
        pull()
    finally:
        run("umount", tmp_path / "disk")


def test_a_disk_that_is_full_leaves_no_image_and_no_rest(fake, tmp_path):
    """CR04: at every size of the disk the pull ends well or with an error that says why."""
    an_image(fake, (layer(file("big", os.urandom(300_000))), *TWO_LAYERS))
    outcomes = set()
    for size in range(4, 1200, 92):
        place = tmp_path / f"disk{size}"
        place.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={size}k", "minirun-test", place)
        try:
            pull = Puller(fake, place)
            try:
                pull()
                outcomes.add("pulled")
            except (Error, OSError) as error:
                outcomes.add("refused")
                assert "No space left" in str(error) or "no space left" in str(error) \
                    or "are free" in str(error)
                assert pull.store.images() == []
                run("mount", "-o", "remount,size=4m", place)
                pull()
            assert len(pull.store.images()) == 1
        finally:
            run("umount", place)
    assert outcomes == {"pulled", "refused"}


# --- what people see ------------------------------------------------------------------------


class Screen(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_a_pipe_gets_plain_lines(fake, pull):
    an_image(fake)
    screen = Screen(terminal=False)
    pull(progress=progress.choose(screen))
    lines = screen.getvalue().splitlines()
    assert sorted(line.split()[1] for line in lines[:2]) == ["1/2", "2/2"]
    assert ": 2 layers, fetched " in lines[2]
    assert screen.getvalue().replace("\n", "").isprintable()


def test_a_second_pull_is_up_to_date(fake, pull):
    an_image(fake)
    pull()
    screen = Screen(terminal=False)
    pull(progress=progress.choose(screen))
    assert "up to date" in screen.getvalue()
    assert screen.getvalue().count("\n") == 1


def test_what_a_layer_warns_of_is_said_once(fake, pull, monkeypatch):
    """Where overlayfs cannot be used, layers are copied: aloud, and also for who wants it quiet."""
    from minirun.image import overlay

    monkeypatch.setattr(overlay, "obstacle", lambda directory: "not today")
    an_image(fake, (*TWO_LAYERS, layer(file("three", "3"))))
    screen = Screen(terminal=False)
    pull(progress=progress.choose(screen, quiet=True))
    assert screen.getvalue().count("warning: ") == 1
    assert "not today" in screen.getvalue()


def test_quiet_says_nothing(fake, pull):
    an_image(fake)
    screen = Screen(terminal=True)
    pull(progress=progress.choose(screen, quiet=True))
    assert screen.getvalue() == ""


def test_a_terminal_gets_bars_that_are_gone_at_the_end(fake, pull, monkeypatch):
    an_image(fake, (*TWO_LAYERS, layer(file("big", os.urandom(4 << 20)))))
    monkeypatch.setattr(progress, "REDRAW", 0)
    monkeypatch.setenv("TERM", "xterm")
    drawn = drawn_on_a_terminal(lambda screen: pull(progress=progress.choose(screen)), columns=60)
    assert "█" in drawn and "unpacking" in drawn and "layers ready" in drawn
    shown = left_on_the_screen(drawn, columns=60)
    assert len(shown) == 1
    assert re.search(r": 3 layers, fetched 4\.\d+MB in ", shown[0])


def test_an_error_finds_a_clean_terminal(fake, pull, monkeypatch):
    wrong_layer(fake)
    monkeypatch.setattr(progress, "REDRAW", 0)
    monkeypatch.setenv("TERM", "xterm")

    def fail(screen):
        with pytest.raises(DigestError):
            pull(progress=progress.choose(screen))

    assert left_on_the_screen(drawn_on_a_terminal(fail, columns=80), columns=80) == []


def drawn_on_a_terminal(draw, columns: int) -> str:
    """All that ``draw(screen)`` writes, where ``screen`` is a terminal."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    read = []

    def reader():
        with suppress(OSError):  # EIO: the other side is closed
            while data := os.read(ours, 1 << 16):
                read.append(data)

    thread = threading.Thread(target=reader)
    thread.start()
    with os.fdopen(theirs, "w") as screen:
        draw(screen)
    thread.join()
    os.close(ours)
    return b"".join(read).decode()


def left_on_the_screen(drawn: str, columns: int) -> list[str]:
    """The lines one sees at the end. Knows what the bars use: ESC[nA, ESC[J, CR, LF."""
    lines, row = [""], 0
    for up, clear, end, text in re.findall(r"\x1b\[(\d+)A|(\x1b\[J)|(\r\n|\r)|([^\r\x1b]+)", drawn):
        if up:
            row -= int(up)
            assert row >= 0
        elif clear:
            lines[row:] = [""]
        elif end == "\r\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text:
            assert len(text) <= columns or ", fetched " in text
            lines[row] = text
    return [line for line in lines if line]


@pytest.mark.parametrize("count, text", [
    (0, "0B"), (999, "999B"), (1000, "1kB"), (1_103_428, "1.1MB"), (63_359_255, "63.4MB"),
    (2_500_000_000, "2.5GB"), (1_200_000_000_000, "1.2TB"),
])  # fmt: skip
def test_sizes_are_written_as_docker_writes_them(count, text):
    assert progress.size_text(count) == text
