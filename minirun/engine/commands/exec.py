"""minirun exec"""

from __future__ import annotations

from minirun.engine import flags, options
from minirun.engine.keys import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (
    flags.Option("-i", "--interactive", help="Pass standard input on."),
    options.TTY,
    flags.Option("-d", "--detach", help="Leave it in the background."),
    flags.Option("-e", "--env", metavar="NAME[=VALUE]", many=True,
                 help="Set a variable, or pass on one of yours."),
    flags.Option("--env-file", metavar="FILE", many=True,
                 help="Set the variables of a file, one a line."),
    flags.Option("-u", "--user", metavar="USER[:GROUP]",
                 help="Run as this user of the container (a name or a number)."),
    flags.Option("-w", "--workdir", metavar="DIR", help="Start in this directory."),
    flags.Option("--detach-keys", metavar="KEYS", default=DEFAULT,
                 help="Keys that leave it in the background; ctrl-p,ctrl-q."),
    flags.Option("--privileged", help="All capabilities, and no other wall less."),
)  # fmt: skip
ARGUMENTS = ("CONTAINER", "COMMAND", "[ARG...]")
EPILOG = """Exit codes: the command's own; 125 an error of minirun, 126 the command cannot be
executed, 127 it was not found, 128+n signal n ended it (137: killed)."""


def main(root: str | None, words: Sequence[str]) -> int:
    """Run one more command in a container that is running.

    It begins as the container's own did: with its environment, its user, its working directory.
    What it writes comes here, and does not go into the container's log.

    \b
        minirun exec -it web sh             a shell, to look around
        minirun exec -u nobody web id       as another user
    """
    values, (name, *command) = flags.parse("exec", OPTIONS, ARGUMENTS, words)
    from minirun.engine.exec import Exec
    from minirun.engine.state import open_state

    if values["interactive"] and values["tty"] and not values["detach"]:
        from minirun.engine.terminal import check_interactive

        check_interactive()
    state = open_state(root)
    return Exec(state, state.containers.find(name), command, values).run()
