"""minirun attach"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("attach", cls=Command)
@click.option("--no-stdin", is_flag=True, help="Only show what it prints.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on, or do not.")
@click.option("--detach-keys", metavar="KEYS", help="Keys that leave it there; ctrl-p,ctrl-q.")
@click.argument("name", metavar="CONTAINER")
@click.pass_obj
def command(
    root: str | None, name: str, no_stdin: bool, sig_proxy: bool, detach_keys: str | None
) -> int:
    """Connect to a running container: its output here, our keys and signals there.

    Ends with the container's exit code; ctrl-p ctrl-q leaves it running.
    """
    from minirun.engine import starting
    from minirun.engine.state import open_state

    state = open_state(root)
    return starting.attach(
        state,
        state.containers.find(name),
        stdin=not no_stdin,
        proxy=sig_proxy,
        detach_keys=detach_keys,
    )
