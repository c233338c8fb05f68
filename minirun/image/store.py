"""The images of this machine: blobs (blobs.py), and an index.json (index.py) that gives them names.

    store = Store(directory)
    store.images()                      every image, under each of its names
    store.resolve("centos:8")           the one that is meant
    with store.hold():                  nothing is deleted meanwhile
        store.ingest(descriptor, fetch)     blobs come
        store.tag(name, descriptor)         and last of all the name
    store.remove("centos:8")            and what no other image needs

The directory is an OCI image layout, so that other tools can read it: ``skopeo inspect
oci:DIRECTORY:NAME``. An image exists from the moment when index.json names it, which is the last
thing that a pull does; so there is never half an image.
"""

from __future__ import annotations

from minirun.errors import InvalidReference, NotFound, StoreError, UsageError, printable
from minirun.image import index, lock
from minirun.image.blobs import Blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from typing import Any

    from minirun.image.platform import Platform
    from minirun.image.reference import Reference

    Document = dict[str, Any]

SOURCE = "org.minirun.image.source"  # the digest that the name stood for in the registry


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
        self.name = index.name(descriptor)
        """The canonical reference; None once another image has taken the name over."""
        self._manifest: Document | None = None
        self._config: Document | None = None

    @property
    def manifest(self) -> Document:
        if self._manifest is None:
            self._manifest = self._read(self.digest)
        return self._manifest

    @property
    def config(self) -> Document:
        """The whole config document; what a container starts with is its ``config`` (or null)."""
        if self._config is None:
            self._config = self._read(self.id)
        return self._config

    @property
    def id(self) -> str:
        """The digest of the config: what Docker calls the image's ID."""
        return self.manifest["config"]["digest"]  # type: ignore[no-any-return]

    def _read(self, digest: str) -> Document:
        try:
            return self._store.read_json(digest)
        except StoreError as error:
            name = self.name or self.digest
            hint = f"minirun pull {name} mends it" if self.name else f"minirun rmi {name}"
            raise StoreError(f"{name}: {error.message}", hint=hint) from None

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
        return [Image(self, entry) for entry in index.read(self.root)]

    def resolve(self, text: str) -> Image:
        """The image that a user means by a name, a digest, or the beginning of an ID.

        Names win. A short one (``tiny``) is Docker Hub's if that was pulled, and else the one below
        ``localhost/``. NotFound if there is no such image here; nothing is asked of a registry.
        """
        return self._meant_by(text)[0]

    def read_json(self, digest: str) -> Document:
        """A document that was checked when it was stored, and is not checked again."""
        return index.parse(self.read(digest), self.blob_path(digest))

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

    def tag(self, name: str | None, descriptor: Document, *, source: str | None = None) -> Image:
        """Give a manifest a name. Call it under the same hold() under which its blobs came.

        Another image that had the name stays, without one, until ``prune``; so does one that is put
        here without a name. ``source`` is the digest that the name stood for in the registry, where
        that is an index.
        """
        self.sync()
        entry = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
        notes = {index.REF_NAME: name, SOURCE: source}
        entry["annotations"] = {key: text for key, text in notes.items() if text}
        with lock.exclusive(self.root):
            others = [index.without_name(e, name) for e in index.read(self.root)]
            index.write(self.root, [*others, entry])
        return Image(self, entry)

    def remove(self, text: str, *, force: bool = False, used: Collection[str] = ()) -> list[str]:
        """Take a name away, and with an image's last name the image.

        By ID, all its names are taken, if there is one or with ``force``. An image whose ID is in
        ``used`` only loses its name. Returns what happened, in Docker's words: "Untagged: NAME",
        "Deleted: ID". Blobs that nothing needs any more are deleted, unless a pull is under way;
        then the next ``remove`` or ``prune`` does it.
        """
        self.create()
        with lock.exclusive(self.root):
            gone = self._meant_by(text)
            if len(gone) > 1 and not force:
                names = ", ".join(image.name or "<none>" for image in gone)
                hint = "name the one to take away, or use --force for all"
                raise UsageError(f"{text}: the image has several names: {names}", hint=hint)
            events = self._take(gone, used)
        self.sweep_if_idle()
        return events

    def prune(
        self, unwanted: Callable[[Image], bool] = lambda image: image.name is None
    ) -> tuple[list[str], int]:
        """Delete the unwanted images, and what else nothing needs: events, and bytes freed.

        Usually those without a name are unwanted. Waits for pulls under way; StoreError names the
        process if that takes too long.
        """
        with self.sweeping():
            with lock.exclusive(self.root):
                events = self._take([image for image in self.images() if unwanted(image)])
            return events, self._sweep()

    def _take(self, gone: Sequence[Image], used: Collection[str] = ()) -> list[str]:
        """Take images out of the index; what happened. Under the lock of the index."""
        descriptors = [image.descriptor for image in gone]
        left = [entry for entry in index.read(self.root) if entry not in descriptors]
        kept = [index.without_name(i.descriptor, i.name) for i in gone if _id(i) in used]
        lost = [_id(image) for image in gone]
        here = _ids(self, [*left, *kept])
        index.write(self.root, [*left, *kept])
        events = [f"Untagged: {image.name}" for image in gone if image.name]
        return events + [f"Deleted: {ident}" for ident in dict.fromkeys(lost) if ident not in here]

    def sweep_if_idle(self) -> None:
        """Delete the blobs that no image needs, unless somebody holds some."""
        if guard := self.sweeping_if_idle():
            with guard:
                self._sweep()

    def _sweep(self) -> int:
        return self.delete(self.unneeded())

    def unneeded(self) -> list[str]:
        """The files of all blobs that no image reaches. StoreError if one cannot be read: then
        nobody knows. Call it under sweeping()."""
        keep: set[str] = set()
        for image in self.images():
            keep |= {blob["digest"] for blob in (image.descriptor, *_children(image.manifest))}
        return self.all_but(keep)


def _ids(store: Store, entries: list[Document]) -> set[str]:
    return {_id(Image(store, entry)) for entry in entries}


def _id(image: Image) -> str:
    """The ID of an image; of one that cannot be read, its manifest's digest."""
    try:
        return image.id
    except StoreError:
        return image.digest


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
