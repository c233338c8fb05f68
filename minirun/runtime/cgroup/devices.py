"""Which devices a container may use: v1's list of exceptions, v2's small program in the kernel.

A rule of ``linux.resources.devices`` allows or denies kinds of access (r: read, w: write, m: mknod)
to the devices of a type and number, -1 or nothing being any. Before the first rule all is allowed,
and for each kind of access the last rule that speaks of the device decides:

    {"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, …}

v1 keeps "all but …" or "none but …" (admin-guide/cgroup-v1/devices.rst of the kernel); v2 asks an
eBPF program attached to the cgroup (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE).
"""

from __future__ import annotations

import ctypes
import os
from struct import pack, unpack_from

from minirun import linux
from minirun.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Rule = tuple[bool, str, int, int, str]  # allow, type ("a" is both), major, minor, access

ANY = -1

# What every container has in its /dev (runtime-spec, config-linux.md, "Default Devices"), and the
# making of any node: a node that cannot be opened does no harm, and archives hold them.
DEFAULTS: tuple[Rule, ...] = (
    (True, "c", ANY, ANY, "m"),
    (True, "b", ANY, ANY, "m"),
    (True, "c", 1, 3, "rwm"),  # null
    (True, "c", 1, 5, "rwm"),  # zero
    (True, "c", 1, 7, "rwm"),  # full
    (True, "c", 1, 8, "rwm"),  # random
    (True, "c", 1, 9, "rwm"),  # urandom
    (True, "c", 5, 0, "rwm"),  # tty
    (True, "c", 5, 1, "rwm"),  # console
    (True, "c", 5, 2, "rwm"),  # ptmx
    (True, "c", 136, ANY, "rwm"),  # pts/*
)


def rules(devices: list[dict[str, Any]]) -> list[Rule]:
    """The rules of a config.json, with the defaults right after the last "deny all".

    There, so that a config.json may still deny one of the defaults by name.
    """
    parsed = [_rule(device) for device in devices]
    start = max((i + 1 for i, rule in enumerate(parsed) if _is_for_all(rule)), default=0)
    if start and not parsed[start - 1][0]:
        parsed[start:start] = DEFAULTS
    return parsed


def _rule(device: dict[str, Any]) -> Rule:
    kind, access = device.get("type") or "a", device.get("access") or "rwm"
    major, minor = (ANY if (n := device.get(key)) is None else n for key in ("major", "minor"))
    if kind not in ("a", "b", "c") or not set(access) <= set("rwm"):
        raise SpecError(f"linux.resources.devices: no such type or access: {kind!r}, {access!r}")
    if kind == "a" and (major, minor) != (ANY, ANY):
        raise SpecError("linux.resources.devices: a major or minor number needs the type b or c")
    return bool(device.get("allow")), kind, major, minor, access


def _is_for_all(rule: Rule) -> bool:
    _, kind, _, _, access = rule
    return kind == "a" and set(access) == set("rwm")


