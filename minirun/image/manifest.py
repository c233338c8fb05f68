"""The documents of an image, and what is asked of them before anything else looks at them.

A registry hands out JSON documents that point to each other by digest:

    index ──► manifest ──┬──► config     how to start it, and the diff_ids of its layers
    (one per platform)   └──► layers     compressed tars, oldest first

The arrows are descriptors, ``{"mediaType", "digest", "size"}``. All of it was written by strangers,
so ``parse`` says no to what two readers could understand differently, and the ``check_`` functions
to whatever the image spec does not allow. What passes them stays a plain dict, with the names of
the spec, whose fields the rest of minirun uses without looking again.

The spec: https://github.com/opencontainers/image-spec (manifest.md, image-index.md, config.md).
Docker's older formats have the same shape under other media types.
"""

from __future__ import annotations

import re

from minirun.errors import InvalidReference, ManifestError, printable
from minirun.image.reference import parse_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Document = dict[str, Any]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
LAYERS = tuple(
    name + compression
    for name, compressions in (
        (OCI_LAYER, ("", "+gzip", "+zstd")),
        (DOCKER_LAYER, ("", ".gzip", ".zstd")),
    )
    for compression in compressions
)
# What a server says that knows nothing of images, and just has files.
GENERIC = ("", "application/json", "application/octet-stream", "text/plain")
# What a client says it understands (the Accept header): an index first, so that we do the choosing.
ACCEPTED = INDEXES + MANIFESTS

MAX_DOCUMENT = 4 << 20  # bytes; the limit registries have for a manifest
MAX_DEPTH = 32  # brackets within brackets; the documents of the spec need seven
MAX_LAYERS = 500  # overlayfs stacks no more (OVL_MAX_STACK in fs/overlayfs)
MAX_SIZE = (1 << 63) - 1

MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}", re.ASCII)


def parse(data: bytes, what: str) -> Document:
    """The JSON object in ``data``; ``what`` names it in errors.

    Refused, because readers disagree about them: a byte order mark, a key given twice, NaN, bytes
    that are no UTF-8, and more nesting or length than any image has.
    """
    import json

    if len(data) > MAX_DOCUMENT:
        raise ManifestError(f"{what}: {len(data)} bytes, more than the {MAX_DOCUMENT} allowed")
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:  # the decoding of UTF-8 and JSON raise the former
        raise ManifestError(f"{what}: not valid JSON: {printable(str(error))}") from None
    _expect(isinstance(document, dict), what, "is not a JSON object")
    _expect(_depth_is_allowed(document), what, f"is nested deeper than {MAX_DEPTH} levels")
    return document  # type: ignore[no-any-return]


def _unique_keys(pairs: list[tuple[str, Any]]) -> Document:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _depth_is_allowed(document: Document) -> bool:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def check_digest(value: object, what: str) -> str:
    """``value`` if it is a digest, "sha256:" and 64 hexadecimal digits; ManifestError if not."""
    try:
        parse_digest(value if isinstance(value, str) else repr(value))
    except InvalidReference as error:
        raise ManifestError(f"{what}: {error}") from None
    return str(value)


def check_descriptor(value: object, what: str, media_types: tuple[str, ...] = ()) -> Document:
    """A descriptor of the spec; of one of the ``media_types``, where any are given.

    Its ``data`` is never used: what counts is what the digest names.
    """
    _expect(isinstance(value, dict), what, "is not a descriptor")
    assert isinstance(value, dict)
    kind = value.get("mediaType")
    _expect(
        isinstance(kind, str) and MEDIA_TYPE.fullmatch(kind), what, f"media type {_shown(kind)}"
    )
    check_digest(value.get("digest"), what)
    size = value.get("size")
    _expect(
        type(size) is int and 0 <= size <= MAX_SIZE, what, f"has the impossible size {_shown(size)}"
    )
    _expect(_is_text_map(value.get("annotations", {})), what, "has malformed annotations")
    _expect(not media_types or kind in media_types, what, f"has the unknown media type {kind}")
    return value


def check_media_type(document: Document, media_type: str, what: str) -> str:
    """What the document is: an index or a manifest, said alike by its sender and by itself.

    ``media_type`` is the Content-Type it came with, or the descriptor's that led to it. A document
    that is an index to one reader and a manifest to the next is refused (CVE-2021-41190).
    """
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise ManifestError(
            f"{what}: image format of 2014 (schema 1), which has no digests of its layers",
            hint="convert it: skopeo copy --format v2s2 docker://OLD docker://NEW",
        )
    own = document.get("mediaType", media_type)
    _expect(own in ACCEPTED, what, f"has the unknown media type {_shown(own)}")
    alike = media_type in (own, *GENERIC)
    _expect(alike, what, f"says it is {own}, but was sent as {_shown(media_type)}")
    foreign = {"config", "layers"} if own in INDEXES else {"manifests"}
    both = sorted(foreign & document.keys())
    _expect(not both, what, f"is {own} and yet has {' and '.join(both)}")
    _expect(document.get("schemaVersion") == 2, what, "has no schemaVersion 2")
    return str(own)


