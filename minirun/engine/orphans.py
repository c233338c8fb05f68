"""What is left of containers that nobody attends to any more: mounts, cgroups, sockets, records,
addresses.

A container gives back what it has when it ends, and the next command does it for one whose monitor
was killed. So there should be nothing here; what there is, some fault or somebody has left behind.

Each is recognised by the id in its name, of a container of this store: what belongs to others, or
to another store of ours, stays. (Of empty cgroups, the machine's own store takes care.)
"""

from __future__ import annotations

import os
import time

from minirun import linux
from minirun.engine.container import SHORT
from minirun.engine.containers import ID_LENGTH
from minirun.engine.oci import OWN, Runtime
from minirun.image.damage import Damage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.engine.state import State

CGROUPS = "/sys/fs/cgroup"
PARENT = "minirun"  # where minirun-oci puts its cgroups
YOUNG = 60  # seconds
HEXADECIMAL = frozenset("0123456789abcdef")


def find(state: State) -> Iterator[Damage]:
    """Everything of that kind, on this machine."""
    yield from _mounts(state)
    yield from _records(state)
    yield from _cgroups(state)
    yield from _sockets(state)
    yield from _networks(state)


def is_live(state: State, ident: str) -> bool:
    """Asked after a thing was found, for the mark is made before it and goes after it."""
    return os.path.exists(f"{state.paths.live}/{ident}")


def is_id(text: str) -> bool:
    return len(text) == ID_LENGTH and HEXADECIMAL.issuperset(text)


def _mounts(state: State) -> Iterator[Damage]:
    """Below containers/: the innermost first, for that is the order in which they go."""
    top = os.path.realpath(state.paths.containers) + "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [_unescape(line.split(" ")[4]) for line in file]
    for point in sorted((p for p in points if p.startswith(top)), reverse=True):
        if not is_live(state, point[len(top) :].partition("/")[0]):
            yield Damage(f"mount {point}", "it belongs to no running container", _unmount(point))


def _unescape(path: str) -> str:
    """A path of mountinfo, in which blanks and the like are octal. proc_pid_mountinfo(5)

    >>> _unescape(r"/a\\040b")
    '/a b'
    """
    for code, character in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        path = path.replace(f"\\{code}", character)
    return path


def _unmount(point: str) -> Callable[[], str]:
    def unmount() -> str:
        linux.umount2(point, linux.MNT_DETACH)
        return "unmounted"

    return unmount


def _records(state: State) -> Iterator[Damage]:
    """The runtime's own records: it may have more of that container, so it is told to delete it."""
    for ident in sorted(os.listdir(state.paths.oci)):
        if is_id(ident) and not is_live(state, ident):
            path = f"{state.paths.oci}/{ident}"
            yield Damage(path, "no container runs by that id", _delete(state, ident, path))


def _delete(state: State, ident: str, path: str) -> Callable[[], str]:
    def delete() -> str:
        from minirun.image import tree

        container = state.containers.load(ident)
        runtime = state.runtime(container) if container else Runtime(OWN, state.paths)
        try:
            runtime.delete(ident)
        finally:
            tree.rmtree(path)
        return "deleted"

    return delete


def _cgroups(state: State) -> Iterator[Damage]:
    """Those of minirun-oci: by the ids of our containers that do not run; and, for the machine's
    own store, those in which nothing has been for a while, whosever they were."""
    found: dict[str, list[str]] = {}
    for tree in [CGROUPS, *(f"{CGROUPS}/{name}" for name in os.listdir(CGROUPS))]:
        parent = f"{tree}/{PARENT}"
        for ident in filter(is_id, os.listdir(parent) if os.path.isdir(parent) else []):
            found.setdefault(ident, []).append(f"{parent}/{ident}")
    for ident, paths in sorted(found.items()):
        what = f"cgroup {PARENT}/{ident[:SHORT]}"
        if os.path.isdir(f"{state.paths.containers}/{ident}"):
            if not is_live(state, ident):
                yield Damage(what, "its container does not run", _remove_cgroups(paths))
        elif state.paths.base is None and all(map(_is_forgotten, paths)):
            yield Damage(what, "nothing is in it", _remove_cgroups(paths))


def _is_forgotten(path: str) -> bool:
    """Whether no process is in a cgroup or below it, and it is not just being made or removed."""
    try:
        if time.time() - os.stat(path).st_mtime < YOUNG:
            return False
        for directory, _, _ in os.walk(path):
            with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
                if file.read():
                    return False
    except OSError:  # it has just gone
        return False
    return True


def _remove_cgroups(paths: list[str]) -> Callable[[], str]:
    def remove() -> str:
        for path in paths:
            for directory, _, _ in os.walk(path, topdown=False):
                os.rmdir(directory)
        return "removed"

    return remove


def _sockets(state: State) -> Iterator[Damage]:
    for name in sorted(os.listdir(state.paths.attach)):
        if not is_live(state, name.partition(".")[0]):
            path = f"{state.paths.attach}/{name}"
            yield Damage(path, "no monitor listens there", _unlink(path))


def _unlink(path: str) -> Callable[[], str]:
    def unlink() -> str:
        os.unlink(path)
        return "removed"

    return unlink


def _networks(state: State) -> Iterator[Damage]:
    """Addresses, bridges, rules and name servers. One repair mends all of them."""
    from minirun.engine.network import mending

    for what, problem in mending.orphans(state):
        yield Damage(what, problem, lambda: mending.mend(state))
