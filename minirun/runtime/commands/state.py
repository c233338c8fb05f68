"""Print a container's state as JSON."""

from __future__ import annotations

import sys

from minirun import document
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = ("ID",)


def run(options: Values, container_id: str) -> None:
    container = Container.load(options["root"], container_id, lock=False)
    sys.stdout.write(document.pretty(container.details()) + "\n")
