"""A Debian root, one layer, unpacked to disk: as it comes (gzip) and as a plain tar."""

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests import images
from tests.bench.measure import Contender, interleave, table


def bench(scratch: Path, runs: int = 5) -> Iterator[str]:
    layout = images.layout("debian")
    layer = only_layer(layout)
    target = scratch / "target"

    def contender(name: str, *command: object) -> Contender:
        return Contender(name, [str(word) for word in command], lambda: prepare(target),
                         lambda: shutil.rmtree(target))

    tar = ("tar", "--extract", "--numeric-owner", "--directory", target)
    results = interleave([
        contender("minirun unpack", "minirun", "unpack", layer, "--into", target),
        contender("GNU tar", *tar, "--gzip", "--file", layer),
        contender("umoci raw unpack", "umoci", "raw", "unpack", "--image", f"{layout}:latest",
                  target / "rootfs"),
    ], runs)
    yield table(f"unpack: Debian, {layer.stat().st_size / 1e6:.0f} MB gzip, {runs} runs", results)

    plain = scratch / "layer.tar"
    with gzip.open(layer) as source, plain.open("wb") as copy:
        shutil.copyfileobj(source, copy)
    results = interleave([
        contender("minirun unpack", "minirun", "unpack", plain, "--into", target),
        contender("GNU tar", *tar, "--file", plain),
    ], runs)
    yield table(f"unpack: Debian, {plain.stat().st_size / 1e6:.0f} MB plain tar, {runs} runs",
                results)


def only_layer(layout: Path) -> Path:
    """The one layer of an image with one layer, as a file of its OCI layout."""
    def blob(descriptor: dict) -> Path:
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob(index["manifests"][0]).read_text())
    (layer,) = manifest["layers"]
    return blob(layer)


def prepare(target: Path) -> None:
    """An empty directory, and no earlier run's data still on its way to the disk."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    os.sync()
