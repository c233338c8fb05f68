"""Looking for damage in a store: every blob is read again, every layer unpacked again and compared.

    for damage in of_store(store, snapshots): ...

A blob's name is its digest, so its content is checked by itself; an unpacked layer is checked by
the blob it came from. What can be made whole from what is left has a ``repair``; what is lost says
so, and what brings it back.
"""

from __future__ import annotations

import hashlib
import os

from minirun.errors import Error, StoreError, printable
from minirun.image import embedded, index, lock, manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Any

    from minirun.image.snapshot import Snapshots
    from minirun.image.store import Image, Store

    Document = dict[str, Any]

CHUNK = 1 << 20


class Damage:
    """One thing that is not as it should be."""

    def __init__(
        self,
        what: str,
        problem: str,
        repair: Callable[[], str] | None = None,
        *,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.problem = problem
        self.repair = repair
        """Mends it, and returns what it has done."""
        self.hint = hint
        """What brings back what is lost; a person has to do it."""


def of_store(
    store: Store, snapshots: Snapshots, *, quick: bool = False, in_use: Collection[str] = ()
) -> Iterator[Damage]:
    """What is wrong with images and their layers. ``quick``: contents are not read.

    ``in_use`` holds the directories of layers above which something is mounted: they stay as they
    are, whatever happened to them.
    """
    if not os.path.isdir(store.root):
        return
    with store.hold():
        yield from _index(store)
        try:
            images = store.images()
        except StoreError:
            return  # it has been told of
        bad = {} if quick else dict(_bad_blobs(store))
        unpacked: dict[str, tuple[str, list[str]]] = {}
        for image in images:
            damages = list(_image(store, image, bad))
            yield from damages
            if not damages:
                unpacked |= _unpacked(store, snapshots, image)
        if not quick:
            yield from _layers(snapshots, unpacked, in_use)
        named = {blob for image in images for blob in _blobs(image)}
        for digest, problem in bad.items():
            if digest not in named:
                path = store.blob_path(digest)
                yield Damage(path, problem, _remove(path))


# --- index.json ---------------------------------------------------------------------------------


def _index(store: Store) -> Iterator[Damage]:
    path = os.path.join(store.root, "index.json")
    try:
        entries = index.read(store.root)
    except StoreError:
        yield Damage(path, "it is damaged", lambda: _rebuild(store))
        return
    if not entries and not os.path.exists(path) and _manifests(store):
        yield Damage(path, "it is missing", lambda: _rebuild(store))
    layout = os.path.join(store.root, "oci-layout")
    try:
        with open(layout, "rb") as file:
            right = index.parse(file.read(), layout).get("imageLayoutVersion") == index.VERSION
    except (FileNotFoundError, StoreError):
        right = not os.path.exists(path)
    if not right:
        yield Damage(layout, "it is damaged", lambda: _mend_layout(store, layout))


def _rebuild(store: Store) -> str:
    """List every image whose manifest is here. Their names are lost, but for the embedded ones."""
    entries = _manifests(store)
    with lock.exclusive(store.root):
        index.write(store.root, entries)
    for image in embedded.seed(store):
        entries = [entry for entry in entries if entry["digest"] != image.digest]
    return f"made anew; {len(entries)} images have lost their names: minirun images, minirun tag"


def _manifests(store: Store) -> list[Document]:
    """The manifests among the blobs."""
    found = []
    directory = os.path.join(store.root, "blobs", "sha256")
    for name in sorted(os.listdir(directory) if os.path.isdir(directory) else []):
        size = os.stat(os.path.join(directory, name)).st_size
        if size > manifest.MAX_DOCUMENT:
            continue
        try:
            document = store.read_json(f"sha256:{name}")
            kind = document.get("mediaType")
            if kind in manifest.MANIFESTS and _problem(store, f"sha256:{name}") is None:
                found.append({"mediaType": kind, "digest": f"sha256:{name}", "size": size})
        except StoreError:
            continue
    return found


def _mend_layout(store: Store, path: str) -> str:
    with lock.exclusive(store.root):
        if os.path.exists(path):
            os.unlink(path)
        index.write(store.root, index.read(store.root))
    return "written anew"


# --- blobs --------------------------------------------------------------------------------------


def _bad_blobs(store: Store) -> Iterator[tuple[str, str]]:
    """Every blob that is not what its name says, and how."""
    blobs = os.path.join(store.root, "blobs")
    for algorithm in sorted(os.listdir(blobs)):
        for name in sorted(os.listdir(os.path.join(blobs, algorithm))):
            if problem := _problem(store, f"{algorithm}:{name}"):
                yield f"{algorithm}:{name}", problem


def _problem(store: Store, digest: str) -> str | None:
    algorithm, _, encoded = digest.partition(":")
    try:
        hashed = hashlib.new(algorithm)
        with open(store.blob_path(digest), "rb") as file:
            while chunk := file.read(CHUNK):
                hashed.update(chunk)
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
    return None if hashed.hexdigest() == encoded else "its content is not what its name says"


def _remove(path: str) -> Callable[[], str]:
    def remove() -> str:
        os.unlink(path)
        return "removed"

    return remove


def _blobs(image: Image) -> list[str]:
    """The digests of an image's blobs, as far as they can be known."""
    found = [image.digest]
    try:
        found += [blob["digest"] for blob in (image.manifest["config"], *image.layers)]
    except (StoreError, KeyError, TypeError):
        pass
    return found


# --- images -------------------------------------------------------------------------------------


def _image(store: Store, image: Image, bad: dict[str, str]) -> Iterator[Damage]:
    """Its manifest, its config and the blobs of its layers."""
    name = image.name or image.digest
    try:
        for digest in (image.digest, image.id):
            if digest in bad:
                raise StoreError(f"blob {digest}: {bad[digest]}")
        manifest.check_manifest(image.manifest, name)
        manifest.check_config(image.config, name, len(image.layers))
    except (Error, KeyError, TypeError) as error:
        problem = error.message if isinstance(error, Error) else "its manifest is damaged"
        yield _lost(store, image, printable(problem))
        return
    for layer in image.layers:
        digest = layer["digest"]
        if digest in bad:
            yield _lost(store, image, f"layer {digest}: {bad[digest]}", digest)
        elif not store.has(layer):
            yield _lost(store, image, f"layer {digest} is missing", digest)


def _lost(store: Store, image: Image, problem: str, layer: str | None = None) -> Damage:
    """What an image has lost. Only an embedded one can be made again here. Without one of its
    layers it stays, for it may be unpacked, and a pull brings it back; without its documents it
    is nothing."""
    what = f"image {image.name or image.digest}"
    if image.name in embedded.names():
        return Damage(what, problem, lambda: _seed(store))
    hint = f"minirun pull {image.name}" if image.name else "it has no name: minirun image prune"
    if layer is None:
        return Damage(what, problem, lambda: _forget(store, image), hint=hint)
    path = store.blob_path(layer)
    return Damage(what, problem, _remove(path) if os.path.exists(path) else None, hint=hint)


def _seed(store: Store) -> str:
    embedded.seed(store)
    return "built again"


def _forget(store: Store, image: Image) -> str:
    with lock.exclusive(store.root):
        left = [entry for entry in index.read(store.root) if entry != image.descriptor]
        index.write(store.root, left)
    return "removed from the list of images"


# --- unpacked layers ----------------------------------------------------------------------------


def _unpacked(
    store: Store, snapshots: Snapshots, image: Image
) -> dict[str, tuple[str, list[str]]]:
    """The unpacked layers of an image, each with its blob and its diff_ids. One that is not there
    will be, when it is needed."""
    found = {}
    for number, layer in enumerate(image.layers, 1):
        diff_ids = image.diff_ids[:number]
        if path := snapshots.find(diff_ids):
            found[path] = store.blob_path(layer["digest"]), diff_ids
    return found


def _layers(
    snapshots: Snapshots, unpacked: dict[str, tuple[str, list[str]]], in_use: Collection[str]
) -> Iterator[Damage]:
    for path, (blob, diff_ids) in unpacked.items():
        try:
            problem = snapshots.compare(blob, diff_ids)
        except Error as error:
            problem = error.message
        if problem and path in in_use:
            yield Damage(path, problem, hint="a container uses it: minirun stop, and check again")
        elif problem:
            yield Damage(path, problem, _mend(snapshots, blob, diff_ids))


def _mend(snapshots: Snapshots, blob: str, diff_ids: Sequence[str]) -> Callable[[], str]:
    def mend() -> str:
        snapshots.compare(blob, diff_ids, mend=True)
        return "unpacked again"

    return mend
