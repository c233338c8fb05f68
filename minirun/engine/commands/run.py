"""minirun run"""

from __future__ import annotations

from minirun.engine import flags, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (*options.RUN, *options.CONTAINER, options.EXPLAIN)
ARGUMENTS = ("IMAGE", "[COMMAND...]")
EPILOG = """Exit codes: the command's own; 125 an error of minirun, 126 the command cannot be
executed, 127 it was not found, 128+n signal n ended it (137: killed)."""


def main(root: str | None, words: Sequence[str]) -> int:
    """Run a command in a new container.

    The image's own command runs if none is given. Options end at IMAGE; what follows belongs to
    the container.

    \b
        minirun run --rm -it tiny sh            a shell, and no trace of it after
        minirun run -d --name web IMAGE         in the background; see logs
        minirun run --rm -m 64m tiny COMMAND    at most 64 MiB of memory
        minirun run --rm --explain tiny true    see how a container is made
    """
    values, (image, *arguments) = flags.parse("run", OPTIONS, ARGUMENTS, words)
    from minirun.engine import launcher
    from minirun.engine.state import open_state

    state = open_state(root)
    monitor = launcher.start_monitor()  # before the imports: it starts while we read
    from minirun.engine import launch, wishes
    from minirun.teach.explain import Narrator

    wishes.check(values)
    job = launch.Launch(state, values, wishes.attachment(values))
    job.image_name, job.arguments, job.explain = image, arguments, values["explain"]
    job.when_started, job.monitor = wishes.pid_writer(values["pidfile"]), monitor
    return launch.run(job, Narrator(values["explain"]))
