"""minirun ps"""

from __future__ import annotations

import click

from minirun.engine.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container

COMMAND_LENGTH = 20


@click.command("ps", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have ended.")
@click.option("-q", "--quiet", is_flag=True, help="Only the IDs.")
@click.option("--no-trunc", is_flag=True, help="IDs and commands in full.")
@click.pass_obj
def command(root: str | None, everything: bool, quiet: bool, no_trunc: bool) -> None:
    """List containers: those that run."""
    from minirun.engine import table
    from minirun.engine.state import open_state

    containers = open_state(root).containers
    shown = [c for c in containers.all() if everything or c.is_up]
    ids = [container.id if no_trunc else container.id[:12] for container in shown]
    if quiet:
        print(*ids, sep="\n", end="\n" if ids else "")
        return
    rows = [
        [
            ident,
            str(container.record.get("image", "?")),
            line(container, no_trunc),
            table.ago(container.record.get("created")),
            status(container),
            "",
            container.name,
        ]
        for ident, container in zip(ids, shown, strict=True)
    ]
    header = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    print(table.render(header, rows))


def line(container: Container, full: bool) -> str:
    text = " ".join(container.record.get("command", []))
    if not full and len(text) > COMMAND_LENGTH:
        text = text[: COMMAND_LENGTH - 1] + "…"
    return f'"{text}"'


def status(container: Container) -> str:
    from minirun.engine import table

    state = container.state
    if container.is_up:
        return f"Up {table.ago(state.get('started')).removesuffix(' ago')}"
    if container.status == "exited":
        return f"Exited ({state.get('exitCode')}) {table.ago(state.get('finished'))}"
    return container.status.capitalize()
