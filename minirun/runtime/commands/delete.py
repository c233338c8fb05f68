"""Remove a container that has stopped or was not started, or with --force any."""

from __future__ import annotations

from minirun import errors
from minirun.runtime import ending, log
from minirun.runtime.container import Container, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (
    (("-f", "--force"), "", "kill it first if it runs; no error if it does not exist"),
    (("-r", "--regex"), "", "all containers whose ID matches this regular expression"),
)
ARGUMENTS = ("ID",)


def run(options: Values, container_id: str) -> None:
    force, root = bool(options.get("force")), options["root"]
    if options.get("regex"):
        for container in list(containers(root, container_id)):
            delete(root, container.id, force=force)
    else:
        delete(root, container_id, force=force)


def delete(root: str, container_id: str, *, force: bool) -> None:
    try:
        container = Container.load(root, container_id)
    except errors.NotFound:
        if force:
            return
        raise
    if not force:
        container.require("delete")
    log.warn(ending.destroy(container))
