"""The images of this machine: blobs, and an index.json that gives them names.

    oci-layout          {"imageLayoutVersion": "1.0.0"}
    index.json          for each name a descriptor of the manifest that it stands for
    blobs/ ingest/      see blobs.py

This is an OCI image layout, so other tools can read it: ``skopeo inspect oci:STORE:NAME``. An image
exists from the moment when index.json names it, which is the last thing that a pull does; so there
is never half an image. index.json is replaced by rename(2), under a lock on the store's directory.

The format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import os

from minirun.errors import (
    InvalidReference,
    ManifestError,
    NotFound,
    StoreError,
    UsageError,
    printable,
)
from minirun.image import lock
from minirun.image.blobs import Blobs, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.image.platform import Platform
    from minirun.image.reference import Reference

    Document = dict[str, Any]

REF_NAME = "org.opencontainers.image.ref.name"  # the spec's annotation for a name
SOURCE = "org.minirun.image.source"  # the digest that the name stood for in the registry
VERSION = "1.0.0"


class Image:
    """An image of the store, under one of its names. Its documents are read when asked for."""

    def __init__(self, store: Store, descriptor: Document) -> None:
        annotations = descriptor.get("annotations", {})
        self._store = store
        self.descriptor = descriptor
        self.digest: str = descriptor["digest"]
        """The digest of the manifest."""
        self.source: str = annotations.get(SOURCE, self.digest)
        """What the registry calls it: the digest of the index it was chosen from, if any."""
        self.name: str | None = annotations.get(REF_NAME)
        """The canonical reference; None once another image has taken the name over."""
        self._manifest: Document | None = None
        self._config: Document | None = None

    @property
    def manifest(self) -> Document:
        if self._manifest is None:
            self._manifest = self._store.read_json(self.digest)
        return self._manifest

    @property
    def config(self) -> Document:
        """The whole config document; what a container starts with is its ``config`` (or null)."""
        if self._config is None:
            self._config = self._store.read_json(self.id)
        return self._config

    @property
    def id(self) -> str:
        """The digest of the config: what Docker calls the image's ID."""
        return self.manifest["config"]["digest"]  # type: ignore[no-any-return]

    @property
    def layers(self) -> list[Document]:
        """Descriptors of the compressed layers, oldest first."""
        return self.manifest["layers"]  # type: ignore[no-any-return]

    @property
    def diff_ids(self) -> list[str]:
        """Digests of the uncompressed layers, oldest first."""
        return self.config["rootfs"].get("diff_ids", [])  # type: ignore[no-any-return]

    @property
    def platform(self) -> Platform:
        from minirun.image import platform

        return platform.of_config(self.config)

    @property
    def created(self) -> str:
        """A date of RFC 3339, or "" where the builder left it out."""
        return self.config.get("created") or ""

    @property
    def size(self) -> int:
        """Bytes of its blobs: what a pull transfers, compressed as it is."""
        return sum(blob["size"] for blob in (self.descriptor, *_children(self.manifest)))


