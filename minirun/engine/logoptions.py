"""--log-driver and --log-opt: how much of a container's output is kept (logfile.py keeps it).

A container's log is a file here, of one format. Docker's names for such logs, json-file and local,
both mean it; ``none`` keeps nothing. All other drivers send the lines elsewhere, which minirun
leaves to who reads ``minirun logs --follow``.
"""

from __future__ import annotations

from minirun.engine import logfile, values
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FILES = ("json-file", "local")
MOST_FILES = range(1, 1001)


def size_and_files(options: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes in each file of the log, and how many files there are; none for no log.

    >>> size_and_files({"log_opt": ("max-size=1m", "max-file=2")})
    (1048576, 2)
    """
    driver = options.get("log_driver") or FILES[0]
    wanted = dict(values.pair(text, "--log-opt") for text in options.get("log_opt", ()))
    if driver not in (*FILES, "none"):
        raise UsageError(
            f"--log-driver {printable(driver)[:40]}: logs are files here",
            hint="json-file, local, or none; minirun logs -f NAME | logger sends them on",
        )
    if driver == "none":
        if wanted:
            raise UsageError("--log-opt: with --log-driver none there is no log")
        return 0, 0
    size, files = logfile.SIZE, logfile.FILES
    for name, text in wanted.items():
        if name == "max-size":
            size = values.LARGEST if text == "-1" else values.size(text)
        elif name == "max-file":
            files = values.integer(text, MOST_FILES, "--log-opt max-file")
        else:
            raise UsageError(f"--log-opt {printable(name)[:40]}: only max-size and max-file")
    if not size:
        raise UsageError("--log-opt max-size: 0 bytes hold no log", hint="--log-driver none")
    return size, files
