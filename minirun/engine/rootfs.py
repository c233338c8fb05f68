"""The files of a container, for who looks at them from outside: diff, commit, export.

A running container has its root file system mounted. For one at rest it is mounted here, read-only
and in a mount namespace of this process: nobody else sees it, and it goes with us, however we end.
What a container mounts itself (volumes, /proc) is in a namespace of its own, and so not here.

Interface: open_root, Changes.
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.errors import StateError
from minirun.image import changes, packing, roots, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.container import Container
    from minirun.engine.state import State

# What is mounted in every container: a runtime makes the places where the image lacks them.
PLACES = ("/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf",
          "/sbin/docker-init")  # fmt: skip


def open_root(state: State, container: Container) -> int:
    """The directory that the container has as its root, open."""
    rootfs = container.path("rootfs")
    lowers = layers(state, container)
    if not _is_mounted(container):
        if roots.is_copied(lowers):
            state.snapshots.mount(lowers, container.directory)
        else:
            linux.unshare(linux.CLONE_NEWNS)
            linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
            state.snapshots.look(lowers, container.directory)
    return tree.open_directory(rootfs)


def layers(state: State, container: Container) -> list[str]:
    """The directories of its image's layers, the newest first."""
    return state.snapshots.stack(container.record.get("diffIds") or [])


def _is_mounted(container: Container) -> bool:
    try:
        device = os.stat(container.path("rootfs")).st_dev
    except FileNotFoundError:
        return False
    return device != os.stat(container.directory).st_dev


class Changes:
    """What a container has changed: the directory of its own, above those of its image."""

    def __init__(self, state: State, container: Container) -> None:
        lowers = layers(state, container)
        if roots.is_copied(lowers):
            raise StateError(
                f"container {container.name} has a copy of its image: what it changed is not known",
                hint="overlayfs cannot be used here; minirun export writes all of its files",
            )
        self._root = roots.root_of(lowers)
        self._fds: list[int] = []
        try:
            for path in (state.snapshots.upper(lowers, container.directory), *lowers):
                self._fds.append(tree.open_directory(path))
            self._omit = changes.stubs(self._fds[0], self._fds[1:], _places(container))
        except BaseException:
            self.__exit__()
            raise

    def list(self) -> list[tuple[str, bytes]]:
        """Each change, as changes.py has it: ("A", b"srv/new")."""
        return changes.changes(self._fds[0], self._fds[1:], self._omit)

    def pack(self, write: Callable[[bytes], object]) -> None:
        """Write them as the tar of a layer."""
        upper = self._fds[0]
        packing.pack(upper, write, layer=True, omit=self._omit, with_root=self._has_other_root())

    def _has_other_root(self) -> bool:
        """Whether the container has changed the root directory itself."""
        own = os.fstat(self._fds[0])
        mode, owner = (0o40755, (0, 0))
        if self._root:
            status = os.stat(self._root)
            mode, owner = status.st_mode, (status.st_uid, status.st_gid)
        return own.st_mode != mode or (own.st_uid, own.st_gid) != owner

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)


def _places(container: Container) -> list[bytes]:
    """Where something was mounted that no user has asked for, as paths from the root."""
    from minirun.engine.container import read

    spec = read(container.path("config.json")) or {}
    mounted = {mount.get("destination") for mount in spec.get("mounts") or []}
    return [os.fsencode(place[1:]) for place in PLACES if place in mounted]
