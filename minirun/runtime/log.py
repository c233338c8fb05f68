"""What goes wrong is said twice: on standard error to people, in the file of ``--log`` to callers.

containerd and conmon read that file when we fail, and look for its last line of level "error". So
its two formats, --log-format text and json, are those of runc. Interface: to, error, warn.
"""

from __future__ import annotations

import os
import sys

from minirun import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_path, _format = "", "text"


def to(path: str, form: str) -> None:
    """From now on write to ``path`` ("" for nowhere) as well. OSError if that cannot be done."""
    global _path, _format
    if path:
        os.close(os.open(path, FLAGS, 0o644))
    _path, _format = path, form


def error(failure: errors.Error) -> None:
    _record("error", failure.message)
    sys.stderr.write(errors.render(failure) + "\n")


def warn(failures: Iterable[errors.Error]) -> None:
    """Tell of what went wrong without stopping us: in the file, or else on standard error, which
    for callers with a file is the container's."""
    for failure in failures:
        if _path:
            _record("warning", failure.message)
        else:
            sys.stderr.write(f"warning: {failure.message}\n")


def _record(level: str, message: str) -> None:
    if not _path:
        return
    from time import gmtime, strftime

    from minirun import document

    now = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
    line = f'time="{now}" level={level} msg={document.dumps(message)}'
    if _format == "json":
        line = document.dumps({"level": level, "msg": message, "time": now})
    try:
        fd = os.open(_path, FLAGS, 0o644)
        os.write(fd, line.encode() + b"\n")
        os.close(fd)
    except OSError as failure:
        sys.stderr.write(f"warning: cannot write to {_path}: {failure.strerror}\n")
