"""The files of a container as the container sees them, with its volumes: for ``cp``.

One that runs is entered through its first process: /proc/PID/root is a directory in the container's
own mount namespace, and every path from there leads through the container's mounts. For one at rest
they are mounted here, as a start would do it, in a mount namespace of this process: nobody else
sees them, and they go with us, however we end. Meanwhile nobody can start the container.

    with Inside(state, container) as root: ...      an open directory, for inroot.py
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.engine import mounts
from minirun.engine.container import start_time
from minirun.errors import Error, StateError, printable
from minirun.image import inroot, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container
    from minirun.engine.mountflags import Mount
    from minirun.engine.state import State

BELOW = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
BOTH_OPEN = linux.MOVE_MOUNT_F_EMPTY_PATH | linux.MOVE_MOUNT_T_EMPTY_PATH


class Inside:
    """The root of a container, open while the ``with`` block lasts."""

    def __init__(self, state: State, container: Container) -> None:
        self._state, self._container = state, container
        self._adopted = False
        self._root = -1

    def __enter__(self) -> int:
        if self._container.is_up:
            self._root = root_of_process(self._container)
            return self._root
        self._adopted = self._state.containers.adopt(self._container)
        if not self._adopted:
            raise StateError(
                f"container {self._container.name} is being started, or copied to",
                hint="try again",
            )
        try:
            self._root = mount_all(self._state, self._container)
        except BaseException:
            self.__exit__()
            raise
        return self._root

    def __exit__(self, *_: object) -> None:
        if self._root >= 0:
            os.close(self._root)
        if self._adopted:
            self._state.containers.release(self._container)


def root_of_process(container: Container) -> int:
    """The root directory of a container's first process. The directory /proc/PID, once open, is
    that of one process for ever; so what is asked of it then is true of the root too."""
    pid = int(container.state["pid"])
    try:
        process = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
        finally:
            os.close(process)
    except (FileNotFoundError, ProcessLookupError):
        root = -1
    if root < 0 or start_time(pid) != container.state.get("startTime"):
        if root >= 0:
            os.close(root)
        raise StateError(f"container {container.name} has just ended", hint="try again")
    return root


def mount_all(state: State, container: Container) -> int:
    """Mount the layers and the volumes of a container at rest, for this process only."""
    found: list[Mount] = container.record.get("mounts") or []
    mounts.check(found)
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    lowers = state.snapshots.stack(container.record.get("diffIds") or [])
    rootfs = state.snapshots.mount(lowers, container.directory)
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for mount in found:
            if mount["type"] != "tmpfs":
                attach(root, mount)
        if container.options.get("read_only"):
            linux.mount_setattr(root, "", linux.AT_EMPTY_PATH, set=linux.MOUNT_ATTR_RDONLY)
    except BaseException:
        os.close(root)
        raise
    return root


def attach(root: int, mount: Mount) -> None:
    """Mount a volume, or a file or directory of the host, at its place below ``root``."""
    flags = linux.OPEN_TREE_CLONE | linux.AT_RECURSIVE
    copy = linux.open_tree(linux.AT_FDCWD, mount["source"], flags)
    place = -1
    try:
        if not mount["rw"]:
            linux.mount_setattr(copy, "", BELOW, set=linux.MOUNT_ATTR_RDONLY)
        place = make_place(root, os.fsencode(mount["destination"]), os.path.isdir(mount["source"]))
        linux.move_mount(copy, "", place, "", BOTH_OPEN)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Error(f"cannot mount {printable(mount['destination'])}: {reason}") from error
    finally:
        os.close(copy)
        if place >= 0:
            os.close(place)


def make_place(root: int, path: bytes, is_directory: bool) -> int:
    """What is to be mounted on, open (O_PATH); made where it is missing, as the runtime does."""
    if is_directory:
        return inroot.make_directories(root, path, make_directory)
    try:
        return inroot.open_in(root, path, os.O_PATH)
    except FileNotFoundError:
        parent, _, name = path.rpartition(b"/")
        fd = inroot.make_directories(root, parent, make_directory)
        try:
            os.close(os.open(name, tree.NEW_FILE, 0o644, dir_fd=fd))
            return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)


def make_directory(parent: int, path: list[bytes]) -> None:
    os.mkdir(path[-1], 0o755, dir_fd=parent)
