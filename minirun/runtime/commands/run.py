"""Make a container, start it, wait for its end and delete it.

The exit code is the command's own, or 128 + n if signal n ended it."""

from __future__ import annotations

from minirun.runtime import ending, foreground, process
from minirun.runtime.commands import create, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (
    *create.OPTIONS,
    (("-d", "--detach"), "", "return when the command has been started"),
    (("--keep",), "", "do not delete the container when it has ended"),
)
ARGUMENTS = create.ARGUMENTS


def run(options: Values, container_id: str) -> int:
    detached = bool(options.get("detach"))
    signal_fd = None if detached else foreground.hold_signals()
    setup = create.make(options, container_id, detached=detached)
    container = setup.container
    try:
        start.start(container, setup.spec, setup.explainer)
    except BaseException:
        ending.destroy(container)
        process.reap(setup)
        raise
    container.unlock()
    if signal_fd is None:
        return 0
    return foreground.wait_and_delete(setup, signal_fd, keep=bool(options.get("keep")))
