"""minirun rmi"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("rmi", cls=Command)
@click.option("-f", "--force", is_flag=True, help="Also when containers or other names use it.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.pass_obj
def command(root: str | None, images: tuple[str, ...], force: bool) -> int:
    """Remove images.

    By name, that name is taken away, and with the last one the image. What other images share
    stays.
    """
    from minirun.engine import cleaning
    from minirun.engine.state import open_state
    from minirun.errors import Error, render

    state = open_state(root)
    code = 0
    for name in images:
        try:
            print(*cleaning.remove_image(state, name, force=force), sep="\n")
        except Error as error:
            click.echo(render(error), err=True)
            code = error.exit_code
    return code
