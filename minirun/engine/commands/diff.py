"""minirun diff"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("diff", cls=Command)
@click.argument("name", metavar="CONTAINER")
@click.pass_obj
def command(root: str | None, name: str) -> None:
    """Show what a container has changed in the files of its image.

    A: added. C: changed, or a directory in which something is. D: deleted.
    """
    import os

    from minirun.engine import output
    from minirun.engine.rootfs import Changes
    from minirun.engine.state import open_state

    state = open_state(root)
    with Changes(state, state.containers.find(name)) as changes:
        for kind, path in changes.list():
            output.write(f"{kind} /{os.fsdecode(path)}\n")
