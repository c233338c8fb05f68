"""How a container ends: the signals it is sent, and the removal of all that ``create`` made.

Interface: signal, destroy.
"""

from __future__ import annotations

import os
from _signal import pidfd_send_signal  # type: ignore[import-not-found]
from select import select

from minirun.runtime import signals
from minirun.runtime.container import Container, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.errors import Error


def signal(container: Container, number: int, patience: float = 0) -> None:
    """Send a signal to the container's first process, if it lives, and to no other.

    With ``patience``, in seconds, wait for its end: of PID 1, when all in its namespace are dead.
    """
    pid, started = container.state["pid"], container.state["startTime"]
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_time(pid) == started:  # checked with the pidfd in hand: it cannot become another's
            pidfd_send_signal(pidfd, number)
            if patience:
                select([pidfd], [], [], patience)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def destroy(container: Container) -> list[Error]:
    """Kill what is left of the container and remove all traces; can be done again. Warnings."""
    cgroup = container.cgroup()
    pid = container.state["pid"]
    if pid:
        signal(container, signals.KILL, patience=0 if cgroup and cgroup.trees else 10)
    if cgroup:
        cgroup.delete()
    failures: list[Error] = []
    if pid and os.path.exists(container.path("config.json")):
        spec = container.config()
        if (spec.get("hooks") or {}).get("poststop"):
            from minirun.runtime import hooks

            failures = hooks.run_all_warning(spec, "poststop", container.report("stopped"))
    container.remove()
    return failures
