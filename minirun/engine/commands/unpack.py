"""minirun unpack"""

from __future__ import annotations

import sys

import click

from minirun.engine.command import Command


@click.command("unpack", cls=Command)
@click.option("--into", "directory", required=True, metavar="DIR", help="Made if missing.")
@click.argument("layers", nargs=-1, required=True, metavar="LAYER...")
def command(layers: tuple[str, ...], directory: str) -> None:
    """Flatten layer tars into one directory, the oldest first.

    Compressed or not; deletions in later layers are obeyed. If one layer is refused, nothing of
    any of them stays. No image and no store is needed.
    """
    from minirun.image.flatten import flatten

    for warning in flatten(list(layers), directory):
        print(f"warning: {warning}", file=sys.stderr)
