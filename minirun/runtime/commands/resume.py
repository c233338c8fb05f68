"""Let the processes of a paused container go on."""

from __future__ import annotations

from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = ("ID",)


def run(options: Values, container_id: str) -> None:
    container = Container.load(options["root"], container_id)
    container.require("resume")
    if cgroup := container.cgroup():
        cgroup.thaw()
