"""Signals by name, as in signal(7). (Python's own module costs 3 ms: it makes enums of them.)"""

from __future__ import annotations

from minirun.errors import UsageError, printable

# fmt: off
NAMES = (
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
    "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
)
# fmt: on
NUMBERS = {name: number for number, name in enumerate(NAMES, 1)} | {"IOT": 6, "CLD": 17, "POLL": 29}
FIRST, RTMIN, RTMAX = 1, 34, 64
INT, KILL, PIPE, CHLD, STOP, XFSZ, WINCH = (
    NUMBERS[name] for name in ("INT", "KILL", "PIPE", "CHLD", "STOP", "XFSZ", "WINCH")
)
RESERVED = (32, 33)  # the C library's own


def number(text: str) -> int:
    """The number of "TERM", "SIGTERM", "15", "RTMIN+3" or "RTMAX-1"; 0 is none: see kill(2)."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdecimal() and int(name) <= RTMAX:
        return int(name)
    if name in NUMBERS:
        return NUMBERS[name]
    for base, start, sign in (("RTMIN", RTMIN, "+"), ("RTMAX", RTMAX, "-")):
        if name == base:
            return start
        offset = name.removeprefix(base + sign)
        if (
            offset != name
            and offset.isascii()
            and offset.isdecimal()
            and int(offset) <= RTMAX - RTMIN
        ):
            return start + int(sign + offset)
    raise UsageError(f"unknown signal {printable(text)}", hint="such as TERM, SIGKILL or 9")
