"""Stop all processes of a container, until resume."""

from __future__ import annotations

from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = ("ID",)


def run(options: Values, container_id: str) -> None:
    container = Container.load(options["root"], container_id)
    container.require("pause")
    if cgroup := container.cgroup():
        cgroup.freeze()
