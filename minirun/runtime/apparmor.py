"""AppArmor: a module of some kernels that judges by the profile a process is under (apparmor(7)).

A process that writes "exec NAME" to a file in its /proc/self/attr comes under that profile by its
next execve(2). Only it may write there, and with the very powers it had when it opened the file;
and its next execve(2) has to be the command's, for a profile need not allow what we do before. So
the trampoline does it, by the /proc of the host, since the one in the container may be anything.

A machine without AppArmor refuses: who asks for a profile must not run without one.
"""

from __future__ import annotations

import os
from fcntl import F_SETFD, FD_CLOEXEC

from minirun.errors import StepError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.runtime.trampoline import Call

ENABLED = "/sys/module/apparmor/parameters/enabled"
ATTRIBUTE = "thread-self/attr/apparmor/exec"


def profile(name: str) -> Profile | None:
    """The profile of ``process.apparmorProfile``; None if there is nothing to do."""
    try:
        with open(ENABLED) as file:
            if file.read(1) == "Y":
                return Profile(name)
    except FileNotFoundError:
        pass
    if name == "unconfined":
        return None
    raise StepError(
        f"process.apparmorProfile: {printable(name)}: this kernel runs without AppArmor",
        hint="leave it out, or boot with apparmor=1 security=apparmor",
    )


class Profile:
    def __init__(self, name: str) -> None:
        self.text = b"exec " + os.fsencode(name)
        self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def calls(self, proc: int, free: int) -> Iterator[Call]:
        """The calls that come under it. ``proc`` is the number of our descriptor by then, ``free``
        the lowest that is not in use."""
        yield "openat", proc, ATTRIBUTE.encode() + b"\0", os.O_WRONLY
        yield "write", free, self.text, len(self.text)
        yield "close", free
        yield "fcntl", proc, F_SETFD, FD_CLOEXEC
