"""Ending containers, and waiting for their end: ``stop``, ``kill``, ``wait``, ``rm``.

A container that runs has a monitor, and the monitor is asked: it is the parent of the container's
process, so that its signal can reach no other, and it knows that what somebody has stopped is not
to be started again. Where no monitor answers, because it is just being started or has died, the
runtime is asked instead.
"""

from __future__ import annotations

import select
import time

from minirun.engine import events, finish, freezing, wire
from minirun.engine.container import PAUSED, SHORT
from minirun.engine.containers import PATIENCE, wait_for_runtime, wait_until
from minirun.errors import StateError
from minirun.image.bundle import signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from minirun.engine.container import Container
    from minirun.engine.state import State

TERM, KILL = 15, 9
TIMEOUT = 10.0  # seconds between the signal that asks and the one that kills


def stop(
    state: State, container: Container, *, signal: str | None = None, timeout: float | None = None
) -> None:
    """Ask it to end; kill it when it has not within ``timeout`` seconds (below 0: never). One that
    does not run is left as it is. Afterwards nobody attends to it any more."""
    if not state.containers.is_live(container):
        return
    number = signal_number(signal) if signal else stop_signal(container)
    if timeout is None:
        timeout = float(container.options.get("stop_timeout") or TIMEOUT)
    end(state, container, number, timeout)
    events.of_container(state.paths, container, "stop")


def stop_signal(container: Container) -> int:
    """What asks this container to end: SIGTERM, if neither its image nor a flag says another."""
    return int(container.record.get("stopSignal") or TERM)


def end(state: State, container: Container, number: int, timeout: float) -> None:
    """Send the signal, later SIGKILL, and wait until nobody attends to the container any more."""
    if container.status == PAUSED and number != KILL:
        freezing.unpause(state, container.id)
    connection = wire.connect(state.paths, container.id)
    if connection:
        try:
            _send(connection, wire.STOP, number)
            if number != KILL and not _is_over(connection, timeout):
                _send(connection, wire.STOP, KILL)
            if container.status == PAUSED:
                freezing.thaw(state, container)
            _is_over(connection, PATIENCE)
        finally:
            connection.close()
    elif state.containers.is_live(container):
        runtime = state.runtime(container)
        wait_for_runtime(container.directory, lambda: runtime.delete(container.id))
    wait_until(lambda: not state.containers.is_live(container), f"container {container.id[:SHORT]}")


def _send(connection: socket, kind: bytes, number: int) -> None:
    try:
        wire.send(connection, kind, b"%d" % number)
    except ConnectionError:  # it has just ended
        pass


def _is_over(connection: socket, seconds: float) -> bool:
    """Whether the monitor goes within that time; below 0: it may take as long as it likes."""
    deadline = time.monotonic() + seconds
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    while True:
        left = max(0.0, deadline - time.monotonic()) * 1000 if seconds >= 0 else None
        if not poller.poll(left):
            return False
        if not wire.receive(connection)[0]:
            return True


def kill(state: State, container: Container, signal: str) -> None:
    """Send a signal. After one that ends it, it stays ended, whatever its restart policy says."""
    number = signal_number(signal)
    if not container.is_up:
        raise StateError(f"container {container.name} is not running")
    connection = wire.connect(state.paths, container.id)
    if connection is None:
        raise StateError(f"container {container.name} is not running")
    ends = number in (KILL, stop_signal(container))
    _send(connection, wire.STOP if ends else wire.SIGNAL, number)
    if number == KILL:
        if container.status == PAUSED:
            freezing.thaw(state, container)
        _is_over(connection, PATIENCE)
    connection.close()
    events.of_container(state.paths, container, "kill", signal=number)


def wait(state: State, container: Container) -> int:
    """Wait until it does not run (any more); its last exit code."""
    connection = wire.connect(state.paths, container.id)
    kind = data = b""
    while connection and kind != wire.ENDED:
        kind, data, _ = wire.receive(connection)
        if not kind:
            break
    code, *words = data.split() or [b""]
    if wire.AGAIN not in words:  # it is cleaned up now; whoever waited may remove it
        wait_until(lambda: not state.containers.is_live(container), f"container {container.name}")
    found = state.containers.load(container.id) or container
    return int(code or found.state.get("exitCode", 0))


def remove(
    state: State, container: Container, *, force: bool = False, volumes: bool = False
) -> None:
    """Remove it with all that it wrote. One that runs only by ``force``: it is killed."""
    if not state.containers.adopt(container):
        if not force:
            hint = f"minirun rm -f {container.name} kills and removes it"
            raise StateError(f"container {container.name} is running", hint=hint)
        end(state, container, KILL, 0)
        if state.containers.load(container.id) is None:  # as its --rm said
            return
        if not state.containers.adopt(container):
            raise StateError(f"container {container.name} was started again just now")
    state.snapshots.unmount(container.directory)
    finish.remove(state, container, volumes=volumes)
