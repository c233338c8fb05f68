"""minirun kill"""

from __future__ import annotations

import click

from minirun.engine.command import Command, for_each


@click.command("kill", cls=Command)
@click.option("-s", "--signal", default="KILL", metavar="SIGNAL", help="By name or number.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(root: str | None, names: tuple[str, ...], signal: str) -> int:
    """Send a signal to the first process of containers: SIGKILL, if no other is named."""
    from minirun.engine import stopping
    from minirun.engine.state import open_state

    state = open_state(root)
    return for_each(names, lambda name: stopping.kill(state, state.containers.find(name), signal))
