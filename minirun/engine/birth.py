"""How a container comes up: its monitor starts the runtime, and a helper that makes its network.

    runtime create ──────────────► pid ──► told to the helper ──► runtime start ──► it runs
    network.attach: gets ready … ────────► makes the network ──┘

Where there is no network to make, ``runtime run --detach`` does it all in one. Whatever fails, the
runtime or the helper has said why (streams.py).

Interface: Birth.
"""

from __future__ import annotations

import os

from minirun.engine import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.loop import Loop
    from minirun.engine.streams import Streams

PID_FILE = "pid"  # in the container's directory, where the monitor is
FAILED = 125


class Birth:
    """One start, from nothing to the running command. At its end ``done(code)`` is called: 0 for a
    container that runs, as process ``pid`` and, if it has a terminal, with its ``master``."""

    def __init__(
        self,
        loop: Loop,
        streams: Streams,
        container: Container,
        plan: dict[str, Any],
        done: Callable[[int], object],
    ) -> None:
        self.loop, self.streams, self.container = loop, streams, container
        self.plan, self.done = plan, done
        self.pid = 0
        self.master: int | None = None
        self._connected: int | None = None  # how the helper ended
        self._link = -1  # the pipe to it, until it was told the pid
        self._is_over = False
        self._create()
        if plan["network"]:
            self._start_network()

    def _create(self) -> None:
        plan, streams = self.plan, self.streams
        verb = ["create"] if plan["network"] else ["run", "--detach"]
        options = ["--bundle", plan["directory"], "--pid-file", PID_FILE, *plan["options"]]
        if plan["terminal"]:
            options += ["--console-socket", console.NAME]
            self._console = console.listen()
            files = streams.helpers()
        else:
            files = streams.pipes(stdin=bool(plan["stdin"]))
        lock = self.container.lock_runtime()
        line = [*plan["runtime"], *verb, *options, self.container.id]
        self.loop.spawn(line, [*files, lock], self._created)
        os.close(lock)
        streams.give_away()

    def _start_network(self) -> None:
        """The helper imports what it needs while the runtime makes the container; then it is told
        the process whose network it is to make."""
        _, said, _ = self.streams.helpers()
        reader, self._link = os.pipe2(os.O_CLOEXEC)
        self.loop.spawn(self.plan["network"], [reader, said, said], self._has_network)
        os.close(reader)

    def _created(self, code: int) -> None:
        if self.plan["terminal"]:
            self.master = console.receive(self._console)
        self.pid = take_number(PID_FILE) if code == 0 else 0
        if self._link >= 0:
            self._tell_network()
        if self.pid:
            self._start()
        else:
            self._end(code or FAILED)

    def _tell_network(self) -> None:
        """Without a pid the helper ends, and makes nothing."""
        try:
            if self.pid:
                os.write(self._link, b"%d\n" % self.pid)
        except BrokenPipeError:  # it has failed already
            pass
        os.close(self._link)
        self._link = -1

    def _has_network(self, code: int) -> None:
        self._connected = code
        self._start()

    def _start(self) -> None:
        """Once the container is made and its network is there, let the command begin."""
        if not self.pid or self._is_over:
            return
        if not self.plan["network"]:
            self._end(0)
        elif self._connected == 0:
            line = [*self.plan["runtime"], "start", self.container.id]
            self.loop.spawn(line, self.streams.helpers(), self._end)
        elif self._connected is not None:
            self._end(FAILED)

    def _end(self, code: int) -> None:
        self._is_over = True
        self.done(code)


def take_number(path: str) -> int:
    """The number in a file, which is removed; 0 if there is none."""
    try:
        with open(path, encoding="ascii") as file:
            number = int(file.read())
    except (FileNotFoundError, ValueError):
        return 0
    os.unlink(path)
    return number
