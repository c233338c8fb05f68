"""Show the processes of a container: their IDs as JSON, or what ps(1) says of them.

What follows the ID are options of ps(1), -ef by default."""

from __future__ import annotations

import subprocess
import sys

from minirun import document, errors
from minirun.runtime.commands.list import FORMAT, check_format
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (FORMAT,)
ARGUMENTS = ("ID", "[OPTION…]")


def run(options: Values, container_id: str, *arguments: str) -> None:
    form = check_format(options)
    container = Container.load(options["root"], container_id, lock=False)
    container.require("ps")
    pids = sorted(container.pids())
    if form == "json":
        sys.stdout.write(document.dumps(pids) + "\n")
        return
    title, *lines = _ps(arguments or ("-ef",))
    if "PID" not in title.split():
        raise errors.UsageError(f"ps {' '.join(arguments)} prints no column PID")
    column = title.split().index("PID")
    shown = [line for line in lines if int(line.split()[column]) in pids]
    sys.stdout.writelines(f"{line}\n" for line in [title, *shown])


def _ps(arguments: tuple[str, ...]) -> list[str]:
    """What ps(1) of this machine prints."""
    try:
        done = subprocess.run(["ps", *arguments], capture_output=True, check=True)
    except FileNotFoundError:
        raise errors.NotFound("ps(1) is not installed here", hint="ps --format json ID") from None
    except subprocess.CalledProcessError as error:
        raise errors.UsageError(f"ps: {error.stderr.decode(errors='replace').strip()}") from None
    return done.stdout.decode(errors="replace").splitlines()
