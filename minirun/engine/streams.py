"""What a container prints and is given: pipes or a terminal at one side, log and audience at the
other.

    container ──► pipe, or terminal ──► the monitor ──► log
                                              └───────► everybody who is attached
    container ◄── pipe, or terminal ◄── who is attached writes there itself

Interface: Streams.
"""

from __future__ import annotations

import os
import time
from fcntl import fcntl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.engine.audience import Audience
    from minirun.engine.logfile import Log
    from minirun.engine.loop import Loop

STDOUT, STDERR = b"o", b"e"
SAID = b"s"  # what the helpers say, the runtime among them: shown as standard error, not logged
CHUNK = 1 << 16
MOST_SAID = 1 << 12  # bytes kept of what the helpers said last: it may be the reason of a failure
F_SETPIPE_SZ = 1031  # fcntl(2)
PIPE = 1 << 20  # bytes a container can be ahead of us
NAP = 0.001  # seconds; who prints without end is read this often, and much each time


class Streams:
    def __init__(self, loop: Loop, audience: Audience, log: Log, fail: Callable[[str], object]):
        self.loop, self.audience, self.log, self.fail = loop, audience, log, fail
        self.said = b""
        self._last = 0.0  # when something was read
        self.begun = False  # until it is, standard error is the runtime's
        self.input = -1  # what an attached command writes to
        self._open: dict[bytes, int] = {}
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._theirs: list[int] = []
        self._helpers_end = self._pipe(SAID)

    def pipes(self, *, stdin: bool) -> list[int]:
        """New pipes; the ends that are the container's 0, 1 and 2, until ``give_away``."""
        theirs = [self._null]
        if stdin:
            reader, self.input = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.input, False)
            theirs = [reader]
        theirs += [self._pipe(STDOUT), self._pipe(STDERR)]
        self._theirs += theirs[1:] if theirs[0] == self._null else theirs
        return theirs

    def helpers(self) -> list[int]:
        """What is 0, 1 and 2 of those who help: what they say is heard."""
        return [self._null, self._helpers_end, self._helpers_end]

    def _pipe(self, stream: bytes) -> int:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reader, False)
        if stream != SAID:
            try:
                fcntl(reader, F_SETPIPE_SZ, PIPE)
            except OSError:  # EPERM: who may have no larger one gets on with what there is
                pass
        self._watch(stream, reader)
        return writer

    def terminal(self, master: int) -> None:
        """The container has a terminal, whose other end this is."""
        os.set_blocking(master, False)
        self.input = master
        self._watch(STDOUT, master)

    def give_away(self) -> None:
        """The container has its ends now: without ours, theirs are the last."""
        while self._theirs:
            os.close(self._theirs.pop())

    def close_input(self) -> None:
        """Whoever is attached has the container's input; when he is gone, it ends."""
        if self.input >= 0 and self.input not in self._open.values():
            os.close(self.input)
            self.input = -1

    def _watch(self, stream: bytes, fd: int) -> None:
        self._open[stream] = fd
        if not self.audience.is_behind:
            self.loop.watch(fd, lambda events: self.read(stream))

    def pause(self) -> None:
        for fd in self._open.values():
            self.loop.forget(fd)

    def resume(self) -> None:
        """Read again, if everybody has read what was sent."""
        for stream, fd in self._open.items():
            self._watch(stream, fd)

    def read(self, stream: bytes) -> bool:
        """Read once, log and show it; False if there was nothing (more) to be read just now."""
        try:
            data = os.read(self._open[stream], CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        if not data:
            self.close(stream)
            return False
        if stream == SAID or (stream == STDERR and not self.begun):
            self.said = (self.said + data)[-MOST_SAID:]
        if stream != SAID:
            self._log(stream, data)
        self.audience.show(STDERR if stream == SAID else stream, data)
        if self.audience.is_behind:
            self.pause()
        elif len(data) < CHUNK:
            self._nap(stream)
        return True

    def _nap(self, stream: bytes) -> None:
        """Read no sooner than need be where small pieces come one after the other: each costs the
        same as a large one."""
        now = time.monotonic()
        if now - self._last < NAP:
            self.loop.forget(self._open[stream])
            self.loop.after(NAP, self.resume)
        self._last = now

    def _log(self, stream: bytes, data: bytes) -> None:
        try:
            self.log.write(stream, data)
        except OSError as error:
            self.fail(f"log: {error.strerror}")

    def close(self, stream: bytes) -> None:
        """Read no more of it: who still writes gets a SIGPIPE."""
        fd = self._open.pop(stream, -1)
        if fd >= 0:
            self.loop.forget(fd)
            if fd == self.input:
                self.input = -1
            os.close(fd)

    def drain(self, *, final: bool) -> bool:
        """Read what there is; whether that was all. When no writer is left, it is with the end of
        the file; when ``final``, as soon as there is nothing more just now."""
        for stream in list(self._open):
            while not self.audience.is_behind and self.read(stream):
                pass
        if self.audience.is_behind:
            return False
        return final or not {STDOUT, STDERR} & self._open.keys()

    def end(self) -> None:
        """Close all; the next start opens anew."""
        self.give_away()
        for stream in (STDOUT, STDERR):
            self.close(stream)
        self.close_input()
        self.begun, self.said = False, b""
