"""minirun rename"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("rename", cls=Command)
@click.argument("name", metavar="CONTAINER")
@click.argument("new")
@click.pass_obj
def command(root: str | None, name: str, new: str) -> None:
    """Give a container another name."""
    from minirun.engine import events
    from minirun.engine.state import open_state

    state = open_state(root)
    container = state.containers.find(name)
    before = container.name
    state.containers.rename(container, new)
    events.of_container(state.paths, container, "rename", oldName=f"/{before}")
