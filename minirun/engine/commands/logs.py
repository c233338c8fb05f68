"""minirun logs"""

from __future__ import annotations

import click

from minirun.engine.command import Command
from minirun.errors import Error, UsageError


@click.command("logs", cls=Command)
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-n", "--tail", default="all", metavar="N", help="Only the last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="When each line was printed.")
@click.option("--since", metavar="TIME", help="Only what is newer: a date, or 10m for ten minutes.")
@click.option("--until", metavar="TIME", help="Only what is older.")
@click.argument("name", metavar="CONTAINER")
@click.pass_obj
def command(
    root: str | None, name: str, follow: bool, tail: str, timestamps: bool,
    since: str | None, until: str | None,
) -> None:  # fmt: skip
    """Show what a container has printed, to the stream that it printed it to."""
    from minirun.engine import logs, times
    from minirun.engine.state import open_state

    state = open_state(root)
    container = state.containers.find(name)
    if container.options.get("log_driver") == "none":
        raise Error(f"{name} keeps no log: it was made with --log-driver none")
    printer = logs.Printer(
        since=int(times.moment(since) * 1e9) if since else 0,
        until=int(times.moment(until) * 1e9) if until else None,
        stamps=timestamps,
    )
    log = logs.Log(container.path("log"))
    wanted = number(tail)
    printer.show(log.read() if wanted is None else log.tail(wanted, printer.is_wanted))
    if follow:
        printer.show(log.follow(lambda: not state.containers.is_live(container)))


def number(text: str) -> int | None:
    """How many lines; None for all, as for anything below 0."""
    if text == "all" or (text[:1] == "-" and text[1:].isdecimal()):
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 12:
        raise UsageError(f"--tail {text!r}: a number of lines, or all")
    return int(text)
