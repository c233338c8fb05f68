"""``minirun``: the command line that people type, and one of the two places that end the program.

Start-up time is part of the interface: a command's module is imported when that command is called
(``COMMANDS`` says which there are), and heavy modules inside the functions that need them.

Exit codes are Docker's: 125 for errors of ours, 126 and 127 when the command in the container
cannot be executed or found, 128 + n after signal n, and else what that command returned.
"""

from __future__ import annotations

import os
import sys

import click

from minirun import __version__
from minirun.engine import later
from minirun.errors import Error, UsageError, from_os_error, printable, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SECTIONS = (
    (
        "Containers",
        (
            ("run", "Run a command in a new container"),
            ("ps", "List containers"),
            ("rm", "Remove containers that have ended"),
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
            ("image", "Remove images that nothing uses (image prune)"),
        ),
    ),
    (
        "Taking it apart",
        (
            ("bundle", "Write an image as an OCI bundle, for any OCI runtime"),
            ("unpack", "Flatten layer tars into a directory"),
        ),
    ),
    (
        "This machine",
        (
            ("doctor", "Try everything that containers need, and say how to mend it"),
            ("version", "Show versions"),
        ),
    ),
)
COMMANDS = {name: summary for _, commands in SECTIONS for name, summary in commands}
STANDARD = (0, 1, 2)
BROKEN_PIPE = 141  # 128 + SIGPIPE: what the shell shows of any program whose reader went away
INTERRUPTED = 130


class Group(click.Group):
    """The commands, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"minirun.engine.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and end the process with its exit code."""
    hold_standard_streams()
    os.umask(0o022)
    line = list(sys.argv[1:] if arguments is None else arguments)
    code = call(line)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    sys.stderr.flush()
    os._exit(code)  # at once: nothing is left that an orderly end of the interpreter would do


def call(line: list[str]) -> int:  # noqa: PLR0911 (a table of errors)
    """The exit code of a command line; what a user can cause never ends in a traceback."""
    try:
        return int(cli.main(line, prog_name="minirun", standalone_mode=False) or 0)
    except Error as error:
        return complain(error)
    except click.ClickException as error:
        return complain(from_click(error))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except OSError as error:
        return complain(from_os_error(error))
    except Exception as error:
        if "--debug" in line:
            import traceback

            traceback.print_exc()
        what = f"minirun itself went wrong: {type(error).__name__}: {printable(str(error))}"
        return complain(Error(what, hint="please report it, with the output of minirun --debug …"))


def from_click(error: click.ClickException) -> Error:
    """What click found wrong with the command line, in our words and with our exit code."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context else "minirun --help"
    return UsageError(printable(message[:1].lower() + message[1:]), hint=hint)


def complain(error: Error) -> int:
    sys.stderr.write(render(error) + "\n")
    return error.exit_code


def hold_standard_streams() -> None:
    """Open what is closed of 0, 1 and 2: else the next file opened would be somebody's output."""
    for fd in STANDARD:
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 (for good)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
