"""minirun source"""

from __future__ import annotations

import itertools

import click

from minirun.engine.command import Command
from minirun.errors import NotFound, printable


@click.command("source", cls=Command)
@click.argument("names", metavar="[STEP...]", nargs=-1)
def command(names: tuple[str, ...]) -> None:
    """Show the function of a step that --explain tells of; without a name, list all steps.

    \b
        minirun source make_private
        minirun run --explain tiny true     the steps as they are taken
    """
    from minirun.teach.source import steps

    known = steps()
    if not names:
        for file, group in itertools.groupby(known, key=lambda step: step.file):
            click.echo(f"{file}:")
            for step in group:
                click.echo(f"  {step.name:18} {step.about}")
    for name in names:
        found = [step for step in known if step.name == name]
        if not found:
            raise NotFound(f"no step {printable(name)[:80]!r}", hint="minirun source lists them")
        for step in found:
            click.echo(f"# {step.file}:{step.line}\n{step.text}\n")
