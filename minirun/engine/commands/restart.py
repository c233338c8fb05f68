"""minirun restart"""

from __future__ import annotations

import click

from minirun.engine.command import Command, for_each


@click.command("restart", cls=Command)
@click.option("-t", "--timeout", "--time", type=int, metavar="SECONDS",
              help="How long it has to end before it is killed; 10 by default.")  # fmt: skip
@click.option("-s", "--signal", metavar="SIGNAL", help="Instead of SIGTERM, or the image's.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(
    root: str | None, names: tuple[str, ...], timeout: int | None, signal: str | None
) -> int:
    """Stop containers and start them again; those that do not run are just started."""
    from minirun.engine import starting
    from minirun.engine.state import open_state

    state = open_state(root)
    find = state.containers.find
    return for_each(
        names, lambda name: starting.restart(state, find(name), signal=signal, timeout=timeout)
    )
