"""How much there is in a directory, and how much a container has written."""

from __future__ import annotations

import os
import stat

from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container
    from minirun.engine.state import State


def of_tree(path: str) -> int:
    """Bytes in the files of a directory and of those in it, each file once however many names it
    has. What a container does there meanwhile, it cannot lead us out of it. 0 if there is none."""
    from minirun.image import tree

    seen: set[tuple[int, int]] = set()
    total = 0

    def add(fd: int) -> None:
        nonlocal total
        for name in os.listdir(fd):
            status = tree.lstat(name, fd)
            if status is None or stat.S_ISDIR(status.st_mode):
                continue
            identity = (status.st_dev, status.st_ino)
            if identity not in seen:
                seen.add(identity)
                total += status.st_size

    try:
        fd = tree.open_directory(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    try:
        tree.each_directory(fd, add)
    finally:
        os.close(fd)
    return total


def of_container(state: State, container: Container) -> tuple[int, int]:
    """Bytes that it has written, and those with its image's."""
    own = of_tree(container.path("upper"))
    try:
        return own, own + state.store.resolve(str(container.record.get("imageId"))).size
    except Error:  # the image is gone, or damaged
        return own, own
