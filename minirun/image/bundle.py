"""From an image's config to a bundle's config.json: the contract between puller and runner.

    image config (image-spec, config.md)      config.json (runtime-spec, config.md)
    Entrypoint + Cmd                     ──►  process.args
    Env                                  ──►  process.env
    WorkingDir                           ──►  process.cwd
    User                                 ──►  process.user      (names need the root: user.py)
    everything else                           minirun/defaults.py

Pure: a dict in, a dict out. Labels and annotations of an image change nothing here, whatever they
say (to some engines they are orders, and so an image could give itself powers: CVE-2026-53488).
StopSignal is for whoever stops the container (``stop_signal``), and no business of the runtime.
"""

from __future__ import annotations

import os

from minirun import defaults
from minirun.errors import ImageError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Document = dict[str, Any]

KILL = 9
REAL_TIME = ("RTMIN", "RTMAX")


def config(
    image: Document, *, arguments: Sequence[str] = (), entrypoint: str | None = None
) -> Document:
    """A config.json that starts ``image`` (its config document) the way Docker would.

    ``arguments`` replace the image's Cmd. ``entrypoint`` replaces its Entrypoint, and drops its
    Cmd; an empty one only removes it. Raises ImageError for fields that make no sense.
    """
    wish = settings(image)
    spec = defaults.config()
    spec["process"]["args"] = command_line(wish, arguments, entrypoint)
    spec["process"]["cwd"] = _directory(wish)
    for variable in strings(wish, "Env"):
        _check_variable(variable)
        set_variable(spec, variable)
    return spec


def settings(image: Document) -> Document:
    """The part of an image's config that tells how to run it; an empty one when it has none."""
    inner = image.get("config")
    if inner is None:
        return {}
    if not isinstance(inner, dict):
        raise ImageError("the image's config is not an object")
    return inner


def command_line(
    wish: Document, arguments: Sequence[str] = (), entrypoint: str | None = None
) -> list[str]:
    """Entrypoint and Cmd as one list: what runs is decided here."""
    if entrypoint is not None:
        line = ([entrypoint] if entrypoint else []) + list(arguments)
    else:
        line = strings(wish, "Entrypoint") + (list(arguments) or strings(wish, "Cmd"))
    if not line:
        raise ImageError(
            "the image names no command, and none was given",
            hint="name one after the image: minirun run IMAGE COMMAND",
        )
    return line


def strings(wish: Document, key: str) -> list[str]:
    """A list of strings of the image; ``null`` is an empty one. No argument can have a NUL."""
    value = wish.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageError(f"the image's {key} is not a list of strings")
    if any("\0" in item for item in value):
        raise ImageError(f"the image's {key} contains a NUL byte")
    return value


def string(wish: Document, key: str) -> str:
    value = wish.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise ImageError(f"the image's {key} is not a string")
    return value


def _directory(wish: Document) -> str:
    """WorkingDir is taken from the root, and cleaned by its text alone: ``/a/../..`` is ``/``."""
    return absolute(string(wish, "WorkingDir"))


def absolute(path: str) -> str:
    """
    >>> absolute("srv/../www"), absolute("///"), absolute("/../etc/")
    ('/www', '/', '/etc')
    """
    return os.path.normpath("/" + path.lstrip("/"))


def _check_variable(variable: str) -> None:
    """Never complete a bare ``NAME`` from our own environment: an image could ask for secrets."""
    if variable.find("=") < 1:
        raise ImageError(f"the image's Env: {printable(variable)[:80]!r} is no NAME=VALUE")


def set_variable(spec: Document, variable: str) -> None:
    """Put ``NAME=VALUE`` into the environment, in place of an earlier value of that name."""
    env = spec["process"]["env"]
    prefix = variable[: variable.index("=") + 1]
    for index, old in enumerate(env):
        if old.startswith(prefix):
            env[index] = variable
            return
    env.append(variable)


def stop_signal(image: Document) -> int:
    """The number of the image's StopSignal, or of SIGTERM where it names none."""
    text = string(settings(image), "StopSignal")
    if not text:
        return 15
    try:
        return signal_number(text)
    except UsageError as error:
        raise ImageError(f"the image's StopSignal: {error.message}") from None


def signal_number(text: str) -> int:
    """A signal by number or name: ``9``, ``KILL``, ``SIGKILL``, ``rtmin+3``. signal(7)

    >>> signal_number("sigterm"), signal_number("15"), signal_number("RTMIN+2")
    (15, 15, 36)
    """
    import signal

    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+" if "+" in name else "-")
    if name.isascii() and name.isdigit():
        number = int(name[:4])
    elif base in REAL_TIME and ((offset.isascii() and offset.isdigit()) or not sign):
        number = getattr(signal, "SIG" + base) + int(sign + offset[:3] or 0)
    else:
        number = getattr(signal.Signals.__members__.get("SIG" + name), "value", 0)
    if not 0 < number <= signal.SIGRTMAX:
        raise UsageError(f"{printable(text)[:40]!r} is not a signal", hint="for a list: kill -l")
    return number


def write(spec: Document, directory: str, *, indent: int | None = None) -> None:
    """Make ``directory`` a bundle: the config.json appears whole or not at all.

    ``indent`` makes it good to read, and 3 ms slower to write: Python has C code for one line only.
    """
    import json

    path = os.path.join(directory, "config.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(json.dumps(spec, indent=indent))
    os.rename(path + ".new", path)
