"""The seccomp agent: a program that decides about the calls a filter sends on (seccomp_unotify(2)).

A rule with SCMP_ACT_NOTIFY stops the process, and whoever holds the filter's listener reads what it
wanted to do and answers. The listener is a file descriptor that seccomp(2) returns to the process
that loads the filter: that is the trampoline, so the trampoline sends it away, with the container
process state (config-linux.md) over a socket that was connected while the host's files were there.

It does so by sendmsg(2), the one call besides execve(2) that such a filter has to let pass.

``exec`` does not know the process's number before the trampoline has made the process. So its
trampoline leaves the end of the message out and tells the parent, which has the socket too.
"""

from __future__ import annotations

from _socket import AF_UNIX, MSG_NOSIGNAL, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket
from struct import pack

from minirun import document
from minirun.errors import StepError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.runtime.trampoline import Argument, Call


class Agent:
    """A connection to the agent of ``linux.seccomp``; StepError if there is none."""

    def __init__(self, seccomp: dict[str, Any]) -> None:
        self.metadata = seccomp.get("listenerMetadata")
        self.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        path = seccomp["listenerPath"]
        try:
            self.socket.connect(path)
        except OSError as error:
            raise StepError(
                f"linux.seccomp.listenerPath: {printable(path)}: {error.strerror or error}"
            ) from error

        self.told: Call | None = None  # of exec: the call that has its parent ``finish``

    def calls(self, fd: int, listener: int, report: dict[str, Any]) -> Iterator[Call]:
        """The calls that send ``listener`` over the connection, whose number is ``fd`` by then, and
        close it: the agent may be asked of execve(2) before that does. ``report`` is the state.
        """
        state = {
            "ociVersion": report["ociVersion"],
            "fds": ["seccompFd"],
            **({"metadata": self.metadata} if self.metadata else {}),
            "state": report,
            "pid": report["pid"],
        }
        data = document.dumps(state).encode()
        if self.told:
            data = data[: data.rindex(b":") + 1]  # all but the number, and the bracket behind
        rights = pack("=Qiii4x", 20, SOL_SOCKET, SCM_RIGHTS, listener)  # cmsg(3)
        # struct msghdr: no name, one piece of data, one control message, no flags
        message: list[Argument] = [0, 0, [data, len(data)], 1, rights, len(rights), 0]
        yield "sendmsg", fd, message, MSG_NOSIGNAL
        if self.told:
            yield self.told
        yield "close", fd

    def finish(self, pid: int) -> None:
        """Send the end of the message."""
        self.socket.sendall(b"%d}" % pid)
        self.socket.close()
