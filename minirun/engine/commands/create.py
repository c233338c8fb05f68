"""minirun create"""

from __future__ import annotations

from minirun.engine import flags, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (*options.CONTAINER, options.EXPLAIN)
ARGUMENTS = ("IMAGE", "[COMMAND...]")
EPILOG = "The container's ID is printed; minirun start starts it."


def main(root: str | None, words: Sequence[str]) -> int:
    """Make a container, and do not start it yet."""
    values, (image, *arguments) = flags.parse("create", OPTIONS, ARGUMENTS, words)
    from minirun.engine import launch, wishes
    from minirun.engine.state import open_state
    from minirun.teach.explain import Narrator

    wishes.check(values)
    job = launch.Launch(open_state(root), values)
    job.image_name, job.arguments = image, arguments
    print(launch.create(job, Narrator(values["explain"])).id)
    return 0
