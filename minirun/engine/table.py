"""Columns, sizes and ages as ``docker ps`` and ``docker images`` print them."""

from __future__ import annotations

import time

from minirun.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 3  # blanks between two columns

AGES = (  # up to so many seconds: say it in this unit; go-units, HumanDuration
    (60, 1, "second"),
    (2 * 60, 60, "about a minute"),
    (60 * 60, 60, "minute"),
    (2 * 3600, 3600, "about an hour"),
    (48 * 3600, 3600, "hour"),
    (14 * 86400, 86400, "day"),
    (60 * 86400, 7 * 86400, "week"),
    (2 * 365 * 86400, 30 * 86400, "month"),
    (float("inf"), 365 * 86400, "year"),
)


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns under their headers, with no blanks at the ends of lines."""
    lines = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) + GAP for column in range(len(header))]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
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
    unit, name = next((u, n) for limit, u, n in AGES if seconds < limit)
    if name.startswith("about"):
        return name
    count = max(int(seconds // unit), 0)
    if name == "second" and count < 1:
        return "less than a second"
    return f"{count} {name}{'' if count == 1 else 's'}"


def timestamp(text: str) -> float | None:
    """Seconds since 1970 of a date as images carry it (RFC 3339); None for anything else."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def size(count: float) -> str:
    """Decimal units and three significant digits: ``63.1MB``. go-units, HumanSizeWithPrecision"""
    from minirun.image.progress import size_text

    return size_text(count)
