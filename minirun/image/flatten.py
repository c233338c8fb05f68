"""Layers laid on one another, for good: all that a container would see, as plain files.

    flatten(["base.tar", "change.tar.gz"], directory)

Each layer is first unpacked into a directory of its own, beside what is there. Only when all were
accepted are they merged, oldest first: so a layer that is refused leaves nothing behind.
"""

from __future__ import annotations

import os

from minirun.image import layer, tree, whiteout
from minirun.image.compression import Layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def flatten(layers: Sequence[str], directory: str) -> list[str]:
    """Apply layers, oldest first, to a directory, which is made if it is missing.

    What it holds already is treated as one more layer, the oldest. Returns warnings. LayerError if
    a layer is refused; the directory is then as it was.
    """
    made = _make(directory)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    before = os.fstat(root)
    staging = f".minirun-unpack-{os.urandom(8).hex()}"
    done = False
    try:
        os.mkdir(staging, 0o700, dir_fd=root)
        warnings = _flatten(layers, root, staging)
        done = True
    finally:
        tree.remove(staging, root)
        if not done:
            os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))
        os.close(root)
        if made and not done:
            os.rmdir(directory)
    return warnings


def _make(directory: str) -> bool:
    try:
        os.mkdir(directory)
    except FileExistsError:
        return False
    return True


def _flatten(layers: Sequence[str], root: int, staging: str) -> list[str]:
    fds: list[int] = []  # of the unpacked layers, nearest first
    unpacked = []
    try:
        for n, path in enumerate(layers):
            name = f"{staging}/{n}"
            os.mkdir(name, 0o700, dir_fd=root)
            fd = tree.open_directory(name, root)
            below = [*fds, root]
            fds.insert(0, fd)
            with open(path, "rb") as blob, Layer(blob) as chunks:
                unpacked.append(layer.unpack(chunks, fd, below=below))
        for fd, result in zip(reversed(fds), unpacked, strict=True):
            _merge(fd, root, staging, result)
    finally:
        for fd in fds:
            os.close(fd)
    return [warning for result in unpacked for warning in result.warnings]


def _merge(upper: int, root: int, staging: str, unpacked: layer.Unpacked) -> None:
    """Move what an unpacked layer holds to where it belongs, and apply its whiteouts."""
    before = os.fstat(root)
    with tree.Walk(upper) as source, tree.Walk(root) as goal:
        todo = [_merge_directory(source.fd, goal.fd, unpacked.whiteouts > 0, staging)]
        while todo:
            if todo[-1]:
                name = todo[-1].pop()
                source.down(name)
                goal.down(name)
                todo.append(_merge_directory(source.fd, goal.fd, unpacked.whiteouts > 0))
                continue
            todo.pop()
            if todo or unpacked.names_root:  # last, because filling it changed its times
                tree.copy_attributes(source.fd, goal.fd)
            else:
                os.utime(root, ns=(before.st_atime_ns, before.st_mtime_ns))
            if todo:
                source.up()
                goal.up()


def _merge_directory(source: int, goal: int, marked: bool, spare: str = "") -> list[str]:
    """Merge two directories, but for the directories in them that are to be merged: their names.

    ``marked``: there may be whiteouts further down, so nothing can be moved as a whole.
    """
    with os.scandir(source) as entries:
        kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    marks = [name for name in kinds if name.startswith(".wh.")]
    opaque, hidden = whiteout.take([os.fsencode(name) for name in marks], source)
    if opaque:
        tree.clear(goal, spare)
    for gone in hidden:
        tree.remove(gone, goal)
    for mark in marks:
        del kinds[mark]
    deeper = []
    for name, is_directory in kinds.items():
        there = tree.lstat(name, goal)
        if is_directory and tree.is_directory(there):
            deeper.append(name)
            continue
        if there is not None and (is_directory or tree.is_directory(there)):
            tree.remove(name, goal)
        if is_directory and marked:
            os.mkdir(name, 0o700, dir_fd=goal)
            deeper.append(name)
        else:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=goal)
    return deeper
