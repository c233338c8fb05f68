"""When to try again, and when to give up.

Registries and the ways to them have bad moments. A 429 or 5xx, a cut or a silent connection is a
Transient failure: it is followed by a wait that doubles each time, or is as long as the server asks
for, until the tries or the time are used up.
"""

import random
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import NamedTuple

from minirun.errors import RateLimited, RegistryError
from minirun.image.failures import LATER, Transient

TRY_AGAIN = (408, 429, 500, 502, 503, 504)


class Patience(NamedTuple):
    """How long to wait for a registry; all in seconds but ``tries``."""

    connect: float = 10
    stall: float = 30  # without progress
    tries: int = 5
    first_wait: float = 0.5  # before the second try; doubles with each further one
    longest_wait: float = 30  # when a server asks for more, that is an error
    in_all: float = 60  # from the first failure on


class Attempts:
    """Counts the failures in a row of one undertaking, and waits after each."""

    def __init__(self, patience: Patience, pause: Callable[[float], None]) -> None:
        self._patience = patience
        self._pause = pause
        self._failures = 0
        self._since = 0.0

    def failed(self, failure: Transient) -> None:
        """Wait until the next try is due; raises the failure's error when there will be none."""
        patience = self._patience
        if not self._failures:
            self._since = time.monotonic()
        self._failures += 1
        # Jitter keeps a thousand clients from coming back in the same instant.
        wait = patience.first_wait * 2 ** (self._failures - 1) * random.uniform(0.5, 1)
        if failure.after is not None:
            wait = max(wait, failure.after)
        left = patience.in_all - (time.monotonic() - self._since)
        if self._failures >= patience.tries or wait > min(patience.longest_wait, left):
            raise self._final(failure.error) from None
        self._pause(wait)

    def progressed(self) -> None:
        self._failures = 0

    def _final(self, error: RegistryError) -> RegistryError:
        if self._failures == 1:
            return error
        return type(error)(f"{error.message} ({self._failures} tries)", hint=error.hint)


def come_back_later(host: str, status: int, headers: Mapping[str, str]) -> Transient:
    """The failure that an answer of TRY_AGAIN is."""
    after = retry_after(headers.get("Retry-After", ""), time.time())
    wait = "" if after is None else f", asks to wait {after:.0f} s"
    if status != 429:
        text = f"{host}: answers {status} {responses[status]}{wait}"
        return Transient(RegistryError(text, hint=LATER), after)
    error = RateLimited(
        f"{host}: too many requests (429){_limit(headers)}{wait}",
        hint="wait, log in (accounts have higher limits), or set a mirror in registries.conf",
    )
    return Transient(error, after)


def _limit(headers: Mapping[str, str]) -> str:
    """Docker Hub's ``ratelimit-limit: 100;w=21600``: a hundred in 21600 seconds."""
    found = re.fullmatch(r"(\d{1,9});w=(\d{1,9})", headers.get("ratelimit-limit", ""), re.ASCII)
    if not found:
        return ""
    left = headers.get("ratelimit-remaining", "").partition(";")[0]
    used = f", {left[:9]} left" if left.isdecimal() else ""
    return f": its limit is {found[1]} in {int(found[2]) / 3600:g} hours{used}"


def retry_after(text: str, now: float) -> float | None:
    """Retry-After in seconds from ``now``: a number or a date (RFC 9110, section 10.2.3).

    >>> retry_after("120", 0), retry_after("Thu, 01 Jan 1970 00:01:00 GMT", 0), retry_after("x", 0)
    (120.0, 60.0, None)
    """
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
