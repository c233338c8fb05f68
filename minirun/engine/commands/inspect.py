"""minirun inspect"""

from __future__ import annotations

import click

from minirun.engine.command import Command
from minirun.engine.describe import KINDS


@click.command("inspect", cls=Command)
@click.option("-f", "--format", "form", metavar="TEMPLATE", help="Only this: '{{.State.Pid}}'.")
@click.option("--type", "kind", type=click.Choice(list(KINDS)), help="Only things of this kind.")
@click.option("-s", "--size", "sized", is_flag=True, help="Also how much a container has written.")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def command(
    root: str | None, names: tuple[str, ...], form: str | None, kind: str | None, sized: bool
) -> int:
    """Show all there is to know of containers, images, networks and volumes, as a JSON array.

    The fields have Docker's names. A template takes some of them:

    \b
        minirun inspect -f '{{.State.Status}} {{.Config.Cmd}}' web
        minirun inspect -f '{{range .Mounts}}{{.Source}} {{end}}' web
        minirun inspect web | jq .[0].NetworkSettings.Ports
    """
    from minirun.engine.describe import describe
    from minirun.engine.inspecting import inspect
    from minirun.engine.state import open_state

    state = open_state(root)
    return inspect(names, lambda name: describe(state, name, kind, sized=sized), form)
