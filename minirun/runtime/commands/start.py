"""Execute the command of a created container."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from minirun import errors
from minirun.runtime import step
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values
    from minirun.runtime.step import Explainer

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = ("ID",)
ANSWER = 64 * 1024  # the longest message that may come through the door (sync.py)


class Start:
    """What the steps of ``start`` work on."""

    def __init__(self, container: Container, spec: dict[str, Any], explainer: Explainer | None):
        self.container, self.spec, self.explainer = container, spec, explainer


def run(options: Values, container_id: str) -> None:
    container = Container.load(options["root"], container_id)
    start(container, container.config(), step.explainer(options))


def start(container: Container, spec: dict[str, Any], explainer: Explainer | None) -> None:
    """Let the command of a created container run."""
    container.require("start")
    step.take(STEPS, Start(container, spec, explainer), explainer)


def knock(start: Start) -> None:
    """Knock at the container's door, and wait until its command has been executed.

    why:    its first process waits there. The end of file means that execve(2) went well; if it
            did not, the reason comes instead
    shell:  nc -U /run/minirun/oci/ID/start
    man:    unix(7), connect(2)
    """
    container = start.container
    path = f"/proc/self/fd/{container.lock_fd}/start"  # any length of path
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        connection.connect(path)
        if start.explainer:
            start.explainer.hear("connect", (connection.fileno(), path), 0)
        os.unlink(container.path("start"))
        answer = connection.recv(ANSWER)
    except (ConnectionRefusedError, ConnectionResetError):
        raise errors.StateError(f"container {container.id!r} died before it was started") from None
    finally:
        connection.close()
    if answer:
        from minirun.runtime import failure

        suspicion = ""
        if os.path.exists(container.path("suspicion")):
            suspicion = os.fsdecode(container.read("suspicion"))
        raise failure.reason(answer, start.spec["process"]["args"][0], suspicion)


def run_poststart_hooks(start: Start) -> None:
    """Run the hooks for the moment when the command runs; if one fails, the command is killed.

    why:    who asked for them wants no container without what they do
    man:    kill(2)
    """
    if (start.spec.get("hooks") or {}).get("poststart"):
        from minirun.runtime import ending, hooks, signals

        try:
            hooks.run(start.spec, "poststart", start.container.report("running"))
        except errors.Error:
            ending.signal(start.container, signals.KILL)
            raise


STEPS = (knock, run_poststart_hooks)
