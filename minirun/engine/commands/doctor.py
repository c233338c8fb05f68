"""minirun doctor"""

from __future__ import annotations

import os

import click

from minirun.engine.command import Command


@click.command("doctor", cls=Command)
@click.pass_obj
def command(root: str | None) -> int:
    """Try everything that containers need on this machine, and say how to mend what fails.

    Each thing is really done, and undone. Ends with 0 if all that is needed works.
    """
    from minirun.engine import rootless
    from minirun.engine.paths import Paths
    from minirun.teach import doctor

    paths = Paths(root)
    if os.geteuid():
        rootless.enter(paths.run)
    return doctor.examine(paths)
