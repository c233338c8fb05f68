"""Send a signal, by name or number, to a container's first process; TERM if none is named.

KILL ends all its processes: also those of a container that shares a PID namespace with others,
and of one that is paused."""

from __future__ import annotations

import os

from minirun.runtime import ending, signals
from minirun.runtime.container import ALIVE, PAUSED, Container, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (
    (("-a", "--all"), "", "to all its processes, and no error if there are none"),
    (("-r", "--regex"), "", "to each container whose ID matches this regular expression"),
)
ARGUMENTS = ("ID", "[SIGNAL]")


def run(options: Values, container_id: str, signal: str = "TERM") -> None:
    number = signals.number(signal)
    if options.get("regex"):
        for container in containers(options["root"], container_id):
            if container.status() in ALIVE:
                kill(container, number, everyone=bool(options.get("all")))
        return
    container = Container.load(options["root"], container_id, lock=False)
    kill(container, number, everyone=bool(options.get("all")))


def kill(container: Container, number: int, *, everyone: bool) -> None:
    if number == signals.KILL and not everyone and not _is_first(container):
        everyone = bool(container.pids())  # also what its first process has left behind
    if not everyone:
        container.require("kill")
    cgroup = container.cgroup() if everyone or container.status() == PAUSED else None
    if not everyone:
        ending.signal(container, number)
        if cgroup and number == signals.KILL:
            cgroup.thaw()  # what is frozen does not die
    elif cgroup and cgroup.trees and number == signals.KILL:
        cgroup.kill()
    else:
        for pid in container.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _is_first(container: Container) -> bool:
    """Is its first process the first of a PID namespace, whose end is the end of all in it?"""
    namespaces = (container.config().get("linux") or {}).get("namespaces") or []
    return any(entry["type"] == "pid" and not entry.get("path") for entry in namespaces)
