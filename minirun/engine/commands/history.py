"""minirun history"""

from __future__ import annotations

import click

from minirun.engine.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.output import Fields

    Step = tuple[dict[str, Any], dict[str, Any] | None]  # what was done, and the layer it made

COLUMNS = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")


@click.command("history", cls=Command)
@click.option("--format", "form", metavar="TEMPLATE", help="json, '{{.CreatedBy}}', …")
@click.option("-H", "--human/--no-human", default=True, help="Sizes and dates for people.")
@click.option("--no-trunc", is_flag=True, help="Commands in full.")
@click.option("-q", "--quiet", is_flag=True, help="Only the digests of the layers.")
@click.argument("image")
@click.pass_obj
def command(
    root: str | None, image: str, form: str | None, human: bool, no_trunc: bool, quiet: bool
) -> None:
    """Show how an image was made, its newest layer first.

    A step without a layer only changed the config (ENV, CMD, …). SIZE is the compressed layer's.
    """
    from minirun.engine import output
    from minirun.engine.describe.image import history
    from minirun.engine.state import open_state

    steps = history(open_state(root).image(image))
    if quiet:
        steps = [step for step in steps if step[1]]
    shown = fields(full=no_trunc or quiet, human=human)
    output.show(steps, shown, COLUMNS, form, quiet=quiet)


def fields(*, full: bool, human: bool) -> Fields:
    from minirun.engine import table

    def size(step: Step) -> str:
        count = step[1]["size"] if step[1] else 0
        return table.size(count) if human else str(count)

    def since(step: Step) -> str:
        return table.ago(table.timestamp(date(step))) if human else date(step)

    return {
        "ID": ("LAYER", lambda step: layer(step, full)),
        "CreatedSince": ("CREATED", since),
        "CreatedAt": ("CREATED AT", date),
        "CreatedBy": ("CREATED BY", lambda step: made_by(step, full)),
        "Size": ("SIZE", size),
        "Comment": ("COMMENT", lambda step: str(step[0].get("comment") or "")),
    }


def layer(step: Step, full: bool) -> str:
    if step[1] is None:
        return "-"
    digest = str(step[1]["digest"])
    return digest if full else digest.partition(":")[2][:12]


def date(step: Step) -> str:
    return str(step[0].get("created") or "")


def made_by(step: Step, full: bool, length: int = 45) -> str:
    text = str(step[0].get("created_by") or "")
    if full:
        return text
    text = text.removeprefix("/bin/sh -c #(nop) ").strip()
    return text if len(text) <= length else text[: length - 1] + "…"
