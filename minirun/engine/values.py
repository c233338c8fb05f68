"""What the values of flags mean: pure functions from text to numbers and parts.

The grammar is Docker's, for people and scripts know it. Whatever does not fit raises UsageError.
"""

from __future__ import annotations

from minirun.errors import UsageError, printable

UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
LARGEST = (1 << 63) - 1
COUNTS = range(LARGEST)
ANY = range(-1, LARGEST)  # -1 for no limit
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


def integer(text: str, limits: range, flag: str) -> int:
    """A whole number of ``limits``."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise UsageError(f"{flag}: {_shown(text)} is not a whole number")
    number = int(text)
    if number not in limits:
        raise UsageError(f"{flag} {text}: between {limits[0]} and {limits[-1]}, please")
    return number


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


def numbers(text: str, flag: str) -> str:
    """A list of processors or memory nodes: ``0-3,7``. cpuset(7), List format"""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = integer(first, COUNTS, flag)
        if dash and integer(last, COUNTS, flag) < low:
            raise UsageError(f"{flag} {_shown(text)}: {part} goes backwards")
    return text


def ulimit(text: str) -> dict[str, object]:
    """An entry of process.rlimits (config.md, "POSIX process").

    >>> ulimit("nofile=1024:2048")
    {'type': 'RLIMIT_NOFILE', 'soft': 1024, 'hard': 2048}
    """
    name, equals, limits = text.partition("=")
    kind = name.upper().removeprefix("RLIMIT_")
    soft, colon, hard = limits.partition(":")
    if not equals or kind not in RLIMITS:
        raise UsageError(
            f"--ulimit {_shown(text)}: no such limit",
            hint="NAME=SOFT[:HARD]; the names: " + " ".join(RLIMITS).lower(),
        )
    low = _limit(soft, text)
    high = _limit(hard, text) if colon else low
    if low > high:
        raise UsageError(f"--ulimit {_shown(text)}: the soft limit is above the hard one")
    return {"type": f"RLIMIT_{kind}", "soft": low, "hard": high}


def _limit(text: str, whole: str) -> int:
    if text in ("-1", "unlimited"):
        return (1 << 64) - 1  # RLIM_INFINITY
    return integer(text, COUNTS, f"--ulimit {_shown(whole)}")


# getrlimit(2)
RLIMITS = (
    "AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING "
    "STACK"
).split()


def device(text: str) -> tuple[str, str, str]:
    """``--device HOST[:CONTAINER][:rwm]`` as path here, path there, and what is allowed.

    >>> device("/dev/fuse"), device("/dev/sda:/dev/disk:r")
    (('/dev/fuse', '/dev/fuse', 'rwm'), ('/dev/sda', '/dev/disk', 'r'))
    """
    host, *parts = text.split(":")
    access = parts.pop() if parts and _is_access(parts[-1]) else "rwm"
    place = parts.pop() if parts else host
    if parts or not (host.startswith("/") and place.startswith("/")) or "\0" in text:
        raise UsageError(
            f"--device {_shown(text)} is no device",
            hint="/dev/HOST[:/dev/CONTAINER][:rwm], or vendor.com/class=name",
        )
    return host, place, access


def _is_access(text: str) -> bool:
    """r: read, w: write, m: make its node. device-cgroup.rst"""
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def device_rule(text: str) -> dict[str, object]:
    """An entry of linux.resources.devices; ``*`` and -1 both stand for any number.

    >>> device_rule("c 42:* rmw")
    {'allow': True, 'type': 'c', 'major': 42, 'minor': -1, 'access': 'rmw'}
    """
    words = text.split(" ")
    kind, pair, access = words if len(words) == 3 else ("", "", "")
    major, _, minor = pair.partition(":")
    if kind not in ("a", "b", "c") or not _is_access(access):
        raise UsageError(f"--device-cgroup-rule {_shown(text)} is no rule", hint="'c 42:* rwm'")
    numbers = [
        -1 if n == "*" else integer(n, COUNTS, "--device-cgroup-rule") for n in (major, minor)
    ]
    return {"allow": True, "type": kind, "major": numbers[0], "minor": numbers[1], "access": access}


def pair(text: str, flag: str) -> tuple[str, str]:
    """NAME=VALUE, with both there.

    >>> pair("net.ipv4.ip_forward=1", "--sysctl")
    ('net.ipv4.ip_forward', '1')
    """
    name, equals, value = text.partition("=")
    if not (name and equals) or "\0" in text:
        raise UsageError(f"{flag} {_shown(text)} is no NAME=VALUE")
    return name, value


def _shown(text: str) -> str:
    return repr(printable(text)[:80])
