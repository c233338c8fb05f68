"""Print what a container uses, every 5 seconds, and when it runs out of memory.

One JSON object a line, {"type": "stats" or "oom", "id": …}, as runc prints them; it ends with the
container."""

from __future__ import annotations

import select
import sys
from time import monotonic

from minirun import document, errors
from minirun.runtime.cgroup.stats import OutOfMemory, stats
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.cgroup import Cgroup
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (
    (("--interval",), "TIME", "how often, such as 500ms, 5s, 1m (5s)"),
    (("--stats",), "", "print what it uses once, and end"),
)
ARGUMENTS = ("ID",)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def run(options: Values, container_id: str) -> None:
    interval = seconds(options.get("interval", "5s"))
    container = Container.load(options["root"], container_id, lock=False)
    container.require("events")
    cgroup = container.cgroup()
    assert cgroup is not None  # whatever lives has one
    if options.get("stats"):
        _print(container, "stats", data=stats(cgroup))
        return
    _follow(container, cgroup, interval)


def _follow(container: Container, cgroup: Cgroup, interval: float) -> None:
    """Print events until the first process ends."""
    pidfd, memory = container.pidfd(), OutOfMemory(cgroup)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if memory.fd >= 0:
        poll.register(memory.fd, memory.mask)
    due = monotonic() + interval
    ready: set[int] = set()
    while pidfd not in ready:
        ready = {fd for fd, _ in poll.poll(max(0.0, due - monotonic()) * 1000)}
        if memory.fd in ready and memory.happened():
            _print(container, "oom")
        if not ready:
            _print(container, "stats", data=stats(cgroup))
            due += interval


def _print(container: Container, kind: str, **more: Any) -> None:
    event = {"type": kind, "id": container.id, **more}
    sys.stdout.write(document.dumps(event) + "\n")
    sys.stdout.flush()


def seconds(text: str) -> float:
    """A time as Go writes it, with one unit."""
    number = text.rstrip("mhs")
    unit = UNITS.get(text[len(number) :])
    if unit is None or not number.isascii() or not number.isdecimal() or not int(number):
        raise errors.UsageError(f"--interval: no time such as 5s: {errors.printable(text)}")
    return int(number) * unit
