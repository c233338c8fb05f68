"""The seccomp agent: a program that decides about the calls a filter sends on (seccomp_unotify(2)).

A rule with SCMP_ACT_NOTIFY stops the process, and whoever holds the filter's listener reads what it
wanted to do and answers. The listener is a file descriptor that seccomp(2) returns to the process
that loads the filter: that is the trampoline, so the trampoline sends it away, with the container
process state (config-linux.md) over a socket that was connected while the host's files were there.

It does so by sendmsg(2), the one call besides execve(2) that such a filter has to let pass.
"""

from __future__ import annotations

from _socket import AF_UNIX, MSG_NOSIGNAL, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket
from struct import pack

from minirun.errors import StepError, printable
from minirun.runtime import document

TYPE_CHECKING = False
if TYPE_CHECKING:
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

    def tell(self, fd: int, listener: int, report: dict[str, Any]) -> Call:
        """The call that sends ``listener`` over the connection, whose number is ``fd`` by then.

        ``report`` is the state of the container.
        """
        state = {
            "ociVersion": report["ociVersion"],
            "fds": ["seccompFd"],
            "pid": report["pid"],
            **({"metadata": self.metadata} if self.metadata else {}),
            "state": report,
        }
        data = document.dumps(state).encode()
        rights = pack("=Qiii4x", 20, SOL_SOCKET, SCM_RIGHTS, listener)  # cmsg(3)
        # struct msghdr: no name, one piece of data, one control message, no flags
        message: list[Argument] = [0, 0, [data, len(data)], 1, rights, len(rights), 0]
        return "sendmsg", fd, message, MSG_NOSIGNAL
