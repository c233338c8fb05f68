"""What the values of flags mean: pure functions from text to numbers and parts.

The grammar is Docker's, for people and scripts know it. Whatever does not fit raises UsageError.
"""

from __future__ import annotations

from minirun.errors import UsageError, printable

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
LARGEST = (1 << 63) - 1
LABEL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def size(text: str) -> int:
    """A number of bytes; the units are powers of 1024.

    >>> size("512m"), size("1g"), size("1.5kb"), size("64MiB")
    (536870912, 1073741824, 1536, 67108864)
    """
    number = text.rstrip("bBkKmMgGtTpPiI ")
    unit = text[len(number) :].strip().lower()
    short = unit.removesuffix("ib") or "?" if unit.endswith("ib") else unit.removesuffix("b")
    value = _decimal(number)
    if value is None or (short if unit != "b" else "b") not in UNITS:
        raise UsageError(f"{_shown(text)} is not a size", hint="for example 64m, 512k, 1.5g")
    result = int(value * UNITS[short])
    if result > LARGEST:
        raise UsageError(f"{_shown(text)}: no machine has that much")
    return result


def cpus(text: str) -> float:
    """A number of processors, such as 0.5; 0 for no limit."""
    value = _decimal(text)
    if value is None or value > 1 << 16:
        raise UsageError(f"{_shown(text)} is not a number of CPUs", hint="for example 0.5, 2")
    return value


def count(text: str) -> int:
    """A whole number; -1 for no limit."""
    if text == "-1":
        return -1
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise UsageError(f"{_shown(text)} is not a whole number")
    return int(text)


def _decimal(text: str) -> float | None:
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        return None
    return float(text)


def hostname(text: str) -> str:
    """A name for the machine: labels of letters, digits and hyphens. hostname(7)"""
    labels = text.split(".")
    fit = all(label and LABEL.issuperset(label) and label[0] != "-" for label in labels)
    if not fit or len(text) > 64:
        raise UsageError(
            f"{_shown(text)} is not a hostname",
            hint="letters, digits, '-' and '.', at most 64 of them",
        )
    return text


PROPAGATION = {"shared", "slave", "private", "rshared", "rslave", "rprivate"}
# Without effect here: hints for Docker Desktop, and SELinux labels where there is no SELinux.
IGNORED = {"rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", "rbind"}


def volume(text: str) -> tuple[str, str, list[str]]:
    """``-v SOURCE:DESTINATION[:OPTIONS]`` as source, destination and mount options.

    >>> volume("/srv/www:/www:ro")
    ('/srv/www', '/www', ['rbind', 'rprivate', 'ro'])
    """
    source, _, rest = text.partition(":")
    destination, _, words = rest.partition(":")
    if not destination and source.startswith("/"):
        raise UsageError(f"-v {text}: anonymous volumes are not there yet", hint=VOLUME_HINT)
    if not source.startswith(("/", ".", "~")):
        raise UsageError(f"-v {text}: named volumes are not there yet", hint=VOLUME_HINT)
    if not destination.startswith("/") or "\0" in text:
        raise UsageError(f"-v {_shown(text)}: the place in the container must begin with '/'")
    options = ["rbind"]
    asked = [word for word in words.split(",") if word]
    unknown = [word for word in asked if word not in PROPAGATION | IGNORED | {"ro"}]
    if unknown or len(PROPAGATION.intersection(asked)) > 1 or {"ro", "rw"}.issubset(asked):
        raise UsageError(f"-v {_shown(text)}: these options make no sense", hint=VOLUME_HINT)
    options += PROPAGATION.intersection(asked) or ["rprivate"]
    return source, destination, options + (["ro"] if "ro" in asked else [])


VOLUME_HINT = "-v /DIRECTORY/OF/THE/HOST:/PLACE/IN/THE/CONTAINER[:ro]"


def _shown(text: str) -> str:
    return repr(printable(text)[:80])
