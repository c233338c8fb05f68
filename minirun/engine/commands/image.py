"""minirun image prune"""

from __future__ import annotations

import click

from minirun.engine.command import Command, confirm


@click.group("image")
def command() -> None:
    """Look after the images as a whole.

    And Docker's long names: image ls is images, image rm is rmi; image inspect, pull, tag, …
    """


@command.command("prune", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="All that no container uses.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "words", multiple=True, metavar="NAME=VALUE",
              help="Only those that fit: until=24h, label=team, label!=keep, dangling=true.")
@click.pass_obj
def prune(root: str | None, everything: bool, force: bool, words: tuple[str, ...]) -> None:
    """Remove images without a name (with -a: without a container), and what only they needed."""
    from minirun.engine import cleaning, table
    from minirun.engine.state import open_state

    state = open_state(root)
    which = "that no container uses" if everything else "without a name"
    confirm(f"Remove all images {which}?", force)
    events, freed = cleaning.prune_images(state, words, everything=everything)
    print_pruned("Images", events)
    print(f"Total reclaimed space: {table.size(freed)}")


def print_pruned(kind: str, removed: list[str]) -> None:
    """As Docker does: "Deleted Images:", and a line each; nothing if there is nothing."""
    if removed:
        lines = [line[:1].lower() + line[1:] if ": " in line else line for line in removed]
        print(f"Deleted {kind}:", *lines, "", sep="\n")
