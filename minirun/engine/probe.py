"""One health check: what the monitor starts, each time that it is due (health.py says when).

It runs the check's command in the container, by the runtime's exec, and waits for it no longer than
"Timeout". The result goes to the monitor, who keeps the container's state, together with the time
until the next check; so the monitor itself needs to know nothing of all this. While a container is
paused nothing is asked.
"""

from __future__ import annotations

import os
import select
import sys
import time

from minirun import document
from minirun.engine import events, exec, health, wire
from minirun.engine.container import RUNNING
from minirun.engine.oci import fd_path, in_memory
from minirun.engine.paths import Paths
from minirun.engine.state import State
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.engine.container import Container

    Document = dict[str, Any]

LARGEST = 4096  # bytes of output that are kept
TIMED_OUT = -1  # for an exit code
GRACE = 1.0  # seconds that the runtime gets to notice that the command was killed
PID_FILE = "health.pid"


def main() -> None:
    """Check one container, and tell its monitor: the process that the monitor starts."""
    root, ident = sys.argv[1:]
    state = State(Paths(root or None))
    container = state.containers.load(ident)
    if container is None or not container.is_up:
        return
    check: Document = container.record["healthcheck"]
    before = container.state.get("health") or health.new()
    age, now = time.time() - container.state["started"], before
    if container.status == RUNNING:
        result = probe(state, container, check)
        container.reload_state()
        if container.status == RUNNING:  # else it was paused meanwhile: that says nothing
            now = health.after(before, check, result, age)
    note = f"health={document.dumps(now)}".encode()
    due = b"%f" % health.pause(check, now["status"], age)
    wire.tell(state.paths, container.id, (wire.NOTE, note), (wire.HEALTH, due))
    if before["status"] != now["status"]:
        events.of_container(state.paths, container, f"health_status: {now['status']}")


def probe(state: State, container: Container, check: Document) -> Document:
    """Run the check; its result."""
    timeout = health.seconds(check, "Timeout")
    start = time.time()
    try:
        code, output = Probe(state, container, health.command(check)).run(timeout)
    except Error as error:
        code, output = error.exit_code, error.message.encode()
    if code == TIMED_OUT:
        output = f"Health check exceeded timeout ({timeout:g}s)".encode()
    text = output.decode(errors="replace")
    return {"start": start, "end": time.time(), "exitCode": code, "output": text}


class Probe:
    """One run of a check's command."""

    def __init__(self, state: State, container: Container, words: Sequence[str]) -> None:
        process = document.dumps(exec.describe(container, words, {})).encode()
        self.output, self.pid_file = b"", container.path(PID_FILE)
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        verb = ["exec", "--process", fd_path(in_memory(process)), "--pid-file", self.pid_file]
        self.runtime = state.runtime(container).start([*verb, container.id], stdin=False)
        self.pidfd = os.pidfd_open(self.runtime)

    def run(self, timeout: float) -> tuple[int, bytes]:
        """Its exit code and the beginning of its output; TIMED_OUT if it took too long."""
        in_time = self._wait(timeout)
        if not in_time:
            self._kill()
        code = os.waitstatus_to_exitcode(os.waitpid(self.runtime, 0)[1])
        self._read()
        return code if in_time else TIMED_OUT, self.output

    def _wait(self, seconds: float) -> bool:
        """Whether it has ended within this time. Meanwhile its output is read."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        poll.register(self.pidfd, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = [fd for fd, _ in poll.poll(left * 1000)]
            if self.reader in ready:
                self._read()
            if self.pidfd in ready:
                return True
        return False

    def _read(self) -> None:
        try:
            self.output = (self.output + os.read(self.reader, 1 << 16))[:LARGEST]
        except BlockingIOError:
            pass

    def _kill(self) -> None:
        """End the command; if there is none yet, the runtime, and so there never will be."""
        try:
            os.kill(exec.take_number(self.pid_file), 9)
        except (FileNotFoundError, ProcessLookupError):
            pass
        if not self._wait(GRACE):
            os.kill(self.runtime, 9)
