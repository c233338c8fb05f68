"""A command that is attached to a container: its output here, our input and our signals there.

    monitor ──► messages ──► our standard output and standard error
    keyboard, or what our standard input is ──► the container's terminal, or pipe (stdin.py)
    signals ──► messages ──► monitor ──► the container

``serve`` ends with the container, or with the keys that let go of it.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import ExitStack

from minirun.engine import wire
from minirun.engine.terminal import Detached, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from minirun.engine.foreground import Signals
    from minirun.engine.stdin import Input

SIGCHLD, SIGWINCH = 17, 28
OUTPUTS = {wire.STDOUT: 1, wire.STDERR: 2}
LAST = (wire.ENDED, wire.FAILED, b"")
LOST = b"125"


class Attachment:
    """``streams`` says what is wanted, of "ioe". ``owns``: nobody else will read what we do not, so
    that the container is to know when our reader is gone (SIGPIPE)."""

    def __init__(
        self,
        streams: bytes,
        *,
        terminal: bool,
        keys: bytes,
        proxy: bool = True,
        owns: bool = False,
    ) -> None:
        self.streams, self.terminal, self.keys = streams, terminal, keys
        self.proxy, self.owns = proxy, owns
        self.out_of_memory = False
        self._started = False
        self.signals: Signals | None = None
        self.input: Input | None = None
        self._closed: set[bytes] = set()

    def hold_signals(self) -> None:
        """From now on they wait until there is a container to pass them on to."""
        if self.proxy:
            from minirun.engine.foreground import Signals

            self.signals = Signals()

    def serve(
        self, monitor: socket, when_started: Callable[[int], object] = lambda pid: None
    ) -> tuple[bytes, int]:
        """The last word of the monitor, and the exit code: ENDED; FAILED, the container could not
        even be started; b"", the monitor has died; or WATCH, if somebody let go of it."""
        poller = select.poll()
        poller.register(monitor, select.POLLIN)
        with ExitStack() as stack:
            try:
                while True:
                    for fd, events in poller.poll():
                        if fd == monitor.fileno():
                            kind, data, fds = wire.receive(monitor)
                            if kind in LAST:
                                code, *words = data.split() or [LOST]
                                self.out_of_memory = wire.OOM in words
                                return kind, int(code)
                            if kind == wire.STARTED:
                                when_started(int(data))
                            self._hear(monitor, kind, data, fds, poller, stack)
                        elif self.signals and fd == self.signals.fd:
                            self._pass_on(monitor)
                        elif self.input:
                            self.input.serve(fd, events)
            except Detached:
                sys.stderr.write("\r\n")
                return wire.WATCH, 0

    def _hear(
        self,
        monitor: socket,
        kind: bytes,
        data: bytes,
        fds: list[int],
        poller: select.poll,
        stack: ExitStack,
    ) -> None:
        if kind in OUTPUTS:
            self._show(monitor, kind, data)
        elif kind == wire.STARTED and not self._started:
            self._started = True
            self._begin(fds, poller, stack)
        else:
            for fd in fds:
                os.close(fd)

    def _begin(self, fds: list[int], poller: select.poll, stack: ExitStack) -> None:
        """It runs: from now on it can have our signals and our input."""
        from minirun.engine.stdin import Input

        if self.signals:
            poller.register(self.signals.fd, select.POLLIN)
        if fds:
            self.input = Input(fds[0], poller, terminal=self.terminal, keys=self.keys)
            stack.enter_context(self.input)

    def _show(self, monitor: socket, stream: bytes, data: bytes) -> None:
        if stream in self._closed:
            return
        try:
            write_all(OUTPUTS[stream], data)
        except BrokenPipeError:
            if not self.owns:
                raise
            self._closed.add(stream)
            wire.send(monitor, wire.CLOSE, stream)

    def _pass_on(self, monitor: socket) -> None:
        assert self.signals
        for number in self.signals.read():
            if number == SIGWINCH and self.terminal:
                if self.input:
                    self.input.resize()
            elif number != SIGCHLD:
                try:
                    wire.send(monitor, wire.SIGNAL, b"%d" % number)
                except ConnectionError:  # it has just ended: the message is on its way
                    return
