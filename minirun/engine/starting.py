"""Starting containers that there are, and being attached to one.

``start``, ``restart``, ``attach``, and what a restart of the machine asks for (``system start``).
"""

from __future__ import annotations

import sys

from minirun.engine import events, stopping, wire, wishes
from minirun.engine import restart as policies
from minirun.engine.launch import Launch, start_again
from minirun.errors import Error, StateError, render
from minirun.teach.explain import Narrator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.attach import Attachment
    from minirun.engine.container import Container
    from minirun.engine.state import State


def start(state: State, container: Container) -> None:
    """Start it in the background; nothing to do for one that somebody attends to already."""
    if not take(state, container):
        return
    job = Launch(state, container.options)
    if code := start_again(job, container, Narrator(None)):
        raise _failure(container, code)


def _failure(container: Container, code: int) -> Error:
    """What was said about it stands on standard error by now."""
    error = Error(f"container {container.name} could not be started")
    error.exit_code = code
    return error


def take(state: State, container: Container) -> bool:
    """Become its owner; false if it runs."""
    if container.is_up and state.containers.is_live(container):
        return False
    if not state.containers.adopt(container):
        raise StateError(f"container {container.name} is being started or stopped just now")
    container.reload_state()
    return True


def start_attached(
    state: State, container: Container, *, interactive: bool, detach_keys: str | None
) -> int:
    """Start it and stay attached to its end; its exit code."""
    if not take(state, container):
        return attach(state, container, stdin=interactive, detach_keys=detach_keys)
    attachment = _attachment(container, stdin=interactive, proxy=True, detach_keys=detach_keys)
    job = Launch(state, container.options, attachment)
    return start_again(job, container, Narrator(None))


def restart(
    state: State, container: Container, *, signal: str | None, timeout: float | None
) -> None:
    stopping.stop(state, container, signal=signal, timeout=timeout)
    container = state.containers.find(container.id)
    start(state, container)
    events.of_container(state.paths, container, "restart")


def attach(
    state: State,
    container: Container,
    *,
    stdin: bool = True,
    proxy: bool = True,
    detach_keys: str | None = None,
) -> int:
    """Be attached to a container that runs, until its end; its exit code."""
    container.require_running()
    attachment = _attachment(container, stdin=stdin, proxy=proxy, detach_keys=detach_keys)
    connection = wire.connect(state.paths, container.id)
    if connection is None:
        raise StateError(f"container {container.name} is not running")
    attachment.hold_signals()
    wire.send(connection, wire.WATCH, attachment.streams)
    events.of_container(state.paths, container, "attach")
    ending, code = attachment.serve(connection)
    if not ending:
        raise StateError(f"the monitor of container {container.name} has died")
    return code


def _attachment(
    container: Container, *, stdin: bool, proxy: bool, detach_keys: str | None
) -> Attachment:
    options = container.options
    has_input = stdin and bool(options.get("interactive"))
    return wishes.make_attachment(
        b"oei" if has_input else b"oe",
        terminal=bool(options.get("tty")),
        keys=detach_keys or options.get("detach_keys"),
        proxy=proxy,
    )


def start_all_after_boot(state: State) -> int:
    """Start what ran when the machine ended, as the restart policies say; how many could not be."""
    failures = 0
    for container in reversed(state.containers.all()):
        policy = str(container.options.get("restart") or "no")
        stopped = bool(container.state.get("stopped"))
        was_started = "started" in container.state
        if was_started and policies.is_wanted_after_boot(policy, stopped=stopped):
            try:
                start(state, container)
                print(container.id)
            except Error as error:
                sys.stderr.write(render(error) + "\n")
                failures += 1
    return failures
