"""minirun stats"""

from __future__ import annotations

import sys
import time

import click

from minirun.engine import output, table
from minirun.engine.command import Command
from minirun.engine.usage import Usage, measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.container import Container
    from minirun.engine.state import State

INTERVAL = 1.0  # seconds between two looks: what of the processor was used in between
CLEAR = "\x1b[H\x1b[J"  # to the upper left corner, and all behind it away. console_codes(4)
COLUMNS = (
    "Container", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs",
)  # fmt: skip


class Sample:
    """A container, as it was called, and what it used in the last interval."""

    def __init__(self, container: Container, before: Usage | None, now: Usage, word: str) -> None:
        self.container, self.now, self.word = container, now, word
        self.cpu = now.cpu_share(before) if before else 0.0


FIELDS = {
    "BlockIO": ("BLOCK I/O", lambda s: pair(s.now.read, s.now.written)),
    "CPUPerc": ("CPU %", lambda s: f"{100 * s.cpu:.2f}%"),
    "Container": ("CONTAINER ID", lambda s: s.word),
    "ID": ("CONTAINER ID", lambda s: s.container.id),
    "MemPerc": ("MEM %", lambda s: f"{100 * s.now.memory_share():.2f}%"),
    "MemUsage": ("MEM USAGE / LIMIT", lambda s: memory(s.now)),
    "Name": ("NAME", lambda s: s.container.name),
    "NetIO": ("NET I/O", lambda s: pair(s.now.received, s.now.sent)),
    "PIDs": ("PIDS", lambda s: str(s.now.pids)),
}


def pair(one: int, other: int) -> str:
    return f"{table.size(one)} / {table.size(other)}"


def memory(usage: Usage) -> str:
    return f"{table.binary_size(usage.memory)} / {table.binary_size(usage.limit)}"


@click.command("stats", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that do not run.")
@click.option(
    "--format",
    "form",
    metavar="TEMPLATE",
    help="'table', 'table TEMPLATE', 'json', or a template of your own.",
)
@click.option("--no-stream", is_flag=True, help="Once, instead of again and again.")
@click.option("--no-trunc", is_flag=True, help="IDs in full.")
@click.argument("names", nargs=-1, metavar="[CONTAINER...]")
@click.pass_obj
def command(
    root: str | None,
    names: tuple[str, ...],
    everything: bool,
    form: str | None,
    no_stream: bool,
    no_trunc: bool,
) -> None:
    """Show what containers use: all that run, or those that are named."""
    from minirun.engine.state import open_state

    state = open_state(root)
    state.containers.find_all(names)
    before = {c.id: measure(c) for c, _ in chosen(state, names, everything, no_trunc)}
    while True:
        time.sleep(INTERVAL)
        now = [(c, measure(c), word) for c, word in chosen(state, names, everything, no_trunc)]
        samples = [Sample(c, before.get(c.id), usage, word) for c, usage, word in now]
        if not no_stream and sys.stdout.isatty():
            sys.stdout.write(CLEAR)
        output.show(samples, FIELDS, COLUMNS, form)
        sys.stdout.flush()
        if no_stream or (names and not samples):
            return
        before = {c.id: usage for c, usage, _ in now}


def chosen(
    state: State, names: Sequence[str], everything: bool, full: bool
) -> list[tuple[Container, str]]:
    """The containers to show, and how each is called. One that is named and removed meanwhile is
    left out."""
    from minirun.errors import NotFound

    if not names:
        shown = [c for c in state.containers.all() if everything or c.is_up]
        return [(c, c.id if full else c.id[:12]) for c in shown]
    found = []
    for name in names:
        try:
            found.append((state.containers.find(name), name))
        except NotFound:
            continue
    return found
