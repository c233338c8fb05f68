"""A few processes that do jobs for the threads of this one.

Python runs one thread at a time, whatever the number of cores; unpacking a layer is thousands of
small system calls from Python, so two layers need two processes. They are forked before the first
thread starts (a fork of a process with threads may copy a lock that nobody will ever open), and
each waits at its own socket:

    run(job) ──► [job as JSON] ──► do(job)
             ◄── ["done", result] or ["error", class, message, hint] ◄──

A process that ends early is seen as the end of its socket, and when we end, however we end, the
kernel tells them (PR_SET_PDEATHSIG, prctl(2)). They take SIGTERM as an exception: what they were
making is cleaned up on its way.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import traceback
from queue import SimpleQueue

from minirun import errors, linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Job = Callable[[Any], Any]


class Workers:
    """``with Workers(do, count) as workers:`` and then ``workers.run(job)`` from any thread."""

    def __init__(self, do: Job, count: int) -> None:
        self._idle: SimpleQueue[socket.socket] = SimpleQueue()
        self._sockets: list[socket.socket] = []
        self._pids: list[int] = []
        try:
            for _ in range(count):
                self._start(do)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for ours in self._sockets:
            ours.close()
        for pid in self._pids:
            os.waitpid(pid, 0)

    def run(self, job: Any) -> Any:
        """What ``do(job)`` returns in the next process that is free; its Error is raised here."""
        worker = self._idle.get()
        try:
            _send(worker, job)
            status, *answer = _receive(worker)
        except (EOFError, OSError):
            raise errors.Error("a process that unpacks layers was killed") from None
        finally:
            self._idle.put(worker)
        if status == "done":
            return answer[0]
        name, message, hint = answer
        raise getattr(errors, name)(message, hint=hint)

    def kill(self) -> None:
        """End what they are doing: it is of no use any more. Every ``run`` ends in an Error."""
        for pid in self._pids:
            os.kill(pid, signal.SIGTERM)

    def _start(self, do: Job) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _leave_the_rest(theirs.fileno())
            _serve(theirs, do, parent)
        theirs.close()
        self._pids.append(pid)
        self._sockets.append(ours)
        self._idle.put(ours)


def _leave_the_rest(fd: int) -> None:
    """Close what a fork copied, all but ``fd``: locks and connections end where they should.

    Nor may the garbage collector close, later, numbers that by then are something else.
    """
    gc.freeze()
    os.closerange(3, fd)
    os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))


def _serve(theirs: socket.socket, do: Job, parent: int) -> None:
    """The life of a worker: it never returns to the code that it is a copy of."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c reaches us too; our parent decides
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
        while os.getppid() == parent:
            _send(theirs, _answer(do, _receive(theirs)))
    except (EOFError, OSError, SystemExit):  # our parent is gone, or wants us to go
        status = 0
    except BaseException:
        traceback.print_exc()  # a mistake of ours: nobody else can show it
    finally:
        os._exit(status)


def _stop(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough: nothing may disturb the cleaning up
    raise SystemExit


def _answer(do: Job, job: Any) -> list[Any]:
    try:
        return ["done", do(job)]
    except OSError as error:
        caught = errors.from_os_error(error)
    except errors.Error as error:
        caught = error
    return ["error", type(caught).__name__, caught.message, caught.hint]


def _send(peer: socket.socket, message: Any) -> None:
    peer.sendall(json.dumps(message).encode() + b"\n")


def _receive(peer: socket.socket) -> Any:
    """The next line. Only one message is ever on its way, so nothing comes behind it."""
    line = b""
    while not line.endswith(b"\n"):
        data = peer.recv(1 << 16)
        if not data:
            raise EOFError
        line += data
    return json.loads(line)
