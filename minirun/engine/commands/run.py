"""minirun run"""

from __future__ import annotations

import click

from minirun.engine.command import Command
from minirun.engine.options import EXPLAIN, PLATFORM, SPEC_OPTIONS, with_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@click.command(
    "run",
    cls=Command,
    context_settings={"allow_interspersed_args": False, "help_option_names": ["--help"]},
    epilog="Exit codes: the command's own; 125 an error of minirun, 126 the command cannot be "
    "executed, 127 it was not found, 128+n signal n ended it (137: killed).",
)
@click.option("--rm", is_flag=True, help="Remove the container when it has ended.")
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("--name", metavar="NAME", help="A name for the container; one is made up if not.")
@with_options(*SPEC_OPTIONS, PLATFORM)
@click.option(
    "--pull",
    type=click.Choice(["missing", "always", "never"]),
    default="missing",
    help="When to ask the registry. [missing]",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of a pull.")
@click.option(
    "--tls-verify/--no-tls-verify",
    default=True,
    hidden=True,
)
@click.option("--runtime", metavar="NAME", help="Another OCI runtime: runc, crun, or a path.")
@with_options(*EXPLAIN)
@click.argument("image")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND] [ARG]...")
@click.pass_obj
def command(root: str | None, /, image: str, arguments: tuple[str, ...], **options: Any) -> int:
    """Run a command in a new container.

    The image's own command runs if none is given. Options end at IMAGE; what follows belongs to
    the container.

    \b
        minirun run --rm -it tiny sh            a shell, and no trace of it after
        minirun run --rm -m 64m tiny COMMAND    at most 64 MiB of memory
        minirun run --rm --explain tiny true    see how a container is made
    """
    from minirun.engine.run import Run, run
    from minirun.engine.state import open_state
    from minirun.teach.explain import Narrator

    if options["interactive"] and options["tty"]:
        from minirun.engine.terminal import check_interactive

        check_interactive()
    state = open_state(root)
    return run(Run(state, image, arguments, options), Narrator(options["explain"]))
