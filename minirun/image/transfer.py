"""Bring an image from a registry into the store: the whole pull is the list STEPS.

    name ──► index ──► manifest ──► config ──► layers ──► name

Each arrow is a digest, so whoever hands out the bytes (a mirror, a cache, a stranger's network)
cannot change them: only the first answer, what the name stands for, has to be believed. Children
come before what names them, and the name comes last. So a pull that is cut off, at any point, has
made no image; the next one finds the blobs that are there and continues.

Every step's docstring says why it is done, how to do it by hand, and where it is specified; that
is what ``minirun pull --explain`` shows, with what went over the wire.
"""

from __future__ import annotations

import time

from minirun.errors import ImageError, ManifestError, RegistryError
from minirun.image import fetch, manifest, platform
from minirun.image.progress import Quiet, short, size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.image.platform import Platform
    from minirun.image.reference import Reference
    from minirun.image.registry import Exchange, Registry
    from minirun.image.snapshot import Snapshots
    from minirun.image.store import Image, Store

    Document = dict[str, Any]
    Step = Callable[["Pull"], None]
    Explain = Callable[[Step, list[str]], None]

MAX_NESTING = 8  # indexes within indexes


class Pull:
    """What the steps of one pull know so far."""

    registry: Registry
    document: Document  # the index or manifest at hand, as sent; at last the manifest
    body: bytes
    descriptor: Document  # of the document
    source: str  # the digest that the name stands for
    config: Document
    image: Image

    def __init__(
        self,
        reference: Reference,
        store: Store,
        snapshots: Snapshots,
        *,
        wanted: Platform,
        tls_verify: bool,
        progress: Quiet,
    ) -> None:
        self.reference = reference
        self.name = reference.canonical
        self.store = store
        self.snapshots = snapshots
        self.wanted = wanted
        self.tls_verify = tls_verify
        self.progress = progress
        self.fetched = 0  # bytes
        self.told: list[str] = []
        self.warned: set[str] = set()

    def tell(self, line: str) -> None:
        """Something that ``--explain`` shows under the step at hand."""
        self.told.append(line)

    def warn(self, line: str) -> None:
        """Something to know; once, however many layers it is about."""
        if line not in self.warned:
            self.warned.add(line)
            self.progress.warn(line)

    def go_on_with(self, media_type: str, body: bytes, digest: str) -> None:
        """A document has just come; its bytes have the digest."""
        self.body = body
        self.document = manifest.parse(body, self.name)
        kind = manifest.check_media_type(self.document, media_type, self.name)
        self.descriptor = {"mediaType": kind, "digest": digest, "size": len(body)}

    def hear(self, exchange: Exchange) -> None:
        self.tell(f"{exchange.request} → {exchange.status} {exchange.meaning}".rstrip())


def pull(
    reference: Reference,
    store: Store,
    snapshots: Snapshots,
    *,
    wanted: Platform | None = None,
    tls_verify: bool = True,
    progress: Quiet | None = None,
    explain: Explain | None = None,
) -> Image:
    """Afterwards the store has the image under the reference's name, unpacked and ready to run.

    ``wanted`` is the platform, this machine's if None. ``explain`` is called after each step with
    the step's function and the lines that tell what it did. Raises ImageError; then the store has
    the images it had before, and what was already fetched is used by the next attempt.
    """
    started = time.monotonic()
    state = Pull(
        reference,
        store,
        snapshots,
        wanted=wanted or platform.host(),
        tls_verify=tls_verify,
        progress=progress or Quiet(),
    )
    summary = ""
    try:
        with store.hold():
            _run(state, explain)
        summary = _summary(state, time.monotonic() - started)
    except ImageError as error:
        if not isinstance(error, RegistryError):  # what came is wrong: there is no going on from it
            store.sweep_if_idle()
        raise
    finally:
        if hasattr(state, "registry"):
            state.registry.close()
        state.progress.close(summary)
    return state.image


def _run(state: Pull, explain: Explain | None) -> None:
    for step in STEPS:
        try:
            step(state)
        finally:
            if explain:
                explain(step, state.told)
            state.told = []


