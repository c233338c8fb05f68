"""Fetching the parts of an image into the store: its documents, its config, and all its layers.

Layers take two things that do not wait for each other: threads fetch (they wait for the network,
and hashing runs outside Python's lock), processes unpack (workers.py). A thread hands each layer
that it has fetched and checked to the next free process; so while one layer is unpacked, others
are on their way, and nothing is unpacked whose digest is not known to be right.
"""

from __future__ import annotations

import os

from minirun.errors import ManifestError, StoreError
from minirun.image import manifest
from minirun.image.progress import size_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import Any

    from minirun.image.layer import Unpacked
    from minirun.image.snapshot import Snapshots
    from minirun.image.store import Store
    from minirun.image.transfer import Pull
    from minirun.image.workers import Workers

    Document = dict[str, Any]

CONNECTIONS = 4  # layers that are fetched at once; registries like no more from one client


def document(pull: Pull, descriptor: Document) -> bytes:
    """The bytes of a manifest that an index leads to, from the store if it is there."""
    if pull.store.has(descriptor):
        return pull.store.read(descriptor["digest"])
    answer = pull.registry.manifest(descriptor["digest"], accept=manifest.ACCEPTED)
    if len(answer.body) != descriptor["size"]:
        raise ManifestError(
            f"{pull.name}: manifest {descriptor['digest']} has {len(answer.body)} bytes, "
            f"but its index says {descriptor['size']}"
        )
    return answer.body


def blob(pull: Pull, descriptor: Document) -> str:
    """Bring a blob into the store, unless it is there; its path."""

    def fetch(offset: int) -> Iterator[bytes]:
        pull.progress.advance(descriptor["digest"], offset)
        for chunk in pull.registry.blob(descriptor, offset):
            pull.fetched += len(chunk)
            pull.progress.advance(descriptor["digest"], len(chunk))
            yield chunk

    return pull.store.ingest(descriptor, fetch)


def layers(pull: Pull) -> None:
    """Afterwards all layers are here and unpacked."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    import minirun.image.layer  # noqa: F401 (here once, and not in every worker)
    from minirun.image.snapshot import Snapshots
    from minirun.image.workers import Workers

    todo = _layers_to_do(pull)
    _check_room(pull, [layer for layer, _ in todo])
    pull.progress.expect({layer["digest"]: layer["size"] for layer, _ in todo})
    processes = min(len(todo), os.cpu_count() or 1)
    with (
        Workers(_Unpacker(pull.snapshots.root), processes) as workers,
        ThreadPoolExecutor(CONNECTIONS) as threads,
    ):
        jobs: list[Future[None]] = []
        try:
            for layer in todo:
                jobs.append(_submit(threads, _do_layer, pull, workers, *layer))
            for job in as_completed(jobs):
                job.result()
        except BaseException as error:
            for job in jobs:
                job.cancel()
            pull.registry.close()  # ends the transfers that others are still waiting for
            if not isinstance(error, Exception):
                workers.kill()  # somebody pressed ctrl-c; else a layer that is half done gets done
            raise
    snapshots = Snapshots(pull.snapshots.root, pull.warn)
    unpack(pull.store, snapshots, pull.document, pull.config)


def _submit(threads: ThreadPoolExecutor, *call: Any) -> Future[None]:
    try:
        return threads.submit(*call)
    except RuntimeError as error:  # what Python makes of EAGAIN, clone(2)
        hint = "more processes are needed than `ulimit -u` or a pids cgroup allows"
        raise StoreError(str(error), hint=hint) from None


def _layers_to_do(pull: Pull) -> list[tuple[Document, list[str]]]:
    """The layers to fetch or to unpack, each once, with the diff_ids from the base up to it."""
    diff_ids = pull.config["rootfs"]["diff_ids"]
    todo: dict[str, tuple[Document, list[str]]] = {}
    for number, layer in enumerate(pull.document["layers"], 1):
        if not (pull.store.has(layer) and pull.snapshots.find(diff_ids[:number])):
            todo.setdefault(layer["digest"], (layer, diff_ids[:number]))
        else:
            pull.tell(f"{layer['digest']} is here already")
    return list(todo.values())


def _do_layer(pull: Pull, workers: Workers, layer: Document, diff_ids: list[str]) -> None:
    """Fetch one layer and have it unpacked. Runs in a thread; the unpacking in a process."""
    digest = layer["digest"]
    path = blob(pull, layer)
    pull.progress.say(digest, "unpacking")
    story, warnings = workers.run([path, diff_ids])
    for warning in warnings:
        pull.warn(warning)
    pull.progress.finish(digest)
    pull.tell(f"{digest} ({size_text(layer['size'])}) unpacks to {diff_ids[-1]}: {story}")


class _Unpacker:
    """What a worker does with each job: unpack a layer without those below it."""

    def __init__(self, root: str) -> None:
        from minirun.image.snapshot import Snapshots

        self.unpacked: list[Unpacked] = []
        self.warnings: list[str] = []
        self.snapshots = Snapshots(root, self.warnings.append, self.unpacked.append)

    def __call__(self, job: tuple[str, list[str]]) -> tuple[str, list[str]]:
        """What there is to tell, and the warnings."""
        self.unpacked.clear()
        self.warnings.clear()
        if not self.snapshots.add(*job, alone=True):
            story = "it leans on those below, so it is unpacked after them"
        elif self.unpacked:
            story = f"{self.unpacked[0].entries} files, {self.unpacked[0].whiteouts} whiteouts"
        else:
            story = "somebody else has unpacked it"
        return story, self.warnings


def unpack(store: Store, snapshots: Snapshots, document: Document, config: Document) -> None:
    """Afterwards every layer of an image in the store is unpacked, from the oldest to the newest.

    Layers that are unpacked already cost a look each.
    """
    diff_ids = config["rootfs"]["diff_ids"]
    for number, layer in enumerate(document["layers"], 1):
        if not snapshots.find(diff_ids[:number]):
            snapshots.add(store.blob_path(layer["digest"]), diff_ids[:number])


def _check_room(pull: Pull, layers: list[Document]) -> None:
    """Better to refuse now than when the disk is full. Unpacked, the layers need more still."""
    missing = sum(layer["size"] for layer in layers if not pull.store.has(layer))
    disk = os.statvfs(pull.store.root)
    free = disk.f_bavail * disk.f_frsize
    if missing > free:
        needs = f"needs {size_text(missing)}, {size_text(free)} are free"
        raise StoreError(
            f"{pull.store.root}: {pull.name} {needs}",
            hint="minirun prune deletes images that have lost their name",
        )
