"""The few things that are done with cgroup directories: make, read, walk, remove (cgroups(7))."""

from __future__ import annotations

import os
from errno import EBUSY, ENODEV, EOPNOTSUPP
from time import monotonic, sleep

from minirun import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def make_directory(directory: str) -> None:
    """Afterwards the directory is there, whoever made it."""
    try:
        calls.mkdirat(directory, 0o755)
    except FileExistsError:
        pass


def read(file: str) -> str:
    with open(file) as stream:
        return stream.read()


def lines(file: str) -> list[str]:
    """The lines of a file; none if its cgroup is gone, or has nothing of the kind to tell."""
    try:
        return read(file).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        if error.errno in (ENODEV, EOPNOTSUPP):  # removed while we read; switched off
            return []
        raise


def walk(top: str) -> Iterator[str]:
    """``top`` and all cgroups below it, children first; nothing if there is no such cgroup."""
    try:
        with os.scandir(top) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for child in children:
        yield from walk(child)
    yield top


def pids(directory: str) -> list[int]:
    """The processes of one cgroup, none if it is gone.

    None either of a threaded cgroup of v2: its processes are listed by the cgroup it is a part of.
    """
    return [int(line) for line in lines(f"{directory}/cgroup.procs")]


def remove_directory(directory: str, patience: float = 0) -> bool:
    """rmdir(2): is it gone now? It goes when no process and no cgroup is in it any more (EBUSY).

    The ``patience``, in seconds, is for the kernel, which still buries the last process.
    """
    deadline = monotonic() + patience
    while True:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != EBUSY:
                raise
        else:
            calls.told("rmdir", (directory,), 0)
            return True
        if monotonic() >= deadline:
            return False
        sleep(0.001)
