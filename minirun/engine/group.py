"""The tree of commands, for click: it shows the help, and parses what flags.py does not.

A command's module is imported when that command is called: ``SECTIONS`` says which there are.
"""

from __future__ import annotations

import signal

import click

from minirun import __version__
from minirun.engine import aliases, later
from minirun.engine.command import TableCommand
from minirun.errors import Error, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SECTIONS = (
    (
        "Containers",
        (
            ("run", "Run a command in a new container"),
            ("create", "Make a container, to be started later"),
            ("start", "Start containers that there are"),
            ("stop", "Ask containers to end, and kill those that do not"),
            ("restart", "Stop containers and start them again"),
            ("kill", "Send a signal to containers"),
            ("wait", "Wait until containers end"),
            ("attach", "Connect to a running container"),
            ("logs", "Show what a container has printed"),
            ("rename", "Give a container another name"),
            ("cp", "Copy files between a container and this machine"),
            ("exec", "Run one more command in a running container"),
            ("pause", "Stop all processes of containers, until unpause"),
            ("unpause", "Let them go on"),
            ("update", "Change the limits or the restart policy of containers"),
            ("ps", "List containers"),
            ("top", "Show the processes of a container"),
            ("stats", "Show what containers use"),
            ("events", "Tell what happens, as it happens"),
            ("rm", "Remove containers"),
            ("container", "Remove containers that do not run (container prune)"),
        ),
    ),
    (
        "Images",
        (
            ("pull", "Download an image from a registry"),
            ("images", "List images"),
            ("tag", "Give an image another name"),
            ("rmi", "Remove images"),
            ("inspect", "Show all there is to know of an image or container, as JSON"),
            ("history", "Show the layers of an image"),
            ("diff", "Show what a container has changed"),
            ("commit", "Make an image of what a container has changed"),
            ("export", "Write all files of a container as a tar"),
            ("import", "Make an image of a tar"),
            ("image", "Remove images that nothing uses (image prune)"),
        ),
    ),
    (
        "Networks and volumes",
        (
            ("network", "Make, list and remove networks; connect containers"),
            ("port", "Show where a container's ports are reached"),
            ("volume", "Make, list and remove volumes"),
        ),
    ),
    (
        "Taking it apart",
        (
            ("bundle", "Write an image as an OCI bundle, for any OCI runtime"),
            ("unpack", "Flatten layer tars into a directory"),
            ("source", "Show the function of a step that --explain tells of"),
        ),
    ),
    (
        "This machine",
        (
            ("system", "Disk usage, clean-up, a check for damage, start after a reboot"),
            ("doctor", "Try everything that containers need, and say how to mend it"),
            ("info", "Show what there is on this machine"),
            ("version", "Show versions"),
        ),
    ),
)
COMMANDS = {name: summary for _, commands in SECTIONS for name, summary in commands}


class Group(click.Group):
    """The commands, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        module = import_module(f"minirun.engine.commands.{cmd_name}")
        command: click.Command | None = getattr(module, "command", None)
        return command or TableCommand(cmd_name, module)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        args = aliases.short(args)
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        if name in later.COMMANDS:
            reason, hint = later.COMMANDS[name]
            raise UsageError(f"minirun {name}: {reason}", hint=hint)
        from difflib import get_close_matches

        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean: minirun {near[0]}?" if near else "minirun --help lists all"
        raise UsageError(f"{printable(name)[:80]!r} is not a minirun command", hint=hint)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS:
            with formatter.section(section):
                formatter.write_dl(commands)


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Try: minirun run --rm -it tiny sh. 'minirun COMMAND --help' tells more of a command.",
)
@click.version_option(__version__, "-V", "--version", message="minirun version %(version)s")
@click.option(
    "--root",
    metavar="DIR",
    envvar="MINIRUN_ROOT",
    help="Keep everything below DIR, instead of /var/lib/minirun and /run/minirun.",
)
@click.option("--debug", is_flag=True, help="Show a traceback for errors of minirun's own.")
@click.pass_context
def cli(ctx: click.Context, root: str | None, debug: bool) -> None:
    """A minimal, educational and real container runtime."""
    ctx.obj = root
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def call(line: Sequence[str]) -> int:
    """Run a command line; raises our errors only. SIGTERM ends it with what is half done undone."""
    signal.signal(signal.SIGTERM, _end)
    try:
        return int(cli.main(list(line), prog_name="minirun", standalone_mode=False) or 0)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        raise from_click(error) from None


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def from_click(error: click.ClickException) -> Error:
    """What click found wrong with the command line, in our words and with our exit code."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context else "minirun --help"
    return UsageError(printable(message[:1].lower() + message[1:]), hint=hint)
