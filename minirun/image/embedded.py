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
from minirun.image import lock, making, packing, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
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
        with making.new_layer(store) as layer:
            _build_layer(recipe, os.path.join(store.root, "embedded"), layer.write)
        return making.make(store, _canonical(recipe), _config(recipe), [layer])


def _config(recipe: str) -> dict[str, Any]:
    """The image configuration, but for its layer."""
    import json

    from minirun.image.platform import host

    with open(os.path.join(RECIPES, recipe, "config.json"), encoding="utf-8") as file:
        defaults = json.load(file)
    return {
        "created": "1970-01-01T00:00:00Z",
        "architecture": host().architecture,
        "os": "linux",
        "config": defaults,
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": f"rootfs/{recipe}/build.sh"}],
    }


def _build_layer(recipe: str, root: str, write: Callable[[bytes], object]) -> None:
    """Run the recipe in the directory ``root``, and write what it made; ``root`` is gone then.

    What a process that was killed here left is removed first, and nobody else builds meanwhile.
    """
    with lock.exclusive(os.path.join(RECIPES, recipe)):
        tree.rmtree(root)
        os.mkdir(root)
        try:
            _build(recipe, root)
            _pack(root, write)
        finally:
            tree.rmtree(root)


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


def _pack(root: str, write: Callable[[bytes], object]) -> None:
    fd = tree.open_directory(root)
    try:
        packing.pack(fd, write, layer=True, mtime=0)
    finally:
        os.close(fd)
