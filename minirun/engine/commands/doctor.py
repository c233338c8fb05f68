"""minirun doctor"""

from __future__ import annotations

import os

import click

from minirun.engine.command import Command


@click.command("doctor", cls=Command)
@click.option("--net", metavar="CONTAINER", help="Follow a packet out of it, hop by hop.")
@click.pass_obj
def command(root: str | None, net: str | None) -> int:
    """Try everything that containers need on this machine, and say how to mend what fails.

    Each thing is really done, and undone. Ends with 0 if all that is needed works.
    """
    if net is not None:
        from minirun.engine.state import open_state
        from minirun.teach import hops

        return hops.follow(open_state(root), net)
    from minirun.engine import rootless
    from minirun.engine.paths import Paths
    from minirun.teach import doctor

    paths = Paths(root)
    if os.geteuid():
        rootless.enter(paths.run)
    return doctor.examine(paths)
