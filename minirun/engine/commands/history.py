"""minirun history"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("history", cls=Command)
@click.option("--no-trunc", is_flag=True, help="Commands in full.")
@click.option("-q", "--quiet", is_flag=True, help="Only the digests of the layers.")
@click.argument("image")
@click.pass_obj
def command(root: str | None, image: str, no_trunc: bool, quiet: bool) -> None:
    """Show how an image was made, its newest layer first.

    A step without a layer only changed the config (ENV, CMD, …). SIZE is the compressed layer's.
    """
    from minirun.engine import table
    from minirun.engine.describe.image import history
    from minirun.engine.state import open_state

    steps = history(open_state(root).image(image))
    if quiet:
        print(*(layer["digest"] for _, layer in steps if layer), sep="\n")
        return
    rows = []
    for step, layer in steps:
        made = str(step.get("created_by") or step.get("comment") or "")
        digest = layer["digest"].partition(":")[2][:12] if layer else "-"
        size = table.size(layer["size"] if layer else 0)
        created = table.ago(table.timestamp(str(step.get("created") or "")))
        rows.append([digest, created, made if no_trunc else shorten(made), size])
    print(table.render(["LAYER", "CREATED", "CREATED BY", "SIZE"], rows))


def shorten(text: str, length: int = 45) -> str:
    text = text.removeprefix("/bin/sh -c #(nop) ").strip()
    return text if len(text) <= length else text[: length - 1] + "…"
