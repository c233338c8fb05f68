"""``pause`` and ``unpause``: all processes of a container stand still, and go on.

The runtime freezes their cgroup: no signal is sent, and so none of them can notice, or refuse.
cgroups(7), "freezer". The container's monitor, who keeps its state, is told.
"""

from __future__ import annotations

from minirun import document
from minirun.engine import events, wire
from minirun.engine.container import PAUSED, RUNNING
from minirun.errors import Error, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container
    from minirun.engine.state import State


def pause(state: State, name: str) -> None:
    """Freeze a container. It is noted first: who is to end a frozen container must know of it."""
    container = state.containers.find(name)
    if container.status == PAUSED:
        raise StateError(f"container {name} is already paused")
    container.require_running()
    _note(state, container, PAUSED)
    try:
        state.runtime(container).call("pause", container.id)
    except Error:
        _note(state, container, RUNNING)
        raise
    events.of_container(state.paths, container, "pause")


def unpause(state: State, name: str) -> None:
    container = state.containers.find(name)
    if container.status != PAUSED:
        raise StateError(f"container {name} is not paused")
    thaw(state, container)
    _note(state, container, RUNNING)
    events.of_container(state.paths, container, "unpause")


def thaw(state: State, container: Container) -> None:
    """Let a container that is noted as paused go on; also if somebody who was about to pause it was
    killed before that."""
    runtime = state.runtime(container)
    try:
        report = document.loads(runtime.call("state", container.id), "state")
    except Error:  # it was not frozen, and has just ended
        return
    if report["status"] == PAUSED:
        runtime.call("resume", container.id)


def _note(state: State, container: Container, status: str) -> None:
    note = f"status={document.dumps(status)}".encode()
    wire.tell(state.paths, container.id, (wire.NOTE, note))
