"""Images that are made on this machine: layers that we write, a config, a manifest, and a name.

    with store.hold():
        with new_layer(store) as layer:
            packing.pack(upper, layer.write, layer=True)
        image = make(store, name, config, [layer], below=base)

A layer is gzip, as every tool can read it; its diff_id is the digest of the tar inside. The parts
come first, the name last: whoever is killed in between has made no image, and the next clean-up of
the store takes what is left.

The documents: https://github.com/opencontainers/image-spec (manifest.md, config.md)
"""

from __future__ import annotations

from contextlib import contextmanager

from minirun.image.manifest import DOCKER_LAYER, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from minirun.image.blobs import NewBlob
    from minirun.image.store import Image, Store

    Document = dict[str, Any]

CHUNK = 1 << 19  # bytes that are hashed and compressed at once
LEVEL = 1  # of compression: 13 times as fast as zlib's usual 6, for a tenth more bytes
GZIP = 31  # the window's size, and 16 for a header of gzip's. zlib.h, deflateInit2


@contextmanager
def new_layer(store: Store) -> Iterator[Layer]:
    """``with new_layer(store) as layer:`` its ``write`` takes the bytes of a tar.

    After the block the store has them; if it ends with an exception, nothing of them stays.
    """
    with store.new(OCI_LAYER + "+gzip") as blob:
        layer = Layer(blob)
        yield layer
        layer.finish()
    layer.descriptor = blob.descriptor


class Layer:
    """A tar on its way into the store: hashed, compressed, hashed again."""

    descriptor: Document
    diff_id: str

    def __init__(self, blob: NewBlob) -> None:
        import hashlib

        self._hash = hashlib.sha256()
        self._deflate = _compressor()
        self._pieces: list[bytes] = []
        self._waiting = 0  # bytes in them
        self._blob = blob

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting >= CHUNK:
            self._compress()

    def finish(self) -> None:
        self._compress()
        self._blob.write(self._deflate.flush())
        self.diff_id = f"sha256:{self._hash.hexdigest()}"

    def _compress(self) -> None:
        data = b"".join(self._pieces)
        self._pieces, self._waiting = [], 0
        self._hash.update(data)
        self._blob.write(self._deflate.compress(data))


def _compressor() -> Any:
    library: Any
    try:
        from isal import isal_zlib as library
    except ImportError:
        import zlib as library
    return library.compressobj(LEVEL, library.DEFLATED, GZIP)


def make(
    store: Store,
    name: str | None,
    config: Document,
    layers: Sequence[Layer],
    *,
    below: Image | None = None,
) -> Image:
    """Put an image together: ``layers``, oldest first, above those of ``below``.

    ``config`` is its config document, but for the ``rootfs``. Call it under the hold() under which
    the layers came. ``name`` is a canonical reference, or None.
    """
    from minirun.image import manifest

    diff_ids = [*(below.diff_ids if below else []), *(layer.diff_id for layer in layers)]
    document = config | {"rootfs": {"type": "layers", "diff_ids": diff_ids}}
    what = name or "the new image"
    manifest.check_config(document, what, len(diff_ids))
    descriptors = [_in_oci(layer) for layer in below.layers] if below else []
    new = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": store.put(OCI_CONFIG, to_json(document)),
        "layers": [*descriptors, *(layer.descriptor for layer in layers)],
    }
    manifest.check_manifest(new, what)
    return store.tag(name, store.put(OCI_MANIFEST, to_json(new)))


def _in_oci(layer: Document) -> Document:
    """A layer by the name that the OCI has for its type: Docker's have no place beside them."""
    kind = str(layer["mediaType"])
    if kind.startswith(DOCKER_LAYER):
        kind = OCI_LAYER + kind.removeprefix(DOCKER_LAYER).replace(".", "+")
    return {"mediaType": kind, "digest": layer["digest"], "size": layer["size"]}


def to_json(document: Document) -> bytes:
    """Equal documents give equal bytes."""
    import json

    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
