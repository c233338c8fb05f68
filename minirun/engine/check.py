"""``system check``: is all that the store says true, and is all there that it says?

    images and layers       image/damage.py: every byte is read again
    containers              what is needed to start them, and who has which name
    volumes, networks       their records
    this machine            orphans.py: what containers have left behind

Interface: ``damages`` finds, one after the other; ``leftovers`` counts what is no damage, but of
use to nobody.
"""

from __future__ import annotations

import os

from minirun.engine import container as records
from minirun.engine import orphans
from minirun.engine.container import DAMAGED, EXITED, LOST, SHORT
from minirun.errors import Error, NotFound
from minirun.image import damage
from minirun.image.damage import Damage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.engine.container import Container
    from minirun.engine.state import State


def damages(state: State, *, quick: bool = False) -> Iterator[Damage]:
    """Everything that is wrong. ``quick``: contents of images and layers are not read."""
    in_use = _layers_in_use(state)
    yield from damage.of_store(state.store, state.snapshots, quick=quick, in_use=in_use)
    for ident in sorted(os.listdir(state.paths.containers)):
        yield from _container(state, ident)
    yield from _names(state)
    yield from _volumes(state)
    yield from orphans.find(state)
    yield from _networks(state)


def _layers_in_use(state: State) -> set[str]:
    """Layers above which a container is mounted."""
    found: set[str] = set()
    for container in state.containers.all():
        if state.containers.is_live(container):
            try:
                found.update(state.snapshots.stack(container.record.get("diffIds") or []))
            except NotFound:
                continue
    return found


# --- containers ---------------------------------------------------------------------------------


def _container(state: State, ident: str) -> Iterator[Damage]:
    directory = f"{state.paths.containers}/{ident}"
    if not orphans.is_id(ident):
        yield Damage(directory, "this is not a container")
        return
    container = state.containers.load(ident)
    live = orphans.is_live(state, ident)
    what = f"container {ident[:SHORT]}"
    if container is None:
        if not live:  # else its creation has just begun
            yield Damage(what, "it has no record", _remove(state, ident), hint=_files(directory))
        return
    record = records.read(container.path(records.RECORD))
    if record is None or record.get("status") == DAMAGED or record.get("id") != ident:
        yield Damage(what, "container.json is damaged", hint=_files(directory))
        return
    what = f"container {container.name}"
    if (problem := _state_problem(container)) and not live:
        yield Damage(what, problem, _mend_state(state, container))
    for file in ("spec.json", "config.json"):
        document = records.read(container.path(file))
        if (document is None and file == "spec.json") or (document or {}).get("status") == DAMAGED:
            repair = _mend_spec(container, file)
            hint = None if repair else "it cannot be started; minirun commit, and run the new image"
            yield Damage(what, f"{file} is damaged", repair, hint=hint)
    if problem := _layer_problem(state, container):
        repair = _unpack(state, container)
        yield Damage(what, problem, repair, hint=None if repair else "minirun pull its image")
    if not _is_named(state, container):
        yield Damage(what, "its name does not lead to it", _name(state, container))


def _state_problem(container: Container) -> str | None:
    found = records.read(container.path(records.STATE))
    if found is None:
        return "state.json is missing"
    return None if found.get("status") in records.STATUSES[:-1] else "state.json is damaged"


def _mend_state(state: State, container: Container) -> Callable[[], str]:
    def mend() -> str:
        if not state.containers.adopt(container):
            return "somebody attends to it just now"
        container.state = {}
        container.save_state(status=EXITED, pid=0, exitCode=LOST)
        state.containers.release(container)
        return "it has ended; nobody knows when and how"

    return mend


def _mend_spec(container: Container, file: str) -> Callable[[], str] | None:
    """config.json is written at each start; spec.json, from which it is made, is not."""
    if file == "spec.json":
        return None

    def mend() -> str:
        os.unlink(container.path(file))
        return "removed: the next start writes it"

    return mend


def _layer_problem(state: State, container: Container) -> str | None:
    try:
        state.snapshots.stack(container.record.get("diffIds") or [])
    except NotFound as error:
        return error.message
    return None


