"""What a container's monitor is told to do, and what it says to who has started it.

Interface: send, connection, wait_until_started, wait_until_gone.
"""

from __future__ import annotations

import os
import sys
from _socket import SHUT_WR, socket

from minirun.engine import exposure, health, helpers, logoptions, wire
from minirun.engine.network import endpoints
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.engine.launch import Launch


def send(job: Launch) -> None:
    """Hand the container over: the plan, and with it the lock."""
    import marshal  # both ends are the same interpreter, and it costs nothing

    data = marshal.dumps(make_plan(job))
    try:
        kept = (job.container.live, *job.ports.fds(), *job.state.paths.locks)
        wire.send(connection(job), wire.PLAN, data, kept)
    except ConnectionError:
        raise Error("the container's monitor could not be started") from None


def make_plan(job: Launch) -> dict[str, Any]:
    """What the monitor has to know, apart from the record and the state of the container."""
    options, paths, container = job.options, job.state.paths, job.container
    before = job.runtime.log_options()
    if job.explain and job.runtime.is_own:
        before.append("--explain=json" if job.explain == "json" else "--explain")
    store, check = paths.base or "", container.record.get("healthcheck")
    return {
        "store": store,  # what --root says; "": nothing
        "directory": container.directory,
        "attach": paths.attach,  # the directory of the sockets
        "streams": job.attachment.streams if job.attachment else wire.STDERR,
        "runtime": [*job.runtime.command, "--root", paths.oci, *before],
        "options": exposure.runtime_options(options.get("no", ())),
        "terminal": bool(options.get("tty")),
        "stdin": stdin(job),
        "log": logoptions.size_and_files(options),
        "network": endpoints.command(job.state, container),  # the helper that plugs it in
        "again": helpers.command("again", store, container.id),
        "finish": helpers.command("finish", store, container.id),
        "facts": {"health": health.new()} if check else {},  # of the state, at each start
        "health": health.first(check) if check else 0,  # seconds to the first check; 0: no checks
        "check": helpers.command("probe", store, container.id),
    }


def stdin(job: Launch) -> str:
    """Whether the container has an input: "open" for ever, or "once", for who is attached now."""
    if not job.options.get("interactive"):
        return ""
    return "once" if job.attachment and b"i" in job.attachment.streams else "open"


def connection(job: Launch) -> socket:
    assert job.monitor
    return job.monitor


def wait_until_started(monitor: socket, when_started: Callable[[int], object]) -> tuple[bytes, int]:
    """Its last word to us (STARTED, FAILED, or none), and the exit code of what has failed; what
    was said about that is on standard error then."""
    said = b""
    while True:
        kind, data, fds = wire.receive(monitor)
        for fd in fds:
            os.close(fd)
        if kind == wire.STDERR:
            said += data
        elif kind == wire.STARTED:
            when_started(int(data))
            monitor.close()
            return kind, 0
        else:
            sys.stderr.write(said.decode(errors="surrogateescape"))
            return kind, int(data or 0)


def wait_until_gone(job: Launch) -> None:
    """Wait until the monitor has ended. One that has no plan ends because we hang up."""
    if job.is_ours and job.ending is None:
        connection(job).shutdown(SHUT_WR)
    while wire.receive(connection(job))[0]:
        pass
