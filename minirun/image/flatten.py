"""Layers laid on one another, for good: all that a container would see, as plain files.

    flatten(["base.tar", "change.tar.gz"], directory)

Each layer is first unpacked into a directory of its own, beside what is there. Only when all were
accepted are they merged, oldest first: so a layer that is refused leaves nothing behind.
"""

from __future__ import annotations

import os

from minirun.errors import LayerError
from minirun.image import layer, tree, whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.layer import Unpacked


def flatten(layers: Sequence[str], directory: str) -> list[str]:
    """Apply layers, oldest first, to a directory, which is made if it is missing.

    What it holds already is treated as one more layer, the oldest. Returns warnings. LayerError if
    a layer is refused, StoreError if there is no room; the directory is then as it was.
    """
    made = not os.path.isdir(directory)
    if made:
        os.mkdir(directory)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return [warning for unpacked in apply(layers, root) for warning in unpacked.warnings]
    except BaseException:
        if made:
            os.rmdir(directory)
        raise
    finally:
        os.close(root)


def apply(layers: Sequence[str], root: int, *, hashed: bool = False) -> list[Unpacked]:
    """The same for an open directory. Returns what is known of each layer, its digest if hashed."""
    staging = f".minirun-unpack-{os.urandom(8).hex()}"  # no layer can know it, and so touch it
    status = os.fstat(root)
    os.mkdir(staging, 0o700, dir_fd=root)
    fds: list[int] = []
    try:
        unpacked = [_unpack(path, root, staging, fds, hashed) for path in layers]
        for fd, result in zip(fds, unpacked, strict=True):
            status = os.fstat(fd) if result.names_root else status
            _merge(fd, root, staging, result)
    finally:
        for fd in fds:
            os.close(fd)
        tree.remove(staging, root)
        os.utime(root, ns=(status.st_atime_ns, status.st_mtime_ns))
    return unpacked


def _unpack(path: str, root: int, staging: str, fds: list[int], hashed: bool) -> Unpacked:
    """Unpack a layer above those that are open in ``fds``, oldest first, and add it to them."""
    name = f"{staging}/{len(fds)}"
    os.mkdir(name, 0o700, dir_fd=root)
    fds.append(tree.open_directory(name, root))
    try:
        return layer.unpack(path, fds[-1], below=[*fds[-2::-1], root], hashed=hashed)
    except LayerError as error:
        raise LayerError(f"{path}: {error.message}", hint=error.hint) from error


def _merge(upper: int, root: int, staging: str, unpacked: Unpacked) -> None:
    """Move what an unpacked layer holds to where it belongs, and apply its whiteouts."""
    marked = unpacked.whiteouts > 0
    with tree.Walk(upper) as source, tree.Walk(root) as goal:
        times = [os.fstat(upper)]  # which change as things are moved out of it
        todo = [_merge_files(source.fd, goal.fd, marked, staging)]
        while todo:
            if todo[-1]:
                name = todo[-1].pop()
                source.down(name)
                goal.down(name)
                times.append(os.fstat(source.fd))
                todo.append(_merge_files(source.fd, goal.fd, marked))
                continue
            status = times.pop()
            if times or unpacked.names_root:
                tree.copy_attributes(source.fd, goal.fd)
                os.utime(goal.fd, ns=(status.st_atime_ns, status.st_mtime_ns))
            todo.pop()
            if todo:
                source.up()
                goal.up()


def _merge_files(source: int, goal: int, marked: bool, spare: str = "") -> list[str]:
    """Merge two directories, but for the directories that are in both: returns their names.

    A tree that is only in ``source`` moves as a whole, unless there may be whiteouts in it
    (``marked``). ``spare`` is not of the layers: nothing removes it.
    """
    with os.scandir(source) as entries:
        kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    opaque, hidden = whiteout.take(source, kinds)
    if opaque:
        tree.clear(goal, spare)
    for gone in hidden:
        tree.remove(gone, goal)
    deeper = []
    for name, is_directory in kinds.items():
        there = tree.lstat(name, goal)
        in_both = is_directory and tree.is_directory(there)
        if there and not in_both:
            tree.remove(name, goal)
        if is_directory and marked and not in_both:
            os.mkdir(name, 0o700, dir_fd=goal)
            in_both = True
        if in_both:
            deeper.append(name)
        else:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=goal)
    return deeper
