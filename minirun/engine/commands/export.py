"""minirun export"""

from __future__ import annotations

import os
import sys

import click

from minirun.engine.command import Command
from minirun.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


@click.command("export", cls=Command)
@click.option("-o", "--output", metavar="FILE", help="Write to this file.")
@click.argument("name", metavar="CONTAINER")
@click.pass_obj
def command(root: str | None, name: str, output: str | None) -> None:
    """Write all files of a container as a tar. What is mounted in it is not part of it."""
    from minirun.engine import events
    from minirun.engine.rootfs import open_root
    from minirun.engine.state import open_state
    from minirun.image import packing

    if output is None and sys.stdout.isatty():
        raise UsageError(
            "a tar is nothing for a terminal", hint=f"minirun export -o FILE {name}, or … | tar -t"
        )
    state = open_state(root)
    container = state.containers.find(name)
    target = os.path.abspath(output) if output else None
    top = open_root(state, container)
    if target is None:
        packing.pack(top, sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
    else:
        write_whole(target, lambda write: packing.pack(top, write))
    events.of_container(state.paths, container, "export")


def write_whole(path: str, fill: Callable[[Callable[[bytes], object]], None]) -> None:
    """The file appears when all of it is there. What is no file (/dev/null, a FIFO) is written."""
    special = os.path.exists(path) and not os.path.isfile(path)
    partial = path if special else f"{path}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            fill(file.write)
        if not special:
            os.rename(partial, path)
    except BaseException:
        if not special and os.path.exists(partial):
            os.unlink(partial)
        raise
