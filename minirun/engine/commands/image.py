"""minirun image prune"""

from __future__ import annotations

import sys

import click

from minirun.engine.command import Command


@click.group("image")
def command() -> None:
    """Look after the images as a whole."""


@command.command("prune", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="All that no container uses.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(root: str | None, everything: bool, force: bool) -> None:
    """Remove images without a name (with -a: without a container), and what only they needed."""
    from minirun.engine import table
    from minirun.engine.state import open_state

    state = open_state(root)
    if not force and sys.stdin.isatty():
        which = "that no container uses" if everything else "without a name"
        click.confirm(f"Remove all images {which}?", abort=True, err=True)
    events, freed = state.prune_images(everything=everything)
    for event in events:
        print(event)
    print(f"Total reclaimed space: {table.size(freed)}")
