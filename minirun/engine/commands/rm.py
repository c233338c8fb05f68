"""minirun rm"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("rm", cls=Command)
@click.option("-f", "--force", is_flag=True, help="Also one that runs: it is killed.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(root: str | None, names: tuple[str, ...], force: bool) -> int:
    """Remove containers that have ended, with all that they wrote."""
    from minirun.engine.state import open_state
    from minirun.errors import Error, render

    state = open_state(root)
    code = 0
    for name in names:
        try:
            state.remove_container(name, force=force)
            print(name)
        except Error as error:
            click.echo(render(error), err=True)
            code = error.exit_code
    return code