def check_index(document: Document, what: str) -> list[Document]:
    """The descriptors of an index, one for each platform."""
    entries = document.get("manifests")
    _expect(isinstance(entries, list), what, "has no list of manifests")
    assert isinstance(entries, list)
    for number, entry in enumerate(entries):
        check_descriptor(entry, f"{what}: manifest {number}")
        platform = entry.get("platform")
        _expect(
            platform is None or _is_platform(platform), what, f"manifest {number}: bad platform"
        )
    return entries


def check_manifest(document: Document, what: str) -> Document:
    """A manifest whose config and layers are those of a container image."""
    config = check_descriptor(document.get("config"), f"{what}: config")
    if config["mediaType"] not in CONFIGS:
        raise ManifestError(
            f"{what}: not a container image but {config['mediaType']}",
            hint="registries also hold charts, signatures and other artifacts; those cannot be run",
        )
    _expect(config["size"] <= MAX_DOCUMENT, what, f"has a config of {config['size']} bytes")
    layers = document.get("layers")
    _expect(isinstance(layers, list), what, "has no list of layers")
    assert isinstance(layers, list)
    _expect(len(layers) <= MAX_LAYERS, what, f"has {len(layers)} layers, more than {MAX_LAYERS}")
    for number, layer in enumerate(layers):
        check_descriptor(layer, f"{what}: layer {number}", LAYERS)
        # A layer from somewhere else would make us a stranger's HTTP client (CVE-2020-15157).
        _expect(not layer.get("urls"), what, f"layer {number} wants to be fetched from elsewhere")
    return document

def check_config(document: Document, what: str, layers: int) -> Document:
    """An image's config; ``layers`` is how many its manifest has.

    Docker writes null for what is not there, so every field of the inner ``config`` may be null.
    """
    for key in ("os", "architecture"):
        _expect(_is_text(document.get(key)), what, f"has no {key}")
    for key in ("variant", "created"):
        _expect(_is_text(document.get(key, "")), what, f"{key} is no string")
    rootfs = document.get("rootfs")
    _expect(isinstance(rootfs, dict) and rootfs.get("type") == "layers", what, "has no rootfs")
    diff_ids = document["rootfs"].setdefault("diff_ids", [])  # Docker leaves out an empty list
    _expect(isinstance(diff_ids, list), what, "has no list of diff_ids")
    for number, diff_id in enumerate(diff_ids):
        check_digest(diff_id, f"{what}: diff_id {number}")
    _expect(len(diff_ids) == layers, what, f"has {len(diff_ids)} diff_ids for {layers} layers")
    _check_history(document.get("history"), what, layers)
    _check_defaults(document.get("config"), what)
    return document


def _check_history(history: object, what: str, layers: int) -> None:
    """One entry for each build step; those that are not ``empty_layer`` made a layer each."""
    if history is None:
        return
    _expect(isinstance(history, list), what, "history is no list")
    assert isinstance(history, list)
    for step in history:
        _expect(isinstance(step, dict), what, f"history has a malformed entry: {_shown(step)}")
        for key in ("created", "created_by", "author", "comment"):
            value = step.get(key)
            _expect(value is None or _is_text(value), what, f"history: {key} is {_shown(value)}")
    made = sum(step.get("empty_layer") is not True for step in history)
    _expect(made <= layers, what, f"tells the history of {made} layers, but has {layers}")


def _check_defaults(config: object, what: str) -> None:
    """What a container of the image starts with: names and types as in config.md."""
    if config is None:
        return
    _expect(isinstance(config, dict), what, "config is no object")
    assert isinstance(config, dict)
    for key, is_allowed in DEFAULTS.items():
        value = config.get(key)
        _expect(value is None or is_allowed(value), what, f"{key} is malformed: {_shown(value)}")


def _is_platform(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key, other), str)
        for key, other in (("os", None), ("architecture", None), ("variant", ""))
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value  # no C string can hold a NUL


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, (*value, *value.values())))


def _is_set(value: object) -> bool:
    """The Go programs that write configs have no sets: ``{"80/tcp": {}}`` stands for one."""
    return isinstance(value, dict) and all(map(_is_text, value))


DEFAULTS: dict[str, Callable[[object], bool]] = {
    "User": _is_text,
    "WorkingDir": _is_text,
    "StopSignal": _is_text,
    "Env": _is_text_list,
    "Entrypoint": _is_text_list,
    "Cmd": _is_text_list,
    "Labels": _is_text_map,
    "ExposedPorts": _is_set,
    "Volumes": _is_set,
}


def _expect(condition: object, what: str, problem: str) -> None:
    if not condition:
        raise ManifestError(f"{what}: {problem}")


def _shown(value: object) -> str:
    """A value of a stranger's in an error message: no control characters, and not too much."""
    text = printable(value if isinstance(value, str) else repr(value))
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
