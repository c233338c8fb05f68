"""Images made here: what others read in them, and what is left when making one fails."""

import hashlib
import io
import json
import os
import tarfile
import zlib

import pytest

from minirun.errors import ManifestError
from minirun.image import making
from minirun.image.snapshot import Snapshots
from minirun.image.store import Store
from tests.components import require
from tests.image.hostile import file, tar
from tests.images import layout, run

CONFIG = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/bin/sh"]}}
TAR = tar(file("hello"))


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def add(store, data):
    with making.new_layer(store) as layer:
        for at in range(0, len(data), 1000):
            layer.write(data[at : at + 1000])
    return layer


def test_a_layer_is_what_was_written(store):
    with store.hold():
        layer = add(store, TAR)
    blob = store.read(layer.descriptor["digest"])
    assert zlib.decompress(blob, 31) == TAR
    assert layer.diff_id == f"sha256:{hashlib.sha256(TAR).hexdigest()}"
    assert layer.descriptor["digest"] == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert layer.descriptor["size"] == len(blob)
    assert os.listdir(store.root + "/ingest") == []


def test_the_same_again_is_the_same_image(store):
    with store.hold():
        first = making.make(store, "localhost/a:1", CONFIG, [add(store, TAR)])
        again = making.make(store, None, CONFIG, [add(store, TAR)])
    assert first.id == again.id
    assert [image.name for image in store.images()] == ["localhost/a:1"]


def test_an_image_without_a_name_is_found_by_its_id_and_pruned(store):
    with store.hold():
        image = making.make(store, None, CONFIG, [add(store, TAR)])
        making.make(store, None, CONFIG, [add(store, TAR)])
    assert [other.id for other in store.images()] == [image.id]
    assert store.resolve(image.id[7:19]).name is None
    assert store.prune()[0] == [f"Deleted: {image.id}"]


def test_skopeo_reads_an_image_above_one_of_docker(store, tmp_path):
    """The layers below get the OCI's names of their types: the two don't mix in a manifest."""
    require("skopeo")
    run("skopeo", "copy", f"oci:{layout('busybox')}:latest", f"dir:{tmp_path}/v2", "--format=v2s2")
    manifest = json.loads((tmp_path / "v2/manifest.json").read_text())
    assert manifest["layers"][0]["mediaType"].startswith("application/vnd.docker.")
    with store.hold():
        for blob in (manifest["config"], *manifest["layers"]):
            data = (tmp_path / "v2" / blob["digest"][7:]).read_bytes()
            store.ingest(blob, lambda offset, data=data: [data[offset:]])
        below = store.tag("localhost/below:1", store.put(
            manifest["mediaType"], json.dumps(manifest).encode()))
        config = below.config | {"history": []}
        image = making.make(store, "localhost/x:1", config, [add(store, TAR)], below=below)
    seen = json.loads(run("skopeo", "inspect", "--raw", f"oci:{store.root}:localhost/x:1"))
    assert [layer["mediaType"] for layer in seen["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar+gzip"] * 2
    run("skopeo", "copy", f"oci:{store.root}:localhost/x:1", f"dir:{tmp_path}/copy")
    assert image.diff_ids[0] == below.diff_ids[0]


def test_what_was_made_can_be_unpacked(store, tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for n in range(3000):
            archive.addfile(tarfile.TarInfo(f"file{n}"))
    with store.hold():
        image = making.make(store, "localhost/x:1", CONFIG, [add(store, data.getvalue())])
    snapshots = Snapshots(str(tmp_path / "layers"))
    path = snapshots.add(store.blob_path(image.layers[0]["digest"]), image.diff_ids)
    assert len(os.listdir(path)) == 3000


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "x")])
def test_a_layer_that_fails_leaves_nothing(store, error):
    with store.hold(), pytest.raises(type(error) if isinstance(error, OSError) else error):
        with making.new_layer(store) as layer:
            layer.write(b"x" * making.CHUNK)
            raise error
    assert os.listdir(store.root + "/ingest") == []
    assert os.listdir(store.root + "/blobs/sha256") == []


def test_no_image_is_made_that_we_would_not_pull(store):
    wrong = CONFIG | {"config": {"Cmd": "not a list"}}
    with store.hold(), pytest.raises(ManifestError, match="Cmd"):
        making.make(store, "localhost/x:1", wrong, [add(store, TAR)])
    assert store.images() == []
