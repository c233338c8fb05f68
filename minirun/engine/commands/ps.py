"""minirun ps"""

from __future__ import annotations

import gc

from minirun.engine import filters, flags, listing, output
from minirun.engine.container import UNDER_WAY
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State

OPTIONS = (
    flags.Option("-a", "--all", help="Also those that do not run."),
    flags.Option("-q", "--quiet", help="Only the IDs."),
    flags.Option("-f", "--filter", metavar="NAME=VALUE", many=True,
                 help="Only those that fit: status=exited, name=web, label=team, …"),
    flags.Option("--format", metavar="TEMPLATE", help="json, 'table {{.ID}}\\t{{.Names}}', …"),
    flags.Option("--no-trunc", help="IDs and commands in full."),
    flags.Option("-s", "--size", help="How much they have written, and with their image."),
    flags.Option("-l", "--latest", help="The one created last, in whatever state."),
    flags.Option("-n", "--last", metavar="N", help="So many of those created last."),
)  # fmt: skip
ARGUMENTS = ()
EPILOG = """Filters: id, name, label, status, health, exited, ancestor, before, since, volume,
network, publish, expose. Fields: .ID .Image .Command .CreatedAt .RunningFor .Status .State .Ports
.Names .Size .Labels .Label .Mounts .LocalVolumes .Networks"""


def main(root: str | None, words: Sequence[str]) -> int:
    """List containers: those that run."""
    gc.disable()  # of thousands of records nothing is garbage before we end: a sixth of the time
    values, _ = flags.parse("ps", OPTIONS, ARGUMENTS, words)
    from minirun.engine.state import open_state

    state = open_state(root)
    form = "" if values["quiet"] else values["format"] or ""  # with both, Docker prints IDs
    shown = chosen(state, values)
    fields = listing.fields(state, full=values["no_trunc"], sized=values["size"] or ".Size" in form)
    columns = (*listing.COLUMNS, "Size") if values["size"] else listing.COLUMNS
    output.show(shown, fields, columns, form, quiet=values["quiet"])
    return 0


def chosen(state: State, values: dict[str, Any]) -> list[Container]:
    """Those that are asked for, the newest first."""
    most = 1 if values["latest"] else number(values["last"])
    names = filters.parse(values["filter"])
    everything = values["all"] or most is not None or "status" in names
    found = state.containers.all(attended=not everything)
    if not everything:
        found = [container for container in found if container.status in UNDER_WAY]
    if names:
        found = list(filter(filters.keep(values["filter"], listing.tests(state)), found))
    return found[:most]


def number(text: str | None) -> int | None:
    """How many at most; None for all: also -1, as Docker has it."""
    if text in (None, "-1"):
        return None
    if not text.isdigit():
        raise UsageError(f"-n {printable(text)[:80]!r}: it is a number")
    return int(text)
