"""Points in time as Docker's documents have them."""

from __future__ import annotations

NEVER = "0001-01-01T00:00:00Z"


def moment(seconds: float | None) -> str:
    """RFC 3339, in UTC; the first moment of Go's calendar for what has not happened.

    >>> moment(1700000000.25), moment(None)
    ('2023-11-14T22:13:20.250000Z', '0001-01-01T00:00:00Z')
    """
    from datetime import UTC, datetime

    if not seconds:
        return NEVER
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
