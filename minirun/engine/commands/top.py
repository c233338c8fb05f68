"""minirun top"""

from __future__ import annotations

from minirun.engine import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS: tuple[flags.Option, ...] = ()
ARGUMENTS = ("CONTAINER", "[PS-OPTION...]")
EPILOG = "What follows the container are options of ps(1); -ef if there are none."
NARROWEST = 20  # characters of a column with its gap, as in docker top


def main(root: str | None, words: Sequence[str]) -> int:
    """Show the processes of a container, with the numbers that they have out here."""
    from minirun.engine import events
    from minirun.engine.state import open_state

    _, (name, *options) = flags.parse("top", OPTIONS, ARGUMENTS, words)
    state = open_state(root)
    container = state.containers.find(name)
    container.require_running(or_paused=True)
    printed = state.runtime(container).call("ps", container.id, *options)
    events.of_container(state.paths, container, "top")
    print(columns(printed.decode(errors="replace")))
    return 0


def columns(text: str) -> str:
    """What ps(1) printed, in wider columns; the last one is the rest of the line.

    >>> columns("PID CMD\\n 17 sleep  1")
    'PID                 CMD\\n17                  sleep  1'
    """
    from minirun.engine import table

    title, *lines = text.splitlines()
    header = title.split()
    rows = [line.split(None, len(header) - 1) for line in lines]
    return table.render(header, rows, narrowest=NARROWEST)
