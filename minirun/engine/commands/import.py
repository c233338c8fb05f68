"""minirun import"""

from __future__ import annotations

import sys

import click

from minirun.engine.command import Command
from minirun.errors import Error, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

PATIENCE = 60  # seconds in which a server has to send something


@click.command("import", cls=Command)
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
              help='An instruction of a Dockerfile, e.g. \'CMD ["nginx"]\', "ENV A=1".')
@click.option("-m", "--message", metavar="TEXT", help="What it is, for its history.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which machines it is for.")
@click.argument("source", metavar="FILE|URL|-")
@click.argument("name", required=False, metavar="[NAME[:TAG]]")
@click.pass_obj
def command(
    root: str | None, source: str, name: str | None, changes: tuple[str, ...],
    message: str | None, platform: str | None,
) -> None:  # fmt: skip
    """Make an image of a tar, compressed or not, and print its ID. '-' reads standard input."""
    from minirun.engine import commit, events
    from minirun.engine.state import open_state
    from minirun.image import compression, reference

    canonical = reference.for_tag(name) if name else None
    state = open_state(root)
    with open_source(source) as file:
        image = commit.import_tar(
            state, compression.uncompressed(file), canonical,
            message=message or f"Imported from {source}", instructed=changes, platform=platform,
        )  # fmt: skip
    events.emit(state.paths, "image", "import", image.id, name=canonical or image.id)
    print(image.id)


def open_source(source: str) -> BinaryIO:
    if source == "-":
        return sys.stdin.buffer
    if source.startswith(("http://", "https://")):
        return open_url(source)
    return open(source, "rb")


def open_url(url: str) -> BinaryIO:
    """What a server sends. It trusts the machine's CAs, and goes through the usual proxies."""
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        answer: BinaryIO = urlopen(url, timeout=PATIENCE)
        return answer
    except (OSError, ValueError, HTTPException) as error:
        raise Error(f"{printable(url)}: {printable(str(error))}") from None
