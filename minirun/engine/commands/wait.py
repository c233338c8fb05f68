"""minirun wait"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("wait", cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(root: str | None, names: tuple[str, ...]) -> None:
    """Wait until containers end, and print their exit codes."""
    from minirun.engine import stopping
    from minirun.engine.state import open_state

    state = open_state(root)
    for container in state.containers.find_all(names):
        print(stopping.wait(state, container), flush=True)
