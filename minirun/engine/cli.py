"""``minirun``: the command line that people type, and one of the two places that end the program.

Start-up time is part of the interface: a few commands go the short way, without click (flags.py
says why); everything else, and their help, through group.py. Both end in the same functions.

Exit codes are Docker's: 125 for errors of ours, 126 and 127 when the command in the container
cannot be executed or found, 128 + n after signal n, and else what that command returned.
"""

from __future__ import annotations

import os
import sys

from minirun.engine import aliases
from minirun.errors import Error, from_os_error, printable, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SHORT_WAY = {"run", "create", "exec", "ps"}
STANDARD = (0, 1, 2)
BROKEN_PIPE = 141  # 128 + SIGPIPE: what the shell shows of any program whose reader went away
INTERRUPTED = 130


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


def call(line: list[str]) -> int:
    """The exit code of a command line."""
    return guard(lambda: dispatch(line), debug="--debug" in line)


def guard(do: Callable[[], int | None], *, debug: bool = False) -> int:
    """The exit code of what ``do`` does; what a user can cause never ends in a traceback."""
    try:
        return do() or 0
    except Error as error:
        return complain(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except OSError as error:
        return complain(from_os_error(error))
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        what = f"minirun itself went wrong: {type(error).__name__}: {printable(str(error))}"
        return complain(Error(what, hint="please report it, with the output of minirun --debug …"))


def dispatch(line: list[str]) -> int:
    line = aliases.short(line)
    if line and line[0] in SHORT_WAY:
        from minirun.engine import flags

        command = __import__(f"minirun.engine.commands.{line[0]}", fromlist=["main"])
        try:
            return int(command.main(os.environ.get("MINIRUN_ROOT"), line[1:]))
        except flags.HelpWanted:
            pass
    from minirun.engine import group

    return group.call(line)


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
