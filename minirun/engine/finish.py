"""The end of a container: what it had on this machine is taken away.

``finish`` is done by the owner once nothing of it runs any more: by the command that has waited for
its end, or by this module as a program, which the monitor starts. ``settle`` is for those whose
owner was killed. Each can be done again, for it may itself be killed in the middle.
"""

from __future__ import annotations

import os
import sys
import time

from minirun.engine import events
from minirun.engine.container import EXITED, UNDER_WAY
from minirun.engine.containers import KILLED, wait_for_runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.container import Container
    from minirun.engine.state import State


def finish(state: State, container: Container, wait: Callable[[], object] = lambda: None) -> None:
    """Give back all that a start takes; keep the record, or with --rm nothing at all.

    How it ended is in its state by now: its monitor wrote it. ``wait()`` returns when the monitor
    needs nothing of the container any more.
    """
    if container.record.get("networks"):
        from minirun.engine.network import endpoints

        endpoints.release(state, container)
    state.snapshots.unmount(container.directory)
    if container.options.get("ipc") == "shareable":
        from minirun.engine import sharing

        sharing.withdraw_shm(container)
    wait()
    if container.record.get("autoRemove"):
        remove(state, container, volumes=True)
        return
    container.reload_state()
    if container.status in UNDER_WAY:
        container.save_state(status=EXITED, pid=0, finished=time.time())
    state.containers.release(container)


def remove(state: State, container: Container, *, volumes: bool = False) -> None:
    """Remove a container that is ours and has ended, with all that it wrote. With ``volumes`` its
    nameless ones go, too, unless another container has them."""
    if volumes and container.record.get("mounts"):
        from minirun.engine.volumes import remove_anonymous

        remove_anonymous(state, container)
    state.containers.remove(container)
    events.of_container(state.paths, container, "destroy")


def settle(state: State, container: Container) -> None:
    """Clean up after the dead owner of a container, which this process owns now."""
    if os.path.isdir(container.directory):
        runtime = state.runtime(container)
        wait_for_runtime(container.directory, lambda: runtime.delete(container.id))
    if not container.state:  # its creation was never completed
        container.record["autoRemove"] = True
    elif container.status in UNDER_WAY:
        container.save_state(status=EXITED, pid=0, exitCode=KILLED, finished=time.time())
        events.of_container(state.paths, container, "die", exitCode=KILLED)
    finish(state, container)


def main() -> None:
    """``finish STORE ID``: for a monitor, which holds the lock and waits for us."""
    from minirun.engine.paths import Paths
    from minirun.engine.state import State

    store, ident = sys.argv[1:]
    state = State(Paths(store or None))
    if container := state.containers.load(ident):
        finish(state, container)
