"""Starting a container's monitor, and telling it what to do.

The monitor is a fresh interpreter, and a session of its own: a ^C at our terminal is not for it. We
fork, so that what must be set before its first instruction can be: that it is to adopt the
container's process when the runtime has ended (``PR_SET_CHILD_SUBREAPER``, which lasts over an
execve(2)), and that it has no file of ours but its end of our connection.

Interface: start_monitor, send_plan, wait_until_started.
"""

from __future__ import annotations

import os
import sys
from _signal import SIG_DFL, signal  # type: ignore[import-not-found]
from _socket import SHUT_WR, socket, socketpair

from minirun import linux
from minirun.engine import exposure, health, helpers, logoptions, wire
from minirun.engine.loop import RESTORED
from minirun.engine.network import endpoints
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.engine.launch import Launch

SIG_SETMASK = 2
SOCKET = 3  # the descriptor at which the monitor looks for its end
MOST_FILES = 1 << 20  # sysctl fs.nr_open


def start_monitor() -> socket:
    """Start one that waits for its plan; our end of the connection. It ends when we do before."""
    ours, theirs = socketpair(*wire.KIND)
    line = helpers.bare("monitor")
    if os.fork():
        theirs.close()
        return ours
    try:
        become_monitor(theirs.fileno(), line)
    finally:
        os._exit(1)


def become_monitor(connection: int, line: list[str]) -> None:
    os.setsid()
    os.chdir("/")
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    for number in RESTORED:
        signal(number, SIG_DFL)
    linux.sigprocmask(SIG_SETMASK, [])
    null = os.open(os.devnull, os.O_RDWR)
    for place, fd in enumerate((null, null, null, connection)):
        os.dup2(fd, place)
    os.closerange(SOCKET + 1, MOST_FILES)
    os.execve(line[0], line, os.environ)


def send_plan(job: Launch) -> None:
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
