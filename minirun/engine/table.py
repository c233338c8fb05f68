"""Columns, sizes and ages as ``docker ps`` and ``docker images`` print them."""

from __future__ import annotations

import time

from minirun.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 3  # blanks between two columns
NARROWEST = 10  # characters of a column with its gap, unless it is the last

AGES = (  # up to so many seconds: say it in this unit; go-units, HumanDuration
    (60, 1, "second"),
    (2 * 60, 60, "About a minute"),
    (60 * 60, 60, "minute"),
    (2 * 3600, 3600, "About an hour"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (2 * 365 * 86400, 30 * 86400, "month"),
    (float("inf"), 365 * 86400, "year"),
)


def render(header: Sequence[str], rows: Sequence[Sequence[str]], narrowest: int = NARROWEST) -> str:
    """Left-aligned columns under their headers, with no blanks at the ends of lines."""
    lines = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [
        max(narrowest, GAP + max(len(line[column]) for line in lines if column < len(line)))
        for column in range(len(header))
    ]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def ago(moment: float | None, now: float | None = None) -> str:
    """How long since ``moment`` (seconds since 1970), in one rough unit.

    >>> ago(1000, 1000 + 130), ago(0, 30 * 86400)
    ('2 minutes ago', '4 weeks ago')
    """
    if moment is None:
        return "N/A"
    return f"{duration((time.time() if now is None else now) - moment)} ago"


def duration(seconds: float) -> str:
    """So long, in one rough unit. go-units, HumanDuration

    >>> [duration(seconds) for seconds in (0.5, 1, 90, 3599, 3600, 6000, 47 * 3600, 13 * 86400)]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['Less than a second', '1 second', 'About a minute', '59 minutes', 'About an hour', '2 hours',
     '47 hours', '13 days']
    """
    if seconds < 1:
        return "Less than a second"
    if seconds >= 3600:
        seconds += 1800  # hours are rounded, all else is cut off
    unit, name = next((u, n) for limit, u, n in AGES if seconds < limit)
    if name.startswith("About"):
        return name
    count = int(seconds // unit)
    return f"{count} {name}{'' if count == 1 else 's'}"


def timestamp(text: str) -> float | None:
    """Seconds since 1970 of a date as images carry it (RFC 3339); None for anything else."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def size(count: float, digits: int = 3) -> str:
    """Decimal units: ``63.1MB``. go-units, HumanSizeWithPrecision"""
    return _in_units(count, 1000, ("B", "kB", "MB", "GB", "TB", "PB"), digits)


def binary_size(count: float) -> str:
    """Binary units: ``7.629MiB``. go-units, BytesSize"""
    return _in_units(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 4)


def _in_units(count: float, base: int, units: Sequence[str], digits: int) -> str:
    """
    >>> size(999), size(63_100_000), size(1_048_576, 4), binary_size(8_000_000)
    ('999B', '63.1MB', '1.049MB', '7.629MiB')
    """
    power = 0
    while count >= base and power < len(units) - 1:
        count, power = count / base, power + 1
    return f"{count:.{digits}g}{units[power]}"
