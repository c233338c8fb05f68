"""minirun inspect"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("inspect", cls=Command)
@click.option("--type", "kind", type=click.Choice(["container", "image"]), help="Only this kind.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def command(root: str | None, names: tuple[str, ...], kind: str | None) -> None:
    """Show all there is to know of containers or images, as a JSON array.

    The fields have Docker's names, so: minirun inspect tiny | jq .[0].Config.Cmd
    """
    import json

    from minirun.engine.describe import describe
    from minirun.engine.state import open_state

    state = open_state(root)
    found = [describe(state, name, kind) for name in names]
    print(json.dumps(found, indent=4))
