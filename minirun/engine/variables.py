"""NAME=VALUE by the line: --env-file and --label-file; and the labels of a container.

A file holds one NAME=VALUE a line, taken as it is: there are no quotes, and no comments but lines
that begin with '#'. In an env file a bare NAME is passed on from our environment, as with -e.
"""

from __future__ import annotations

import os

from minirun.errors import NotFound, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def read(path: str, flag: str) -> list[str]:
    """The lines of a file that say something."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\r\n").lstrip() for line in file]
    except FileNotFoundError:
        raise NotFound(f"{flag} {printable(path)}: no such file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{flag} {printable(path)}: is not text in UTF-8") from None
    found = [line for line in lines if line and not line.startswith("#")]
    for line in found:
        name = line.partition("=")[0]
        if not name or any(letter.isspace() for letter in name):
            raise UsageError(f"{flag} {printable(path)}: {printable(line)[:80]!r} is no NAME=VALUE")
    return found


def environment(variables: Sequence[str], flag: str = "-e") -> list[str]:
    """NAME=VALUE of each; a bare NAME is passed on from our environment if it is there. Only what
    a user says on the command line is: never what an image says."""
    found = []
    for variable in variables:
        name, equals, _ = variable.partition("=")
        if not name or "\0" in variable:
            raise UsageError(f"{flag} {printable(variable)[:80]!r} is no NAME=VALUE")
        if equals:
            found.append(variable)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
    return found


def of_files(paths: Sequence[str], flag: str = "--env-file") -> list[str]:
    return environment([line for path in paths for line in read(path, flag)], flag)


def labels(options: Mapping[str, Any]) -> dict[str, str]:
    """The labels that --label-file and --label give; the later ones win, and --label over files."""
    texts = [line for path in options.get("label_file", ()) for line in read(path, "--label-file")]
    found = {}
    for text in (*texts, *options.get("label", ())):
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"--label {printable(text)[:80]!r}: it has no name")
        found[name] = value
    return found
