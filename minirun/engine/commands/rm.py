"""minirun rm"""

from __future__ import annotations

import click

from minirun.engine.command import Command, for_each


@click.command("rm", cls=Command)
@click.option("-f", "--force", is_flag=True, help="Also one that runs: it is killed.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(root: str | None, names: tuple[str, ...], force: bool) -> int:
    """Remove containers that have ended, with all that they wrote."""
    from minirun.engine.state import open_state

    state = open_state(root)
    return for_each(names, lambda name: state.remove_container(name, force=force))
