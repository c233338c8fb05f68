"""index.json: which manifest each name stands for.

    oci-layout      {"imageLayoutVersion": "1.0.0"}
    index.json      {"schemaVersion": 2, "manifests": [DESCRIPTOR, …]}

A descriptor's annotation ``org.opencontainers.image.ref.name`` is its name; an image that has lost
its name to another one stays, without that annotation. The file is replaced by rename(2), by
whoever holds the lock on its directory: readers see the old or the new one, and so does everybody
after a power cut.

The format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import os

from minirun.errors import ManifestError, StoreError
from minirun.image import manifest
from minirun.image.blobs import sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

REF_NAME = "org.opencontainers.image.ref.name"
VERSION = "1.0.0"


def name(entry: Document) -> str | None:
    return entry.get("annotations", {}).get(REF_NAME)  # type: ignore[no-any-return]


def without_name(entry: Document, name_taken: str | None) -> Document:
    """The entry; if it has this name, without it."""
    if name_taken is None or name(entry) != name_taken:
        return entry
    annotations = {key: text for key, text in entry["annotations"].items() if key != REF_NAME}
    return entry | {"annotations": annotations}


def read(root: str) -> list[Document]:
    """The descriptors, checked: people and other programs can write the file too."""
    path = os.path.join(root, "index.json")
    try:
        with open(path, "rb") as file:
            document = parse(file.read(), path)
        return [
            manifest.check_descriptor(entry, path, manifest.MANIFESTS)
            for entry in document["manifests"]
        ]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ManifestError):
        raise _damaged(path) from None


def write(root: str, entries: list[Document]) -> None:
    """Replace the file. A nameless image is listed once, and not beside the same with a name."""
    listed = {entry["digest"] for entry in entries if name(entry)}
    kept = []
    for entry in entries:
        if name(entry) or entry["digest"] not in listed:
            listed.add(entry["digest"])
            kept.append(entry)
    if not os.path.exists(os.path.join(root, "oci-layout")):
        _replace(os.path.join(root, "oci-layout"), {"imageLayoutVersion": VERSION})
    index = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": kept}
    _replace(os.path.join(root, "index.json"), index)
    sync_directory(root)


def parse(data: bytes, path: str) -> Document:
    """A JSON object from a file of the store. StoreError if it is none."""
    import json

    try:
        document = json.loads(data)
    except ValueError:
        raise _damaged(path) from None
    if not isinstance(document, dict):
        raise _damaged(path)
    return document


def _replace(path: str, document: Document) -> None:
    import json

    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)


def _damaged(path: str) -> StoreError:
    return StoreError(f"{path} is damaged", hint="remove what it belongs to, and pull it again")