def _summary(state: Pull, seconds: float) -> str:
    if not state.fetched:
        return f"{state.name}: up to date ({seconds:.1f} s)"
    count = len(state.document["layers"])
    layers = f"{count} layer{'' if count == 1 else 's'}"
    return f"{state.name}: {layers}, fetched {size_text(state.fetched)} in {seconds:.1f} s"


# --- the steps ----------------------------------------------------------------------------------


def find_name(pull: Pull) -> None:
    """Ask the registry what the name stands for.

    A registry that wants to know who asks answers 401 first, and says where to get a token.

    why:    a tag can be moved at any time; the digest that it leads to cannot
    shell:  skopeo inspect --raw docker://centos:8
    man:    distribution-spec, "Pulling manifests"
    """
    from minirun.image import registry

    pull.registry, answer = registry.find(
        pull.reference,
        accept=manifest.ACCEPTED,
        tls_verify=pull.tls_verify,
        listener=pull.hear,
    )
    pull.source = answer.digest
    pull.go_on_with(answer.media_type, answer.body, answer.digest)


def choose_platform(pull: Pull) -> None:
    """Go from an index to the manifest for this machine.

    why:    one name serves machines of many kinds, each needs programs of its own
    shell:  skopeo inspect --raw docker://centos:8 | jq '.manifests[] | {platform, digest}'
    man:    image-spec, image-index.md
    """
    for _ in range(MAX_NESTING):
        if pull.descriptor["mediaType"] in manifest.MANIFESTS:
            manifest.check_manifest(pull.document, pull.name)
            layers = len(pull.document["layers"])
            pull.tell(f"manifest {pull.descriptor['digest']}: a config and {layers} layers")
            return
        entries = manifest.check_index(pull.document, pull.name)
        known = [entry for entry in entries if entry["mediaType"] in manifest.ACCEPTED]
        chosen = platform.choose(known, pull.wanted, pull.name)
        pull.tell(f"{pull.wanted} is {chosen['digest']}, one of {len(entries)} in the index")
        pull.go_on_with(chosen["mediaType"], fetch.document(pull, chosen), chosen["digest"])
    raise ManifestError(f"{pull.name}: more than {MAX_NESTING} indexes within each other")


def fetch_config(pull: Pull) -> None:
    """Fetch the image's config.

    why:    it says what to start, as whom and where; and what each layer is when unpacked
    shell:  skopeo inspect --config docker://centos:8
    man:    image-spec, config.md
    """
    descriptor = pull.document["config"]
    fetch.blob(pull, descriptor)
    what = f"{pull.name}: config {short(descriptor['digest'])}"
    document = manifest.parse(pull.store.read(descriptor["digest"]), what)
    pull.config = manifest.check_config(document, what, len(pull.document["layers"]))
    found = platform.of_config(document)
    if found not in pull.wanted.accepts():
        raise platform.unavailable(pull.wanted, [found], pull.name)
    pull.tell(f"for {found}; its ID is {descriptor['digest']}")


def fetch_layers(pull: Pull) -> None:
    """Fetch the layers, several at once, and unpack each as soon as it is here and checked.

    why:    each is a part of the root filesystem, shared by all the images that begin alike
    shell:  skopeo copy docker://centos:8 oci:centos:8; umoci unpack --image centos:8 bundle
    man:    image-spec, layer.md
    """
    fetch.layers(pull)


def name_image(pull: Pull) -> None:
    """Write the manifest, and then the name into index.json.

    why:    from here on the image exists; whatever stops us earlier leaves no half of it
    shell:  jq '.manifests[].annotations' /var/lib/minirun/images/index.json
    man:    image-spec, image-layout.md
    """
    pull.store.ingest(pull.descriptor, lambda offset: [pull.body[offset:]])
    pull.image = pull.store.tag(pull.name, pull.descriptor, source=pull.source)
    pull.tell(f"{pull.image.name} is {pull.image.digest}")


STEPS: tuple[Step, ...] = (
    find_name,
    choose_platform,
    fetch_config,
    fetch_layers,
    name_image,
)
