"""Execute the command of a created container."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from minirun import errors
from minirun.runtime import log
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = ("ID",)
ANSWER = 64 * 1024  # the longest message that may come through the door (sync.py)


def run(options: Values, container_id: str) -> None:
    container = Container.load(options["root"], container_id)
    start(container, container.config())


def start(container: Container, spec: dict[str, Any]) -> None:
    """Let the command of a created container run.

    Whoever listens at the door is the container's first process. End of file means that execve(2)
    went well. If it did not, the reason comes instead, and is raised.
    """
    container.require("start")
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{container.lock_fd}/start")
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
        raise failure.reason(answer, spec["process"]["args"][0], suspicion)
    if (spec.get("hooks") or {}).get("poststart"):
        from minirun.runtime import hooks

        log.warn(hooks.run_all_warning(spec, "poststart", container.report("running")))