def v1_settings(devices: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What to write to which file of v1: (file, value).

    v1 has a default and exceptions from it, and no exceptions from exceptions; what would need
    them is refused, since v1 itself would let the device through without a word. Only that a node
    can be made (m) is let be: Docker denies c 10:229 after all, and no node of it can be opened.
    """
    writes: list[tuple[str, str]] = []
    default = True
    exceptions: dict[tuple[str, int, int], set[str]] = {}
    for rule in rules(devices):
        allow, kind, major, minor, access = rule
        if _is_for_all(rule):
            default, exceptions = allow, {}
            writes = [("devices.allow" if allow else "devices.deny", "a")]
            continue
        harmless = set() if default else {"m"}
        for each in ("b", "c") if kind == "a" else (kind,):
            key = each, major, minor
            if allow != default:
                exceptions.setdefault(key, set()).update(access)
                continue
            for other, kinds in exceptions.items():
                if _covers(key, other):
                    kinds -= set(access)
                elif _overlap(other, key) and kinds & set(access) - harmless:
                    raise SpecError(
                        f"linux.resources.devices: cgroup v1 cannot make {each} {major}:{minor} "
                        f"differ from the rest of {other[1]}:{other[2]}"
                    )
    file = "devices.deny" if default else "devices.allow"
    defaults = [rule[1:4] for rule in DEFAULTS]
    for key in sorted(exceptions, key=defaults.__contains__):  # the caller's first, in their order
        (kind, major, minor), kinds = key, exceptions[key]
        if kinds:
            letters = "".join(letter for letter in "rwm" if letter in kinds)
            writes.append((file, f"{kind} {_number(major)}:{_number(minor)} {letters}"))
    return writes


def v1_changes(listed: str, settings: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same settings, for a cgroup whose devices.list says ``listed`` already.

    From one list of what is allowed to another it goes rule by rule: with "deny all" in between, a
    process could be denied its /dev/null for a moment.
    """
    now = dict.fromkeys(listed.splitlines())
    if not settings or settings[0] != ("devices.deny", "a") or "a *:* rwm" in now:
        return settings
    wanted = dict.fromkeys(value for _, value in settings[1:])
    deny = [("devices.deny", value) for value in now if value not in wanted]
    return deny + [("devices.allow", value) for value in wanted if value not in now]


def _covers(wide: tuple[str, int, int], narrow: tuple[str, int, int]) -> bool:
    return wide[0] == narrow[0] and all(
        w in (ANY, n) for w, n in zip(wide[1:], narrow[1:], strict=True)
    )


def _overlap(one: tuple[str, int, int], two: tuple[str, int, int]) -> bool:
    return one[0] == two[0] and all(
        a == b or ANY in (a, b) for a, b in zip(one[1:], two[1:], strict=True)
    )


def _number(number: int) -> str:
    return "*" if number == ANY else str(number)


# linux/bpf.h. An instruction is: code, registers (source << 4 | destination), offset, immediate.
_LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOVE_REGISTER, _MOVE, _AND, _SHIFT_RIGHT = 0xBC, 0xB4, 0x54, 0x74  # BPF_ALU: the low 32 bits
_JUMP_EQUAL, _JUMP_NOT_EQUAL, _JUMP_SET, _EXIT = 0x15, 0x55, 0x45, 0x95
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*


def v2_program(devices: list[dict[str, Any]]) -> bytes:
    """The eBPF program that answers 1 (allowed) or 0 for one use of a device.

    Registers: r1 points to struct bpf_cgroup_dev_ctx; r2 is the type, r3 the access that no rule
    has decided on so far, r4 the major and r5 the minor number. Rules are asked last to first:
    one that allows takes its bits off r3, one that denies ends with 0 if r3 has one of its bits.
    """
    program = [
        _instruction(_LOAD_WORD, 2 | 1 << 4, 0),
        _instruction(_MOVE_REGISTER, 3 | 2 << 4),
        _instruction(_AND, 2, 0, 0xFFFF),
        _instruction(_SHIFT_RIGHT, 3, 0, 16),
        _instruction(_LOAD_WORD, 4 | 1 << 4, 4),
        _instruction(_LOAD_WORD, 5 | 1 << 4, 8),
    ]
    for rule in reversed(rules(devices)):
        program += _decision(rule)
        if _is_for_all(rule):
            return b"".join(program)  # earlier rules can decide nothing more, nor can be verified
    return b"".join([*program, _instruction(_MOVE, 0, 0, 1), _instruction(_EXIT, 0)])


def _decision(rule: Rule) -> list[bytes]:
    allow, kind, major, minor, access = rule
    if _is_for_all(rule):
        return [_instruction(_MOVE, 0, 0, int(allow)), _instruction(_EXIT, 0)]
    bits = sum(_ACCESS[letter] for letter in set(access))
    if allow:
        body = [
            _instruction(_AND, 3, 0, 7 & ~bits),
            _instruction(_JUMP_NOT_EQUAL, 3, 2, 0),
            _instruction(_MOVE, 0, 0, 1),
            _instruction(_EXIT, 0),
        ]
    else:
        body = [
            _instruction(_JUMP_SET, 3, 1, bits),
            _instruction(0x05, 0, 2),  # BPF_JA
            _instruction(_MOVE, 0, 0, 0),
            _instruction(_EXIT, 0),
        ]
    wanted = ((2, _TYPES.get(kind, ANY)), (4, major), (5, minor))
    for register, value in reversed(wanted):
        if value != ANY:
            body.insert(0, _instruction(_JUMP_NOT_EQUAL, register, len(body), value))
    return body


def _instruction(code: int, registers: int, offset: int = 0, immediate: int = 0) -> bytes:
    return pack("=BBhI", code, registers, offset, immediate & 0xFFFFFFFF)


_PROG_LOAD, _PROG_ATTACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 13, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI, _REPLACE = 15, 6, 2, 4


def attach(directory: str, program: bytes) -> None:
    """Make ``program`` decide for the v2 cgroup at ``directory``, together with those above it.

    If one has been attached there before, this takes its place, and at no moment is there none.
    """
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fds = [cgroup]
    try:
        texts = ctypes.addressof(code), ctypes.addressof(licence)
        length = len(program) // 8
        fds.append(_bpf(_PROG_LOAD, "=IIQQ", _TYPE_CGROUP_DEVICE, length, *texts))
        flags = _ALLOW_MULTI
        for old in _attached(cgroup)[-1:]:
            fds.append(_bpf(_PROG_GET_FD_BY_ID, "=I", old))
            flags |= _REPLACE
        _bpf(_PROG_ATTACH, "=IIIII", cgroup, fds[1], _ATTACH_CGROUP_DEVICE, flags, fds[-1])
    finally:
        for fd in fds:
            os.close(fd)


def _attached(cgroup: int) -> list[int]:
    """The ids of the programs that decide on devices for this very cgroup."""
    ids = (ctypes.c_uint32 * 64)()
    query = ctypes.create_string_buffer(
        pack("=IIIIQI", cgroup, _ATTACH_CGROUP_DEVICE, 0, 0, ctypes.addressof(ids), len(ids)), 128
    )
    linux.bpf(_PROG_QUERY, query)
    (count,) = unpack_from("=I", query, 24)
    return list(ids[:count])


def _bpf(command: int, layout: str, *attributes: int) -> int:
    return linux.bpf(command, ctypes.create_string_buffer(pack(layout, *attributes), 128))
