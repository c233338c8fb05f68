"""``--explain``: what a step is, why it is taken, and the system calls it made.

A step is a function, and its docstring is data: a sentence, then fields that may run over several
lines. That one text serves who reads the code, ``--explain``, and the errors::

    def make_private(setup):
        \"""Make every mount private.

        why:    systemd shares "/", so what we mount would show up on the host
        shell:  mount --make-rprivate /
        man:    mount_namespaces(7)
        \"""

The calls are those that ``minirun.linux`` told its observer, in the words of strace(1). The runtime
and the front end both print in this form, each its own steps. Loaded only when it is asked for.

Interface: fields, text, show.
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

FIELDS = ("why", "shell", "man")

# Which arguments are flags, and with which of linux.py's names they are told.
FLAGS: dict[str, dict[int, Any]] = {
    "mount": {3: "MS_"},
    "umount2": {1: "MNT_"},
    "unshare": {0: "CLONE_NEW"},
    "clone": {0: ("CLONE_PARENT",)},
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


def fields(step: Callable[..., Any]) -> dict[str, str]:
    """A step's name and docstring: {"step", "about", "why", "shell", "man"}, "" for none."""
    story = {"step": step.__name__, **dict.fromkeys(("about", *FIELDS), "")}
    field = "about"
    for line in map(str.strip, (step.__doc__ or "").strip().splitlines()):
        name, colon, rest = line.partition(":")
        if colon and name in FIELDS:
            field, story[name] = name, rest.strip()
        else:
            story[field] = f"{story[field]} {line}".strip()
    return story


def text(story: dict[str, str], calls: Sequence[str]) -> str:
    """The step for people, on a few lines."""
    lines = [f"● {story['step']}: {story['about']}"]
    lines += [f"    {printable(call)}" for call in calls]
    lines += [f"    {name + ':':7}{story[name]}" for name in FIELDS if story[name]]
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
