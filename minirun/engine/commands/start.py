"""minirun start"""

from __future__ import annotations

import click

from minirun.engine.command import Command, for_each
from minirun.errors import UsageError


@click.command("start", cls=Command)
@click.option("-a", "--attach", is_flag=True, help="Show its output, and pass signals on.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on, too.")
@click.option("--detach-keys", metavar="KEYS", help="Keys that leave it there; ctrl-p,ctrl-q.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(
    root: str | None, names: tuple[str, ...], attach: bool, interactive: bool,
    detach_keys: str | None,
) -> int:  # fmt: skip
    """Start containers that were created, or have ended."""
    from minirun.engine import starting
    from minirun.engine.state import open_state

    state = open_state(root)
    if not (attach or interactive):
        return for_each(names, lambda name: starting.start(state, state.containers.find(name)))
    if len(names) > 1:
        raise UsageError("-a: there is one terminal here, so only one container")
    container = state.containers.find(names[0])
    return starting.start_attached(
        state, container, interactive=interactive, detach_keys=detach_keys
    )
