"""minirun pause"""

from __future__ import annotations

import click

from minirun.engine.command import Command, for_each


@click.command("pause", cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(root: str | None, names: tuple[str, ...]) -> int:
    """Stop all processes of containers, without their noticing."""
    from minirun.engine import freezing
    from minirun.engine.state import open_state

    state = open_state(root)
    return for_each(names, lambda name: freezing.pause(state, name))
