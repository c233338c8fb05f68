"""The images that need no registry: built from the recipes in rootfs/, on this very machine.

A recipe is a folder with two files, and shows all that an image is:

    rootfs/tiny/build.sh        a script that fills a directory: the root filesystem
    rootfs/tiny/config.json     what a container starts with: Cmd, Env, ... (the image spec's words)

``seed(store)`` packs that directory into a layer and stores it as ``localhost/tiny:latest``. Equal
files give equal bytes: the order is the alphabet's, and the times are 1970's.

Image configuration: https://github.com/opencontainers/image-spec/blob/main/config.md
"""

from __future__ import annotations

import os

from minirun.errors import ImageError
from minirun.image import lock
from minirun.image.manifest import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from typing import Any

    from minirun.image.store import Image, Store

RECIPES = os.path.join(os.path.dirname(__file__), "..", "..", "rootfs")


def names() -> list[str]:
    """The canonical names of the embedded images."""
    return [_canonical(recipe) for recipe in _recipes()]


def seed(store: Store) -> list[Image]:
    """Build every embedded image and store it. ImageError if a recipe fails."""
    return [_add(store, recipe) for recipe in _recipes()]


def _recipes() -> list[str]:
    """The folders in rootfs/; none if this is an installation without its project beside it."""
    try:
        return sorted(entry.name for entry in os.scandir(RECIPES) if entry.is_dir())
    except FileNotFoundError:
        return []


def _canonical(recipe: str) -> str:
    return f"localhost/{recipe}:latest"


def _add(store: Store, recipe: str) -> Image:
    """One layer, a config that names it, a manifest that names both, and a name for that."""
    with store.hold():
        data = _build_layer(recipe, os.path.join(store.root, "embedded"))
        layer = store.put(OCI_LAYER, data)
        config = store.put(OCI_CONFIG, _json(_config(recipe, layer["digest"])))
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        manifest |= {"config": config, "layers": [layer]}
        return store.tag(_canonical(recipe), store.put(OCI_MANIFEST, _json(manifest)))


def _config(recipe: str, diff_id: str) -> dict[str, Any]:
    """The image configuration. The layer is not compressed, so its digest is its diff_id too."""
    import json

    from minirun.image.platform import host

    with open(os.path.join(RECIPES, recipe, "config.json"), encoding="utf-8") as file:
        defaults = json.load(file)
    return {
        "created": "1970-01-01T00:00:00Z",
        "architecture": host().architecture,
        "os": "linux",
        "config": defaults,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": f"rootfs/{recipe}/build.sh"}],
    }


def _build_layer(recipe: str, root: str) -> bytes:
    """Run the recipe in the directory ``root``, and pack what it made; ``root`` is gone then.

    What a process that was killed here left is removed first, and nobody else builds meanwhile.
    """
    from minirun.image.tree import rmtree

    with lock.exclusive(os.path.join(RECIPES, recipe)):
        rmtree(root)
        os.mkdir(root)
        try:
            _build(recipe, root)
            return pack(root)
        finally:
            rmtree(root)


def _build(recipe: str, root: str) -> None:
    import subprocess

    script = os.path.abspath(os.path.join(RECIPES, recipe, "build.sh"))
    done = subprocess.run(
        ["sh", script, root],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0o022,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        what = f"cannot build the embedded image {recipe}: {reason[0]}"
        raise ImageError(what, hint=f"sh -x {script} DIRECTORY")


def pack(root: str) -> bytes:
    """The directory tree as an uncompressed layer; its top directory itself is not an entry."""
    import io
    import tarfile

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, directories, files in os.walk(root):
            directories.sort()  # and os.walk descends in this order
            for name in sorted([*directories, *files]):
                full = os.path.join(path, name)
                tar.add(full, os.path.relpath(full, root), recursive=False, filter=_normal)
    return layer.getvalue()


def _normal(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from one machine or day to the next."""
    entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _json(document: dict[str, Any]) -> bytes:
    import json

    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
