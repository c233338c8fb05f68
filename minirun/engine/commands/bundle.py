"""minirun bundle"""

from __future__ import annotations

import click

from minirun.engine.command import Command
from minirun.engine.options import PLATFORM, SPEC_OPTIONS, with_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@click.command(
    "bundle",
    cls=Command,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]},
)
@click.option("-t", "--tty", is_flag=True, help="Ask for a terminal.")
@with_options(*SPEC_OPTIONS, PLATFORM)
@click.argument("image")
@click.argument("directory")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG]...")
@click.pass_obj
def command(
    root: str | None, /, image: str, directory: str, arguments: tuple[str, ...], **options: Any
) -> None:
    """Write an image as an OCI bundle: DIRECTORY/config.json and DIRECTORY/rootfs.

    A bundle is all that an OCI runtime needs; minirun is not involved any more:

    \b
        minirun bundle tiny b && runc run --bundle b x
        minirun bundle -m 64m tiny b2 && diff b/config.json b2/config.json
    """
    from minirun.engine.bundling import make_bundle
    from minirun.engine.state import open_state

    make_bundle(open_state(root), image, directory, arguments, options)
