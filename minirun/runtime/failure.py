"""Why a command was not executed: the words for what came home instead of the end of file.

It may be an error of our own as sync.py sends it, or what the trampoline reports: the call that
failed and its errno. Interface: reason.
"""

from __future__ import annotations

import errno
import os

from minirun import document, errors
from minirun.runtime import sync, trampoline

FIELDS = {  # whose call it was, where that is not plain
    "sendmsg": " (linux.seccomp.listenerPath)",
    "write": " (process.apparmorProfile)",
}


def reason(answer: bytes, command: str, suspicion: str) -> errors.Error:
    """The error that ``answer`` tells of. ``suspicion`` is what command.py thought of the file."""
    if answer.endswith(b"]"):
        return sync.error_from(document.loads(answer, "sync"))
    name, result = trampoline.report(answer)
    why = os.strerror(-result)
    if name != "execve":
        return errors.StepError(f"step execute failed: {name}{FIELDS.get(name, '')}: {why}")
    message = f"{errors.printable(command)}: {why[:1].lower()}{why[1:]}"
    if suspicion:
        message += f": {suspicion}"
    if -result in (errno.ENOENT, errno.ENOTDIR):
        return errors.CommandNotFound(message)
    return errors.CommandNotExecutable(message)
