"""The monitor: the process that attends to one container, from before its start to its end.

It is started by ``minirun run`` or ``start`` and outlives them. It holds the lock that says that
the container is attended to, is the parent of its first process (``PR_SET_CHILD_SUBREAPER``), reads
what it prints, and knows how it ended. What is heavy, others do: it only starts them.

    begin ──► runtime create, and the helper that makes the network ──► runtime start
                  │ or, where there is no network to make, runtime run --detach
                  ▼
    running ──► ended ──► runtime delete ──► restart after a pause ──► (again) ──► begin
                                       └──► finish: by the command that still waits, or a helper

There is one for each container: it imports as little as it can, so that its memory stays small.
"""

from __future__ import annotations

import os
import time
from _socket import socket

from minirun import document
from minirun.engine import container as records
from minirun.engine import events, oom, restart, wire
from minirun.engine.audience import Audience, Client
from minirun.engine.birth import FAILED, Birth
from minirun.engine.logfile import Log
from minirun.engine.loop import Loop
from minirun.engine.paths import Paths
from minirun.engine.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SOCKET = 3  # the descriptor at which the launcher has put our end of the connection
KILL = 9


class Monitor:
    """One container's. What it is told comes to ``hear``; the rest follows from that."""

    streams: Streams
    birth: Birth
    container: records.Container
    plan: dict[str, Any]  # launch.py, "make_plan", says what is in it

    def __init__(self, launcher: socket) -> None:
        self.loop = Loop()
        self.audience = Audience(self.loop, self.hear, self.resume)
        self.launcher = self.audience.add(launcher)
        self.pid = 0  # the container's first process, while it runs
        self.early: list[int] = []  # signals that came before it did
        self.stopped = False  # somebody wants it to end, and to stay so
        self.code: int | None = None  # since it has ended
        self.told = self.deleted = self.again = False
        self.counter: str | None = None
        self.waited = 0.0  # seconds before the last restart

    # --- what others say --------------------------------------------------------------------------

    def hear(self, client: Client, kind: bytes, data: bytes, fds: list[int]) -> None:
        if kind == wire.PLAN and client is self.launcher:
            self.take_plan(data)  # the lock came with it: it is ours by being open
        elif kind == wire.WATCH:
            self.welcome(client, data)
        elif kind in (wire.SIGNAL, wire.STOP):
            self.signal(int(data), stop=kind == wire.STOP)
        elif kind == wire.NOTE:
            name, _, value = data.partition(b"=")
            self.save(**{name.decode(): document.loads(value, "a note")})
        elif kind == wire.CLOSE:
            for stream in data:
                self.streams.close(bytes([stream]))
        elif kind == wire.HEALTH:
            self.loop.after(float(data), self.check_health)
        elif not kind and client is self.launcher and not hasattr(self, "plan"):
            self.loop.is_over = True  # it has thought better of it

    def take_plan(self, data: bytes) -> None:
        import marshal

        self.plan = plan = marshal.loads(data)
        os.chdir(plan["directory"])
        record = records.read(records.RECORD) or {}
        state = records.read(records.STATE) or {}
        self.container = records.Container(plan["directory"], record, state)
        log = Log("log", *plan["log"])
        self.streams = Streams(self.loop, self.audience, log, self.note_failure)
        self.launcher.streams = plan["streams"]
        self.audience.listen(plan["attach"], self.container.id)
        self.begin()

    def welcome(self, client: Client, streams: bytes) -> None:
        """From now on this client sees what comes; if the container runs, it is told so at once."""
        client.streams = streams
        if self.pid:
            self.tell_started(client)

    def tell_started(self, client: Client) -> None:
        fds: tuple[int, ...] = ()
        if b"i" in client.streams and self.streams.input >= 0:
            fds = (os.dup(self.streams.input),)
        client.send(wire.STARTED, b"%d" % self.pid, fds)

    def signal(self, number: int, *, stop: bool) -> None:
        if stop:
            self.stopped = True
            self.save(stopped=True)
            if self.code is not None:  # it is over, but for those who do not read its last words
                self.audience.drop_slow()
            if self.loop.cancel(self.start_again):
                self.finish()
                return
        if self.pid:
            os.kill(self.pid, number)
        elif self.code is None:
            self.early.append(number)

    def resume(self) -> None:
        """Everybody has read what was sent."""
        self.streams.resume()
        if self.code is not None:
            self.drain()

    # --- begin ------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.code, self.told, self.deleted = None, False, False
        self.birth = Birth(self.loop, self.streams, self.container, self.plan, self.started)

    def started(self, code: int) -> None:
        if code:
            self.fail(code)
            return
        self.streams.begun = True
        if self.birth.master is not None:  # read only now: who is attached needs to be told first
            self.streams.terminal(self.birth.master)
        self.pid = self.birth.pid
        self.counter = oom.counter(self.pid)
        self.save(
            status=records.RUNNING,
            pid=self.pid,
            startTime=records.start_time(self.pid),
            started=time.time(),
            exitCode=0,
            oomKilled=False,
            error="",
            **self.plan["facts"],
        )
        self.emit("start")
        for client in list(self.audience.clients):
            self.tell_started(client)
        if self.plan["stdin"] == "once":
            self.streams.close_input()
        self.loop.when_ended(self.pid, self.ended)
        self.loop.forget_ended()
        for number in self.early:
            os.kill(self.pid, number)
        self.early.clear()
        if self.plan["health"]:
            self.loop.after(self.plan["health"], self.check_health)

    def fail(self, code: int) -> None:
        """It could not be started: what was made is taken away, and the launcher is told."""
        self.pid = 0
        self.streams.drain(final=True)
        error = self.streams.said.decode(errors="replace").strip()
        self.save(exitCode=code, error=error)
        self.code, self.told = code, True
        self.delete(lambda: self.failed(code))

    def failed(self, code: int) -> None:
        self.streams.end()
        self.audience.tell(wire.FAILED, b"%d" % code)
        self.finish()

    # --- the end ----------------------------------------------------------------------------------

    def ended(self, code: int) -> None:
        killed_for_memory = oom.kills(self.counter) > 0  # it, or a process that it had started
        self.pid, self.code = 0, code if code >= 0 else 128 - code
        self.loop.cancel(self.check_health)
        state = self.container.state
        ran = time.time() - state["started"]
        restarts = state.get("restarts", 0)
        self.again = not self.stopped and restart.is_wanted(self.policy(), self.code, restarts)
        state.update(
            pid=0,
            exitCode=self.code,
            oomKilled=killed_for_memory,
            finished=time.time(),
            status=records.RESTARTING if self.again else records.EXITED,
        )
        if killed_for_memory:
            self.emit("oom")
        self.emit("die", exitCode=self.code)
        if self.again:
            self.waited = restart.pause(self.waited, ran)
            state["restarts"] = restarts + 1
        self.delete(self.all_deleted)
        self.drain()

    @property
    def is_out_of_memory(self) -> bool:
        """Whether that is why it ended."""
        return bool(self.container.state["oomKilled"]) and self.code == 128 + KILL

    def policy(self) -> str:
        """As the record has it now: update may have changed it."""
        options = (records.read(records.RECORD) or {}).get("options") or {}
        return str(options.get("restart") or "no")

    def delete(self, then: Callable[[], object]) -> None:
        """Have the runtime take away what it has made; it may say that there is nothing, but if
        somebody kills it, it has not done what it should."""

        def deleted(code: int) -> None:
            then() if code >= 0 else self.delete(then)

        line = [*self.plan["runtime"], "delete", "--force", self.container.id]
        self.loop.spawn(line, self.streams.helpers(), deleted)

    def all_deleted(self) -> None:
        self.deleted = True
        self.drain()
        self.go_on()

    def drain(self) -> None:
        """Tell of the end once all was shown that was printed before it."""
        if not self.told and self.streams.drain(final=self.deleted):
            self.told = True
            self.save()
            words = [wire.AGAIN] * self.again + [wire.OOM] * self.is_out_of_memory
            self.audience.tell(wire.ENDED, b" ".join([b"%d" % (self.code or 0), *words]))
            self.go_on()

    def go_on(self) -> None:
        if not (self.told and self.deleted):
            return
        self.streams.end()
        if self.again:
            self.loop.after(self.waited, self.start_again)
        else:
            self.finish()

    def start_again(self) -> None:
        """A helper prepares what a start needs anew, such as the network."""
        self.loop.spawn(self.plan["again"], self.streams.helpers(), self.prepared)

    def prepared(self, code: int) -> None:
        if self.stopped:
            self.finish()
        elif code:
            self.fail(code)
        else:
            self.begin()

    def finish(self) -> None:
        """The command that waits for the end does the rest itself; else a helper does."""
        self.audience.leave()
        if self.launcher.is_open:
            self.leave()
            return
        self.save(status=records.EXITED)
        self.loop.spawn(self.plan["finish"], self.streams.helpers(), lambda code: self.leave())

    def leave(self) -> None:
        """Go, once everybody has read what was sent."""
        if self.audience.is_behind:
            self.loop.after(0.05, self.leave)
        else:
            self.loop.is_over = True

    # --- what may happen meanwhile ----------------------------------------------------------------

    def check_health(self) -> None:
        self.loop.spawn(self.plan["check"], self.streams.helpers(), self.checked)

    def checked(self, code: int) -> None:
        """The helper has said when it is due again, unless it went wrong itself."""
        if code and self.pid:
            self.loop.after(self.plan["health"], self.check_health)

    def note_failure(self, error: str) -> None:
        """Something is amiss, but not so that the container had to end."""
        self.container.state["error"] = error

    def emit(self, action: str, **more: object) -> None:
        events.of_container(Paths(self.plan["store"] or None), self.container, action, **more)

    def save(self, **changes: object) -> None:
        """A full disk must not end a container: then its state is what we know, for now."""
        try:
            self.container.save_state(**changes)
        except OSError as error:
            self.note_failure(f"state.json: {error.strerror}")


def main() -> None:
    """Attend to the container that the launcher's plan is about. Never returns."""
    import gc

    gc.disable()  # there are no cycles that grow
    os.closerange(SOCKET + 1, 1 << 20)  # what the launcher was given, and is not for us
    monitor = Monitor(socket(*wire.KIND, fileno=SOCKET))
    try:
        monitor.loop.run()
    except Exception as error:
        give_up(monitor, error)
        os._exit(1)
    os._exit(0)


def give_up(monitor: Monitor, error: Exception) -> None:
    """Tell the launcher, if there still is one; of a mistake of ours, the container's directory
    keeps the place. The lock dies with us, and the next command cleans up."""
    if isinstance(error, OSError) and error.filename:
        text = f"error: {error.filename}: {error.strerror}\n"
    else:
        import traceback

        text = f"error: the container's monitor went wrong: {error!r}\n"
        with open("monitor.log", "a", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    monitor.launcher.send(wire.STDERR, text.encode())
    monitor.launcher.send(wire.FAILED, b"%d" % FAILED)
