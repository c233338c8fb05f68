"""``--explain``: each step as it is taken, with the system calls it made, and why.

The calls come from the observer of ``minirun.linux``: what is printed is what was called, in the
words of strace(1). With ``--explain=json`` there is one object a line on standard error:
{"step", "about", "calls", "why", "shell", "man"}. Loaded only when it is asked for.
"""

from __future__ import annotations

import fcntl
import os

from minirun import linux
from minirun.errors import printable
from minirun.runtime import document, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Which arguments are flags, and with which of linux.py's names they are told.
FLAGS: dict[str, dict[int, Any]] = {
    "mount": {3: "MS_"},
    "umount2": {1: "MNT_"},
    "unshare": {0: "CLONE_NEW"},
    "setns": {1: "CLONE_NEW"},
    "open_tree": {2: ("OPEN_TREE_CLONE", "OPEN_TREE_CLOEXEC", "AT_RECURSIVE", "AT_EMPTY_PATH")},
    "move_mount": {4: "MOVE_MOUNT_"},
    "mount_setattr": {2: ("AT_RECURSIVE", "AT_EMPTY_PATH")},
    "fsopen": {1: "FSOPEN_"},
    "fsmount": {1: "FSMOUNT_", 2: "MOUNT_ATTR_"},
    "close_range": {2: "CLOSE_RANGE_"},
}
NUMBERS: dict[str, dict[int, str]] = {
    "prctl": {0: "PR_"},
    "fsconfig": {1: "FSCONFIG_"},
    "seccomp": {0: "SECCOMP_SET_"},
}
# What the arrays mean that some calls point to: struct open_how, struct mount_attr.
STRUCTURES: dict[str, tuple[int, tuple[tuple[str, Any], ...]]] = {
    "openat2": (2, (("flags", ("O_PATH", "O_DIRECTORY", "O_NOFOLLOW", "O_RDWR", "O_CLOEXEC")),
                    ("mode", ()), ("resolve", "RESOLVE_"))),
    "mount_setattr": (3, (("set", "MOUNT_ATTR_"), ("clear", "MOUNT_ATTR_"),
                          ("propagation", "MS_"), ("userns_fd", ()))),
}  # fmt: skip
LONGEST = 60


class Explainer:
    """Writes to the standard error that we were started with, even when a step replaces it."""

    def __init__(self, *, as_json: bool) -> None:
        self.fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 10)
        self.as_json = as_json
        self.calls: list[str] = []
        self.step: Callable[..., Any] | None = None

    def tell(self, step: Callable[..., Any], take: Callable[[], None]) -> None:
        """Take one step, and tell of it when it is over, in success or failure."""
        self.calls, self.step = [], step
        linux.observe(self._hear)
        try:
            take()
        finally:
            self.finish()

    def finish(self) -> None:
        """Tell of the step now: before a call that does not return."""
        linux.observe(None)
        if self.step is None:
            return
        fields = step.fields(self.step)
        self.step = None
        if self.as_json:
            line = document.dumps({**fields, "calls": self.calls}) + "\n"
        else:
            line = _text(fields, self.calls)
        os.write(self.fd, line.encode())

    def _hear(self, name: str, arguments: tuple[Any, ...], result: object) -> None:
        self.calls.append(show(name, arguments, result))


def _text(fields: dict[str, str], calls: list[str]) -> str:
    lines = [f"● {fields['step']}: {fields['about']}"]
    lines += [f"    {call}" for call in calls]
    lines += [f"    {name + ':':7}{fields[name]}" for name in step.FIELDS if name in fields]
    return "\n".join(lines) + "\n\n"


def show(name: str, arguments: tuple[Any, ...], result: object) -> str:
    """One call as strace(1) writes it: mount(NULL, "/", NULL, MS_REC|MS_PRIVATE, NULL) = 0"""
    words = [_argument(name, index, value) for index, value in enumerate(arguments)]
    if isinstance(result, OSError):
        result = f"-1 ({os.strerror(result.errno or 0)})"
    return f"{name}({', '.join(words)}) = {0 if result is None else result}"


def _argument(name: str, index: int, value: Any) -> str:
    if name in STRUCTURES and STRUCTURES[name][0] == index:
        fields = zip(STRUCTURES[name][1], value, strict=True)
        return (
            "{"
            + ", ".join(f"{key}={_flags(number, names)}" for (key, names), number in fields)
            + "}"
        )
    if isinstance(value, int) and index in FLAGS.get(name, ()):
        return _flags(value, FLAGS[name][index])
    if isinstance(value, int) and index in NUMBERS.get(name, ()):
        return _number(value, NUMBERS[name][index])
    return _value(value)


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return "AT_FDCWD" if value == linux.AT_FDCWD else str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value[:8] if item != 0) + "]"
    if isinstance(value, bytes | str):
        return _string(os.fsencode(value).removesuffix(b"\0"))
    return "{…}"


def _string(value: bytes) -> str:
    if b"\0" in value:
        return f"{{{len(value)} bytes}}"
    text = printable(os.fsdecode(value))
    return f'"{text[:LONGEST]}{"…" if len(text) > LONGEST else ""}"'


def _names(wanted: Any) -> list[tuple[str, int]]:
    """(name, value) of linux.py's or os's constants, by prefix or by name."""
    if isinstance(wanted, str):
        return [(name, bit) for name, bit in vars(linux).items() if name.startswith(wanted)]
    return [(name, int(getattr(linux, name, 0) or getattr(os, name, 0))) for name in wanted]


def _flags(value: int, wanted: Any) -> str:
    found = []
    for name, bit in _names(wanted):
        if bit and value & bit == bit:
            found.append(name)
            value &= ~bit
    if value or not found:
        found.append(hex(value) if value > 9 else str(value))
    return "|".join(found)


def _number(value: int, prefix: str) -> str:
    return next((name for name, number in _names(prefix) if number == value), str(value))