def _unpack(state: State, container: Container) -> Callable[[], str] | None:
    from minirun.engine.commit import image_of

    try:
        image = image_of(state, container)
        if not all(map(state.store.has, image.layers)):
            return None
    except Error:
        return None

    def unpack() -> str:
        state.lowers(image)
        return "unpacked again"

    return unpack


def _remove(state: State, ident: str) -> Callable[[], str]:
    def remove() -> str:
        container = records.Container(f"{state.paths.containers}/{ident}", {})
        if not state.containers.adopt(container):
            return "somebody attends to it just now"
        state.containers.remove(container)
        return "removed"

    return remove


def _files(directory: str) -> str:
    return f"what it has written is in {directory}/upper; minirun rm -f removes it"


# --- names, volumes, networks -------------------------------------------------------------------


def _is_named(state: State, container: Container) -> bool:
    try:
        return os.readlink(f"{state.paths.names}/{container.name}") == container.id
    except OSError:
        return False


def _name(state: State, container: Container) -> Callable[[], str]:
    def name() -> str:
        link = f"{state.paths.names}/{container.name}"
        if os.path.lexists(link) and not os.path.islink(link):
            os.unlink(link)
        state.containers.rename(container, container.name)
        return "named again"

    return name


def _names(state: State) -> Iterator[Damage]:
    for name in sorted(os.listdir(state.paths.names)):
        path = f"{state.paths.names}/{name}"
        try:
            ident = os.readlink(path)
        except OSError:
            yield Damage(path, "this is not the name of a container", _unlink(path))
            continue
        if not os.path.isdir(f"{state.paths.containers}/{ident}"):
            yield Damage(path, "it leads to no container", _unlink(path))


def _unlink(path: str) -> Callable[[], str]:
    def unlink() -> str:
        os.unlink(path)
        return "removed"

    return unlink


def _volumes(state: State) -> Iterator[Damage]:
    from minirun.engine.volumes import Volumes

    for volume in Volumes(state).all():
        what = f"volume {volume.name}"
        record = records.read(f"{volume.directory}/volume.json")
        if record is None or record.get("status") == DAMAGED:
            path = f"{volume.directory}/volume.json"
            yield Damage(what, "volume.json is damaged: its labels are lost", _mend_volume(path))
        if not os.path.isdir(volume.data):
            yield Damage(what, f"{volume.data} is missing: its files are lost")


def _mend_volume(path: str) -> Callable[[], str]:
    def mend() -> str:
        made = os.stat(os.path.dirname(path)).st_mtime
        records.write(path, {"created": made, "labels": {}, "options": {}})
        return "written anew; its files are all there"

    return mend


def _networks(state: State) -> Iterator[Damage]:
    for name in sorted(os.listdir(state.paths.networks)):
        path = f"{state.paths.networks}/{name}"
        record = records.read(path) or {}
        if not {"id", "name", "subnet"} <= record.keys():
            yield Damage(path, "it is damaged", _unlink(path), hint="minirun network create")
    from minirun.engine.network import mending

    for what, problem in mending.orphans(state):
        yield Damage(what, problem, lambda: mending.mend(state))


# --- what is of no use --------------------------------------------------------------------------


def leftovers(state: State) -> tuple[list[str], int]:
    """Blobs, layers and volumes that nothing needs, such as a command leaves that was killed: their
    paths, and bytes. None while somebody works with the store, for then they may be his."""
    from minirun.engine import cleaning, sizes
    from minirun.engine.volumes import Volumes

    guard = state.store.sweeping_if_idle()
    if guard is None:
        return [], 0
    with guard:
        found = state.store.unneeded()
        layers = state.snapshots.unneeded(cleaning.needed_layers(state))
        found += [f"{state.snapshots.root}/{name}" for name in layers]
        found += Volumes(state).leftovers()
        return found, sum(sizes.of_tree(p) if os.path.isdir(p) else _size(p) for p in found)


def _size(path: str) -> int:
    return os.stat(path).st_size

