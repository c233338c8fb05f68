"""Remove a container that has stopped, or with --force any."""

from __future__ import annotations

from minirun import errors
from minirun.runtime import ending, log
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = ((("-f", "--force"), "", "kill it first if it runs"),)
ARGUMENTS = ("ID",)


def run(options: Values, container_id: str) -> None:
    try:
        container = Container.load(options["root"], container_id)
    except errors.NotFound:
        if options.get("force"):
            return
        raise
    if not options.get("force"):
        container.require("delete")
    log.warn(ending.destroy(container))