class Store(Blobs):
    """Blobs with names. ``Store(root)`` touches nothing: it appears when something is put in."""

    # --- looking --------------------------------------------------------------------------------

    def images(self) -> list[Image]:
        """Every image, once for each of its names; in the order of their arrival."""
        return [Image(self, entry) for entry in self._entries()]

    def resolve(self, text: str) -> Image:
        """The image that a user means by a name, a digest, or the beginning of an ID.

        Names win. A short one (``tiny``) is Docker Hub's if that was pulled, and else the one below
        ``localhost/``. NotFound if there is no such image here; nothing is asked of a registry.
        """
        return self._meant_by(text)[0]

    def read_json(self, digest: str) -> Document:
        """A document that was checked when it was stored, and is not checked again."""
        return _parse(self.read(digest), self.blob_path(digest))

    def _meant_by(self, text: str) -> list[Image]:
        """One image for a name; for an ID that image under each of its names."""
        images = self.images()
        for reference in _readings(text):
            for image in images:
                if _is_called(image, reference):
                    return [image]
        prefix = f"sha256:{text.removeprefix('sha256:')}"
        found = [image for image in images if image.id.startswith(prefix)] if _is_id(text) else []
        if len({image.id for image in found}) > 1:
            raise UsageError(f"{text}: several images have an ID that begins like this")
        if not found:
            raise NotFound(f"no such image: {printable(text)}", hint=f"minirun pull {text}")
        return found

    # --- naming ---------------------------------------------------------------------------------

    def tag(self, name: str, descriptor: Document, *, source: str | None = None) -> Image:
        """Give a manifest a name. Call it under the same hold() under which its blobs came.

        Another image that had the name stays, without one, until ``prune``. ``source`` is the
        digest that the name stood for in the registry, where that is an index.
        """
        self.sync()
        entry = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
        entry["annotations"] = {REF_NAME: name} | ({SOURCE: source} if source else {})
        with lock.exclusive(self.root):
            others = [_without_name(e, name) for e in self._entries()]
            self._write([*others, entry])
        return Image(self, entry)

    def remove(self, text: str, *, force: bool = False) -> list[str]:
        """Take a name away, and with an image's last name the image.

        By ID, all its names are taken, if there is one or with ``force``. Returns what happened, in
        Docker's words: "Untagged: NAME", "Deleted: ID". Blobs that nothing needs any more are
        deleted, unless a pull is under way; then the next ``remove`` or ``prune`` does it.
        """
        self.create()
        with lock.exclusive(self.root):
            gone = self._meant_by(text)
            id = gone[0].id
            if len(gone) > 1 and not force:
                names = ", ".join(image.name or "<none>" for image in gone)
                raise UsageError(f"{text}: the image has several names: {names}",
                                 hint="name the one to take away, or use --force for all")
            events = [f"Untagged: {image.name}" for image in gone if image.name]
            left = [e for e in self._entries() if e not in [image.descriptor for image in gone]]
            self._write(left)
        if id not in {image.id for image in self.images()}:
            events.append(f"Deleted: {id}")
        self.sweep_if_idle()
        return events

    def prune(self) -> tuple[list[str], int]:
        """Delete the images without a name, and what else nothing needs: events, and bytes freed.

        Waits for pulls under way; StoreError names the process if that takes too long.
        """
        with self.sweeping():
            with lock.exclusive(self.root):
                entries = self._entries()
                named = [e for e in entries if _name(e)]
                kept = {Image(self, e).id for e in named}
                lost = {Image(self, e).id for e in entries if not _name(e)} - kept
                self._write(named)
            return [f"Deleted: {id}" for id in sorted(lost)], self._sweep()

    def sweep_if_idle(self) -> None:
        """Delete the blobs that no image needs, unless somebody holds some."""
        try:
            guard = self.sweeping(wait=0)
        except StoreError:
            return
        with guard:
            self._sweep()

    def _sweep(self) -> int:
        """Delete every blob that no image reaches. If one cannot be read, nothing is deleted."""
        keep: set[str] = set()
        for image in self.images():
            keep |= {blob["digest"] for blob in (image.descriptor, *_children(image.manifest))}
        return self.delete_all_but(keep)

    # --- index.json -----------------------------------------------------------------------------

    def _entries(self) -> list[Document]:
        """The descriptors of index.json, checked: people and other programs can write it too."""
        from minirun.image.manifest import MANIFESTS, check_descriptor

        path = os.path.join(self.root, "index.json")
        try:
            with open(path, "rb") as file:
                index = _parse(file.read(), path)
            return [check_descriptor(entry, path, MANIFESTS) for entry in index["manifests"]]
        except FileNotFoundError:
            return []
        except (KeyError, TypeError, ManifestError):
            raise _damaged(path) from None

    def _write(self, entries: list[Document]) -> None:
        """Replace index.json. A nameless image is not listed beside the same one with a name."""
        from minirun.image.manifest import OCI_INDEX

        named = {entry["digest"] for entry in entries if _name(entry)}
        entries = [entry for entry in entries if _name(entry) or entry["digest"] not in named]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        if not os.path.exists(os.path.join(self.root, "oci-layout")):
            self._replace("oci-layout", {"imageLayoutVersion": VERSION})
        self._replace("index.json", index)
        sync_directory(self.root)

    def _replace(self, name: str, document: Document) -> None:
        """Write a document so that readers, and a power failure, see the old or the new one."""
        import json

        path = os.path.join(self.root, name)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.new", path)


def _name(entry: Document) -> str | None:
    return entry.get("annotations", {}).get(REF_NAME)  # type: ignore[no-any-return]


def _without_name(entry: Document, name: str) -> Document:
    if _name(entry) != name:
        return entry
    return entry | {"annotations": {k: v for k, v in entry["annotations"].items() if k != REF_NAME}}


def _children(manifest: Document) -> Iterator[Document]:
    yield manifest["config"]
    yield from manifest["layers"]


def _readings(text: str) -> list[Reference]:
    """What ``text`` can mean as a name; nothing, if it can only be an ID."""
    from minirun.image import reference

    try:
        readings = [reference.parse(text)]
        if "/" not in text:
            readings.append(reference.parse(f"localhost/{text}"))
    except InvalidReference:
        if not _is_id(text):
            raise
        return []
    return readings


def _is_id(text: str) -> bool:
    digits = text.removeprefix("sha256:")
    return 0 < len(digits) <= 64 and not set(digits) - set("0123456789abcdef")


def _is_called(image: Image, reference: Reference) -> bool:
    """Whether the reference is the image's name, or its repository's with one of its digests."""
    if image.name == reference.canonical:
        return True
    if image.name is None or reference.digest not in (image.digest, image.source):
        return False
    from minirun.image.reference import parse

    return parse(image.name).name == reference.name


def _parse(data: bytes, path: str) -> Document:
    import json

    try:
        document = json.loads(data)
    except ValueError:
        raise _damaged(path) from None
    if not isinstance(document, dict):
        raise _damaged(path)
    return document


def _damaged(path: str) -> StoreError:
    return StoreError(f"{path} is damaged", hint="remove the image and pull it again")
