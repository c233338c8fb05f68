"""``pause`` and ``unpause``: all processes of a container stand still, and go on.

The runtime freezes their cgroup: no signal is sent, and so none of them can notice, or refuse.
cgroups(7), "freezer". The container's monitor, who keeps its state, is told.
"""

from __future__ import annotations

from minirun import document
from minirun.engine import events, wire
from minirun.engine.container import PAUSED, RUNNING
from minirun.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container
    from minirun.engine.state import State


def pause(state: State, name: str) -> None:
    container = state.containers.find(name)
    if container.status == PAUSED:
        raise StateError(f"container {name} is already paused")
    container.require_running()
    state.runtime(container).call("pause", container.id)
    _note(state, container, PAUSED)
    events.of_container(state.paths, container, "pause")


def unpause(state: State, name: str) -> None:
    container = state.containers.find(name)
    if container.status != PAUSED:
        raise StateError(f"container {name} is not paused")
    state.runtime(container).call("resume", container.id)
    _note(state, container, RUNNING)
    events.of_container(state.paths, container, "unpause")


def _note(state: State, container: Container, status: str) -> None:
    note = f"status={document.dumps(status)}".encode()
    wire.tell(state.paths, container.id, (wire.NOTE, note))
