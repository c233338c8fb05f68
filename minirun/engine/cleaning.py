"""What nothing needs any more: images, unpacked layers, containers that have ended; or all of it.

An image that a container was made of is needed until that container is removed. ``rmi -f`` takes
its names away and nothing else; what is left is an image without a name, for ``image prune``.

Interface: remove_image; prune_images, prune_containers, prune_system; each returns what it removed,
and how many bytes that was on the disk.
"""

from __future__ import annotations

import time

from minirun.engine import filters, sizes, times
from minirun.engine.table import timestamp
from minirun.errors import StateError, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirun.engine.state import State
    from minirun.image.store import Image

    Pruned = tuple[list[str], int]


def remove_image(state: State, name: str, *, force: bool = False) -> list[str]:
    """Take away a name, and with the last one the image; what happened, in Docker's words."""
    image = state.image(name)
    users = [c for c in state.containers.all() if c.record.get("imageId") == image.id]
    if users and not force and len([i for i in state.store.images() if i.id == image.id]) == 1:
        raise StateError(
            f"{name}: container {users[0].id[:12]} uses the image",
            hint="minirun rm, or rmi -f: it loses its name, and stays as long as the container",
        )
    if users and image.name is None:
        raise StateError(
            f"{name}: container {users[0].id[:12]} uses the image, and it has no name to lose",
            hint=f"minirun rm {users[0].id[:12]}",
        )
    used = {image.id} if users else set()
    events = state.store.remove(name, force=force, used=used)
    if guard := state.store.sweeping_if_idle():  # else the next rmi or prune does it
        with guard:
            _prune_layers(state)
    _tell(state, events)
    return events


def prune_images(state: State, words: Sequence[str] = (), *, everything: bool = False) -> Pruned:
    """Remove images without a name, with ``everything`` all that no container uses, if they fit
    the filters ``words``: what happened, and the bytes of blobs and layers."""
    used = {c.record.get("imageId") for c in state.containers.all()}
    fits = filters.keep(words, {
        "dangling": filters.truth("dangling", lambda image: image.name is None),
        **_tests(lambda image: timestamp(image.created) or 0.0, _of_image),
    })  # fmt: skip
    asked = "dangling" in filters.parse(words)

    def unwanted(image: Image) -> bool:
        if image.name and not (everything or asked):
            return False
        try:
            return image.id not in used and fits(image)
        except StoreError:  # nobody knows who uses it
            return False

    events, freed = state.store.prune(unwanted)
    with state.store.sweeping():
        freed += _prune_layers(state)
    _tell(state, events)
    return events, freed


def _prune_layers(state: State) -> int:
    """Remove the unpacked layers that no image and no container needs; bytes."""
    snapshots, keep = state.snapshots, needed_layers(state)
    names = snapshots.unneeded(keep)
    freed = sum(sizes.of_tree(f"{snapshots.root}/{name}") for name in names)
    snapshots.prune(keep)
    return freed


def needed_layers(state: State) -> list[list[str]]:
    """The diff_ids of every image and container. StoreError if one of them cannot be read: then
    nobody knows what it needs."""
    keep = [image.diff_ids for image in state.store.images()]
    for container in state.containers.all():
        if "diffIds" in container.record:
            keep.append(container.record["diffIds"])
        elif state.containers.is_live(container):
            raise StateError(f"container {container.id[:12]} runs, and its record is damaged")
    return keep


def _tests(
    made: Callable[[Any], float], labels: Callable[[Any], dict[str, str] | None]
) -> dict[str, filters.Maker]:
    """The filters that all prunes have: ``made`` is when a thing was made, seconds since 1970."""
    now = time.time()

    def older(value: str) -> filters.Test:
        limit = times.moment(value, now)
        return lambda thing: made(thing) <= limit

    def found(thing: Any) -> dict[str, str]:
        return labels(thing) or {}

    return {
        "until": older,
        "label": filters.label(found),
        "label!": filters.label(found, without=True),
    }


def _of_image(image: Image) -> dict[str, str] | None:
    return (image.config.get("config") or {}).get("Labels")


def _of_record(thing: Any) -> dict[str, str] | None:
    record = thing if isinstance(thing, dict) else thing.record
    found: dict[str, str] | None = record.get("labels")
    return found


def prune_containers(state: State, words: Sequence[str] = ()) -> Pruned:
    """Remove the containers that have ended, or never began, if they fit the filters: their IDs."""

    from minirun.engine import finish

    tests = _tests(lambda c: float(c.record.get("created", 0)), _of_record)
    fits = filters.keep(words, tests)
    removed, freed = [], 0
    for container in state.containers.all():
        if not fits(container) or not state.containers.adopt(container):
            continue
        freed += sizes.of_tree(container.path("upper"))
        finish.remove(state, container)
        removed.append(container.id)
    return removed, freed


def prune_system(
    state: State, words: Sequence[str] = (), *, everything: bool = False, volumes: bool = False
) -> tuple[dict[str, list[str]], int]:
    """All of it, in an order in which each makes more of the next unneeded; by kind, and bytes."""
    from minirun.engine.volumes import Volumes

    removed: dict[str, list[str]] = {}
    removed["Containers"], freed = prune_containers(state, words)
    removed["Networks"] = _prune_networks(state, words)
    if volumes:
        fits = filters.keep(words, _tests(lambda volume: volume.created, _of_record))
        removed["Volumes"], more = Volumes(state).prune(lambda v: v.is_anonymous and fits(v))
        freed += more
    removed["Images"], more = prune_images(state, words, everything=everything)
    return removed, freed + more


def _prune_networks(state: State, words: Sequence[str]) -> list[str]:
    from minirun.engine.network import joining, records

    fits = filters.keep(words, _tests(lambda record: float(record["created"]), _of_record))
    removed = []
    for record in filter(fits, records.Networks(state.paths).all()):
        try:
            joining.remove(state, record["id"])
        except StateError:  # a container is on it, or it is the default one
            continue
        removed.append(str(record["name"]))
    return removed


def _tell(state: State, happened: Sequence[str]) -> None:
    """Events, of "Untagged: NAME" and "Deleted: ID"."""
    from minirun.engine import events

    for line in happened:
        word, _, what = line.partition(": ")
        action = {"Untagged": "untag", "Deleted": "delete"}[word]
        events.emit(state.paths, "image", action, what, name=what)
