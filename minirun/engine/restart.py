"""Restart policies: whether a container that has ended is started again, and when.

    no                      never
    on-failure[:MOST]       when its exit code is not 0, at most so many times
    always                  when it ends by itself; with the machine too (minirun system start)
    unless-stopped          the same, but a container that was stopped stays so over a restart

What somebody has stopped (stop, kill, rm) is never started again by itself.
"""

from __future__ import annotations

from minirun.errors import UsageError, printable

POLICIES = ("no", "on-failure", "always", "unless-stopped")
FIRST, LONGEST = 0.1, 60.0  # seconds to wait before it is started again: doubled each time
LONG_ENOUGH = 10.0  # seconds of running after which all that is forgotten


def parse(text: str) -> tuple[str, int]:
    """The policy, and how many times at most; 0 for any number.

    >>> parse("on-failure:3"), parse("always"), parse("")
    (('on-failure', 3), ('always', 0), ('no', 0))
    """
    name, colon, most = (text or "no").partition(":")
    if name not in POLICIES:
        raise UsageError(
            f"--restart {printable(text)[:80]}: unknown policy",
            hint="no, always, unless-stopped, on-failure, on-failure:5",
        )
    if not colon:
        return name, 0
    if name != "on-failure" or not (most.isascii() and most.isdigit()) or len(most) > 9:
        raise UsageError(
            f"--restart {printable(text)[:80]}: only on-failure has a number", hint="on-failure:5"
        )
    return name, int(most)


def is_wanted(policy: str, code: int, restarts: int) -> bool:
    """Whether a container that ended by itself with ``code`` is to be started again, after it was
    ``restarts`` times."""
    name, most = parse(policy)
    if name == "on-failure":
        return code != 0 and (most == 0 or restarts < most)
    return name != "no"


def pause(before: float, ran: float) -> float:
    """Seconds to wait, when it was ``before`` the last time (0: never) and it ``ran`` so long.

    >>> pause(0, 1), pause(0.1, 1), pause(50, 1), pause(50, 11)
    (0.1, 0.2, 60.0, 0.1)
    """
    return FIRST if not before or ran >= LONG_ENOUGH else min(before * 2, LONGEST)


def is_wanted_after_boot(policy: str, *, stopped: bool) -> bool:
    """Whether a container that ended with the machine, or before, is started with it again;
    ``stopped``: somebody had stopped it."""
    name, _ = parse(policy)
    return name == "always" or (name == "unless-stopped" and not stopped)
