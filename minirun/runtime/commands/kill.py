"""Send a signal, TERM if none is given by name or number, to a container's first process."""

from __future__ import annotations

import os

from minirun.runtime import ending, signals
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = ((("-a", "--all"), "", "to all its processes"),)
ARGUMENTS = ("ID", "[SIGNAL]")


def run(options: Values, container_id: str, signal: str = "TERM") -> None:
    container = Container.load(options["root"], container_id, lock=False)
    number = signals.number(signal)
    cgroup = container.cgroup() if options.get("all") else None
    if cgroup:
        for pid in cgroup.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        return
    container.require("kill")
    ending.signal(container, number)
