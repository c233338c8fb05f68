"""minirun stop"""

from __future__ import annotations

import click

from minirun.engine.command import Command, for_each


@click.command("stop", cls=Command)
@click.option("-t", "--timeout", "--time", type=int, metavar="SECONDS",
              help="Then it is killed; 10 by default, -1 for never.")  # fmt: skip
@click.option("-s", "--signal", metavar="SIGNAL", help="Instead of SIGTERM, or the image's.")
@click.argument("names", nargs=-1, required=True, metavar="CONTAINER...")
@click.pass_obj
def command(
    root: str | None, names: tuple[str, ...], timeout: int | None, signal: str | None
) -> int:
    """Ask containers to end, and kill those that do not.

    They are not started again by themselves, whatever their restart policy says.
    """
    from minirun.engine import stopping
    from minirun.engine.state import open_state

    state = open_state(root)
    find = state.containers.find
    return for_each(
        names, lambda name: stopping.stop(state, find(name), signal=signal, timeout=timeout)
    )
