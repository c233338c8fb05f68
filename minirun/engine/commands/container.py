"""minirun container prune"""

from __future__ import annotations

import click

from minirun.engine.command import Command, confirm


@click.group("container")
def command() -> None:
    """Look after the containers as a whole.

    And Docker's long names: container ls is ps; container run, exec, logs, inspect, rm, …
    """


@command.command("prune", cls=Command)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "words", multiple=True, metavar="NAME=VALUE",
              help="Only those that fit: until=24h, label=team, label!=keep.")
@click.pass_obj
def prune(root: str | None, force: bool, words: tuple[str, ...]) -> None:
    """Remove all containers that do not run, with all that they wrote."""
    from minirun.engine import cleaning, table
    from minirun.engine.commands.image import print_pruned
    from minirun.engine.state import open_state

    state = open_state(root)
    confirm("Remove all containers that do not run?", force)
    removed, freed = cleaning.prune_containers(state, words)
    print_pruned("Containers", removed)
    print(f"Total reclaimed space: {table.size(freed)}")
