"""minirun rm"""

from __future__ import annotations

import click

from minirun.engine.command import Command, for_each


@click.command("rm", cls=Command)
@click.option("-f", "--force", is_flag=True, help="Also one that runs: it is killed.")
@click.option("-v", "--volumes", is_flag=True, help="With its volumes that have no name.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(root: str | None, names: tuple[str, ...], force: bool, volumes: bool) -> int:
    """Remove containers that have ended, with all that they wrote."""
    from minirun.engine import stopping
    from minirun.engine.state import open_state
    from minirun.errors import NotFound

    state = open_state(root)

    def remove(name: str) -> None:
        try:
            container = state.containers.find(name)
        except NotFound:
            if not force:
                raise
            return
        stopping.remove(state, container, force=force, volumes=volumes)

    return for_each(names, remove)
