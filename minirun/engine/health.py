"""Health checks: a command that is run in a container again and again, and says whether it is well.

    starting ──0──► healthy ──"Retries" failures in a row──► unhealthy ──0──► healthy
        └──────────"Retries" failures, after "StartPeriod"──────►┘

Its exit code is the verdict. What is here is pure; the checks themselves are made by probe.py.

What is wanted comes from the image's HEALTHCHECK and from the flags --health-*, in the form of
"Healthcheck" in an image's config (times in nanoseconds); it is kept in the record.
https://docs.docker.com/reference/dockerfile/#healthcheck

Interface: wanted (at create), new, first (at start), after, pause (at each check).
"""

from __future__ import annotations

from minirun.engine import values
from minirun.errors import ImageError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Document = dict[str, Any]

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
SECOND = 10**9
DEFAULTS = {
    "Interval": 30 * SECOND,
    "Timeout": 30 * SECOND,
    "StartPeriod": 0,
    "StartInterval": 5 * SECOND,
    "Retries": 3,
}
FLAGS = {
    "health_interval": "Interval",
    "health_timeout": "Timeout",
    "health_start_period": "StartPeriod",
    "health_start_interval": "StartInterval",
}
COUNTS = range(1 << 16)
SHORTEST = SECOND // 1000
LONGEST = 1 << 62
KEPT = 5  # results in the state
SHELL = ["/bin/sh", "-c"]


# --- what is wanted -------------------------------------------------------------------------------


def wanted(image: Mapping[str, Any], options: Mapping[str, Any]) -> Document | None:
    """The check of a container, or None: the one in ``image`` (its settings), changed by flags.

    Raises UsageError, or ImageError for an image whose check makes no sense.
    """
    asked = [name for name in (*FLAGS, "health_cmd", "health_retries") if options.get(name)]
    if options.get("no_healthcheck"):
        if asked:
            raise UsageError("--no-healthcheck, and --health-… too: which of them?")
        return None
    check = _of_image(image)
    if options.get("health_cmd"):
        check["Test"] = ["CMD-SHELL", options["health_cmd"]]
    for name, key in FLAGS.items():
        if options.get(name):
            check[key] = _duration(name, options[name])
    if options.get("health_retries"):
        check["Retries"] = values.integer(options["health_retries"], COUNTS, "--health-retries")
    if check.get("Test", ["NONE"])[:1] == ["NONE"]:
        return None
    return check


def _of_image(image: Mapping[str, Any]) -> Document:
    """The image's check, with nothing in it that we do not know."""
    found = image.get("Healthcheck") or {}
    test = found.get("Test") or [] if isinstance(found, dict) else None
    if not isinstance(test, list) or not all(isinstance(word, str) for word in test):
        raise ImageError("the image's Healthcheck is not a list of words")
    check: Document = {}
    if test:
        if test[0] not in ("NONE", "CMD", "CMD-SHELL") or (test[0] != "NONE" and len(test) < 2):
            raise ImageError(
                f"the image's Healthcheck: {printable(test[0])[:40]!r} is no kind of it"
            )
        shell = image.get("Shell")
        if test[0] == "CMD-SHELL" and isinstance(shell, list) and shell != SHELL:
            test = ["CMD", *map(str, shell), test[1]]
        check["Test"] = test
    for key in DEFAULTS:
        number = found.get(key) or 0
        if type(number) is not int or not 0 <= number < LONGEST:
            raise ImageError(f"the image's Healthcheck: {key} is no number")
        if number:
            check[key] = number
    return check


def _duration(name: str, text: str) -> int:
    from minirun.engine import times

    flag = "--" + name.replace("_", "-")
    seconds = 0.0 if text == "0" else times.interval(text)
    if seconds is None or seconds * SECOND >= LONGEST:
        raise UsageError(
            f"{flag} {printable(text)[:40]!r} is no time", hint="for example 30s, 1m30s"
        )
    if 0 < round(seconds * SECOND) < SHORTEST:
        raise UsageError(f"{flag} {text}: less than a millisecond")
    return round(seconds * SECOND)


def command(check: Document) -> list[str]:
    """The command line of a check.

    >>> command({"Test": ["CMD-SHELL", "curl -f localhost"]}), command({"Test": ["CMD", "true"]})
    (['/bin/sh', '-c', 'curl -f localhost'], ['true'])
    """
    kind, *words = check["Test"]
    return [*SHELL, *words[:1]] if kind == "CMD-SHELL" else words


# --- what follows from a result -------------------------------------------------------------------


def new() -> Document:
    """The health of a container that starts."""
    return {"status": STARTING, "failingStreak": 0, "log": []}


def after(health: Document, check: Document, result: Document, age: float) -> Document:
    """The health once there is one more ``result`` {start, end, exitCode, output}; ``age`` is how
    many seconds the container ran when the check began."""
    status, streak = health["status"], 0
    if result["exitCode"] == 0:
        status = HEALTHY
    elif status == STARTING and age < seconds(check, "StartPeriod"):
        streak = health["failingStreak"]
    else:
        streak = health["failingStreak"] + 1
        if streak >= _value(check, "Retries"):
            status = UNHEALTHY
    log = [*health["log"], result][-KEPT:]
    return {"status": status, "failingStreak": streak, "log": log}


def pause(check: Document, status: str, age: float) -> float:
    """Seconds until the next check."""
    starting = status == STARTING and age < seconds(check, "StartPeriod")
    return seconds(check, "StartInterval" if starting else "Interval")


def first(check: Document) -> float:
    """Seconds from the container's start to the first check."""
    return pause(check, STARTING, 0)


def _value(check: Document, key: str) -> int:
    return int(check.get(key) or DEFAULTS[key])


def seconds(check: Document, key: str) -> float:
    return _value(check, key) / SECOND
