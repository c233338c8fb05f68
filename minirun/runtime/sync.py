"""The conversation between the two halves of ``create``, and how errors come home.

The parent stays outside; the child becomes the container. A new PID namespace begins with the
*next* child of a process that calls unshare(2), and in a new user namespace all others should be
made after it, so the child is two processes, of which the first lives for a moment::

    parent (create.py)           first child (init.py)       second child: PID 1 (init.py)
      │ fork ─────────────────────────►│
      │                                │ enter the cgroup
      │                                │ join, unshare(CLONE_NEWUSER)
      │ ◄────────────────────── "maps" │                         (only with a new user namespace)
      │ uid_map, gid_map               │
      │ "go" ─────────────────────────►│ unshare the other namespaces
      │                                │ fork ────────────────────────►│
      │ ◄─────────────────── "pid", N  │ exit                          │
      │ record the pid                                                 │
      │ "go" ─────────────────────────────────────────────────────────►│ mounts, devices, terminal
      │ compile the seccomp filter                                     │
      │ ◄──────────────────────────────────── "mounted" (+ terminal's fd) │
      │ limits; hooks: prestart, createRuntime                         │
      │ "go", "filter" ───────────────────────────────────────────────►│ createContainer hooks,
      │                                                                │ pivot_root, …
      │ ◄──────────────────────────────────────────────────── "ready"  │ exec of the trampoline
      │ ◄──────────────────────────────────────────────── end of file  │ accept: waits for "start"
      │ record "created"

Every message is a JSON array in one packet of a socketpair(2); after "filter" the filter follows in
the next. Either side may send ``["error", class, message, hint]`` instead, which ``receive``
raises. Both sockets are close-on-exec: end of file means that the other side has executed something
else or is dead, and a child whose parent is dead ends at once: after a ``kill -9`` of the parent no
set-up goes on.
"""

from __future__ import annotations

import _socket
import os

from minirun import document, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKET = 64 * 1024
RIGHTS, SPACE = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS), _socket.CMSG_LEN(4)  # for one fd


class Channel:
    """One end of the conversation."""

    def __init__(self, end: _socket.socket) -> None:
        self.socket = end

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    def close(self) -> None:
        self.socket.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def move(self, fd: int) -> None:
        """Go on with ``fd``, a duplicate of ours."""
        self.socket.close()
        self.socket = _socket.socket(fileno=fd)

    def send(self, *message: Any, fd: int | None = None) -> None:
        """One message, with a file descriptor if need be (unix(7), SCM_RIGHTS)."""
        rights = [] if fd is None else [(*RIGHTS, fd.to_bytes(4, "little"))]
        self.socket.sendmsg([document.dumps(message).encode()], rights)

    def send_error(self, error: errors.Error) -> None:
        self.send("error", type(error).__name__, error.message[: PACKET // 16], error.hint)

    def receive(self) -> tuple[list[Any], int | None]:
        """The next message and the file descriptor with it; ``[]`` at the end of file.

        An error that the other side sent is raised, as what it was there.
        """
        try:
            data, ancillary, _, _ = self.socket.recvmsg(PACKET, SPACE, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # it ended with our last words unread: said once, and first
            data, ancillary, _, _ = self.socket.recvmsg(PACKET, SPACE, _socket.MSG_CMSG_CLOEXEC)
        message: list[Any] = document.loads(data, "sync") if data else []
        if message and message[0] == "error":
            raise error_from(message)
        fd = int.from_bytes(ancillary[0][2], "little") if ancillary else None
        return message, fd

    def expect(self, word: str) -> tuple[list[Any], int | None]:
        """The next message, which must be ``word``. Without it the other side is gone, and so
        are we: nobody is left to tell."""
        message, fd = self.receive()
        if not message or message[0] != word:
            os._exit(errors.Error.exit_code)
        return message, fd


def error_from(message: list[Any]) -> errors.Error:
    """The error that a message tells of."""
    _, name, text, hint = message
    kind: type[errors.Error] = getattr(errors, name)
    return kind(text, hint=hint)
