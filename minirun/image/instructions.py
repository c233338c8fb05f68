"""The instructions of a Dockerfile that make no layer: they only change the image's config.

    apply(config, "ENV LANG=C.UTF-8 TZ=UTC")
    apply(config, 'CMD ["nginx", "-g", "daemon off;"]')

``config`` is the inner part of an image's config document, by the names of the image spec. Pure;
what is not understood raises UsageError, before anything was changed.

The grammar: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

from minirun.errors import UsageError, printable
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Document = dict[str, Any]

SHELL = ["/bin/sh", "-c"]
SECOND = 1_000_000_000  # the durations of a health check are stored in nanoseconds
UNITS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": SECOND, "m": 60 * SECOND}
UNITS["h"] = 60 * UNITS["m"]
PROTOCOLS = ("tcp", "udp", "sctp")
LARGEST_PORT = 65535
NEVER_LATER = ("ONBUILD", "FROM", "MAINTAINER")  # in an ONBUILD


def apply(config: Document, text: str) -> None:
    """Change ``config`` as one instruction says. UsageError if it cannot be one of these."""
    name, _, rest = text.strip().partition(" ")
    change = INSTRUCTIONS.get(name.upper())
    if change is None or "\n" in text or "\0" in text:
        raise UsageError(
            f"{shown(text)} is not an instruction that changes an image's config",
            hint="these do: " + ", ".join(INSTRUCTIONS),
        )
    if not rest.strip():
        raise UsageError(f"{name.upper()} says nothing")
    change(config, rest.strip())


def shown(text: str) -> str:
    return repr(printable(text)[:80])


# --- the instructions ---------------------------------------------------------------------------


def _cmd(config: Document, text: str) -> None:
    config["Cmd"] = _command(config, text)


def _entrypoint(config: Document, text: str) -> None:
    config["Entrypoint"] = _command(config, text)


def _env(config: Document, text: str) -> None:
    env = list(config.get("Env") or [])
    for name, value in pairs(text):
        old = [n for n, variable in enumerate(env) if variable.startswith(name + "=")]
        if old:
            env[old[0]] = f"{name}={value}"
        else:
            env.append(f"{name}={value}")
    config["Env"] = env


def _label(config: Document, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs(text))}


def _expose(config: Document, text: str) -> None:
    exposed = dict(config.get("ExposedPorts") or {})
    for word in words(text):
        exposed |= {port: {} for port in ports(word)}
    config["ExposedPorts"] = exposed


def _volume(config: Document, text: str) -> None:
    paths = _list(text)
    paths = words(text) if paths is None else paths
    if not all(paths):
        raise UsageError("VOLUME: a path is empty")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _user(config: Document, text: str) -> None:
    config["User"] = _one_word("USER", text)


def _workdir(config: Document, text: str) -> None:
    """A path that does not begin with / goes on from the one before."""
    path = _one_word("WORKDIR", text)
    before = "" if path.startswith("/") else config.get("WorkingDir") or "/"
    config["WorkingDir"] = bundle.absolute(f"{before}/{path}")


def _stopsignal(config: Document, text: str) -> None:
    signal = _one_word("STOPSIGNAL", text)
    bundle.signal_number(signal)
    config["StopSignal"] = signal


def _shell(config: Document, text: str) -> None:
    shell = _list(text)
    if not shell:
        raise UsageError('SHELL wants a list, such as ["/bin/bash", "-c"]')
    config["Shell"] = shell


def _onbuild(config: Document, text: str) -> None:
    first = text.partition(" ")[0]
    if first.upper() in NEVER_LATER:
        raise UsageError(f"ONBUILD cannot be followed by {shown(first)}")
    config["OnBuild"] = [*(config.get("OnBuild") or []), text]


def _healthcheck(config: Document, text: str) -> None:
    """``NONE``, or ``[--interval=30s …] CMD COMMAND``."""
    if text.upper() == "NONE":
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    check: Document = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        name, _, value = option.removeprefix("--").partition("=")
        if name == "retries" and value.isdigit():
            check["Retries"] = int(value[:9])
        elif name in HEALTH:
            check[HEALTH[name]] = duration(value)
        else:
            raise UsageError(f"HEALTHCHECK: {shown(option)} is not one of its options")
        text = text.lstrip()
    word, _, command = text.partition(" ")
    if word.upper() != "CMD" or not command.strip():
        raise UsageError("HEALTHCHECK wants NONE, or CMD and a command")
    line = _list(command.strip())
    test = ["CMD-SHELL", command.strip()] if line is None else ["CMD", *line]
    config["Healthcheck"] = {"Test": test, **check}


HEALTH = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}

INSTRUCTIONS: dict[str, Callable[[Document, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


# --- what they are made of ----------------------------------------------------------------------


def _command(config: Document, text: str) -> list[str]:
    """``["a", "b"]`` is a command itself; anything else is one for a shell."""
    line = _list(text)
    return [*(config.get("Shell") or SHELL), text] if line is None else line


def _list(text: str) -> list[str] | None:
    """A JSON list of strings; None if the text is no such list: then it is plain words."""
    import json

    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def _one_word(name: str, text: str) -> str:
    found = words(text)
    if len(found) != 1 or not found[0]:
        raise UsageError(f"{name} wants one word, and not {shown(text)}")
    return found[0]


def words(text: str) -> list[str]:
    """Split at blanks, but for those in quotes or behind a backslash.

    >>> words('a="b c" d\\\\ e \\'f "g\\'')
    ['a=b c', 'd e', 'f "g']
    """
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{shown(text)}: {str(error).lower()}") from None


def pairs(text: str) -> list[tuple[str, str]]:
    """
    >>> pairs('A=1 B="two words"'), pairs("A one value, in the old way")
    ([('A', '1'), ('B', 'two words')], [('A', 'one value, in the old way')])
    """
    first = text.split(None, 1)
    if "=" not in first[0]:
        if len(first) < 2:
            raise UsageError(f"{shown(text)} is no NAME=VALUE")
        return [(first[0], first[1])]
    found = []
    for word in words(text):
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UsageError(f"{shown(word)} is no NAME=VALUE")
        found.append((name, value))
    return found


def ports(text: str) -> list[str]:
    """
    >>> ports("80"), ports("53/UDP"), ports("7000-7001")
    (['80/tcp'], ['53/udp'], ['7000/tcp', '7001/tcp'])
    """
    numbers, slash, protocol = text.lower().partition("/")
    low, _, high = numbers.partition("-")
    protocol = protocol if slash else "tcp"
    fits = all(n.isascii() and n.isdigit() and len(n) < 6 for n in (low, high or low))
    if not fits or not 0 < int(low) <= int(high or low) <= LARGEST_PORT:
        raise UsageError(f"{shown(text)} is not a port", hint="for example 80, 53/udp, 7000-7010")
    if protocol not in PROTOCOLS:
        raise UsageError(f"{shown(text)}: the protocols are {', '.join(PROTOCOLS)}")
    return [f"{port}/{protocol}" for port in range(int(low), int(high or low) + 1)]


def duration(text: str) -> int:
    """Nanoseconds of a duration as Go has them.

    >>> duration("1m30s"), duration("1.5s"), duration("0")
    (90000000000, 1500000000, 0)
    """
    import re

    parts = re.findall(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)", text, re.ASCII)
    if text == "0":
        return 0
    if not parts or "".join(number + unit for number, unit in parts) != text or len(text) > 40:
        raise UsageError(f"{shown(text)} is not a duration", hint="for example 300ms, 30s, 1m30s")
    return round(sum(float(number) * UNITS[unit] for number, unit in parts))
