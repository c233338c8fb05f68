"""Times as people write them: durations as in Go (``1h30m``), and points in time.

table.py has the other direction: ages, as people read them.
"""

from __future__ import annotations

import re
import time

from minirun.errors import UsageError, printable

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"


def interval(text: str) -> float | None:
    """Seconds of a duration; None if it is none.

    >>> interval("1h30m"), interval("1.5s"), interval("300ms"), interval("7")
    (5400.0, 1.5, 0.3, None)
    """
    if not re.fullmatch(f"(?:{PART})+", text, re.ASCII):
        return None
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(PART, text))


def moment(text: str, now: float | None = None) -> float:
    """Seconds since 1970: of a date (RFC 3339; without a zone, of this machine's), of so many
    seconds since 1970, or of so long ago. Raises UsageError.

    >>> moment("1h30m", 10000), moment("1700000000.5"), moment("1970-01-02T00:00:00.123456789Z")
    (4600.0, 1700000000.5, 86400.123456)
    """
    from datetime import datetime

    if (seconds := interval(text)) is not None:
        return (time.time() if now is None else now) - seconds
    if re.fullmatch(r"\d{1,12}(\.\d*)?", text, re.ASCII):
        return float(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        hint = "10m, 1h30m, 2024-05-01, 2024-05-01T12:00:00Z, or seconds since 1970"
        raise UsageError(f"{printable(text)[:80]!r} is no point in time", hint=hint) from None


def precise(nanoseconds: int) -> str:
    """A point in time to the nanosecond, in the zone of this machine. RFC 3339

    >>> precise(1700000000012345678)[19:29]
    '.012345678'
    """
    seconds, fraction = divmod(nanoseconds, 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    zone = f"{zone[:3]}:{zone[3:]}" if local.tm_gmtoff else "Z"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{fraction:09}{zone}"
