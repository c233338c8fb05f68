"""Seccomp: which system calls a container may make (seccomp(2), linux.seccomp of a config.json).

``compile`` is pure: it turns the names and conditions of a config.json, which schema.py has checked
against the tables here, into decisions about numbers, for each architecture whose calls this kernel
takes, and bpf.py makes a program of them. Each of those must be in the filter: a 64-bit process may
call the kernel by 32-bit numbers too, and what a filter does not know is killed.

When the filter is installed, and with which capability, is in powers.py.

Interface: compile, flags.
"""

from __future__ import annotations

import sys

from minirun import linux
from minirun.errors import SpecError
from minirun.runtime import bpf
from minirun.runtime.spec import notifies
from minirun.runtime.syscalls import ARCHITECTURES, IPC, SOCKETCALL, Architecture, native, numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.runtime.bpf import Comparison, Conditions, Span

    # names of system calls; alternatives, one of which must hold; action
    Rule = tuple[list[str], list[Conditions], int]

# What a filter returns (linux/seccomp.h); in the low 16 bits, some carry an errno.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
KILL, NOTIFY = ACTIONS["SCMP_ACT_KILL"], ACTIONS["SCMP_ACT_NOTIFY"]
WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
EPERM, ENOSYS = 1, 38
TELLING = ("sendmsg", "sendto", "write")  # what the trampoline calls when the filter holds already
NO_SUCH_CALL = ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS

FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # "all threads at once": there is one when we install
    "SECCOMP_FILTER_FLAG_LOG": linux.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": linux.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": linux.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}

X86_64, X32 = "SCMP_ARCH_X86_64", "SCMP_ARCH_X32"
NO_CALL = 0xFFFFFFFF  # the number a tracer sets so that no call is made at all
ARM_PRIVATE = 0xF0000  # from here on arm counts its own calls, far above the common ones


def compile(seccomp: dict[str, Any], machine: str, byteorder: str = sys.byteorder) -> bytes:
    """The filter for ``linux.seccomp``, an array of struct sock_filter for ``machine``'s kernel."""
    own = native(machine, byteorder)
    if own is None:
        raise SpecError(f"linux.seccomp: no table of system calls for the machine {machine!r}")
    default = _action(seccomp, "defaultAction", "defaultErrnoRet")
    if default == NOTIFY:
        raise SpecError("linux.seccomp.defaultAction: NOTIFY would stop the runtime itself")
    rules = [_rule(rule, default) for rule in seccomp.get("syscalls") or ()]
    beyond = default if seccomp["defaultAction"] in PERMISSIVE else NO_SUCH_CALL

    kernels: dict[int, list[Span]] = {}
    for name in dict.fromkeys([own, *(seccomp.get("architectures") or ())]):
        spans = _spans(ARCHITECTURES[name], rules, default, beyond)
        kernels.setdefault(ARCHITECTURES[name].audit, []).extend(spans)
    # x32 enters by the door of x86_64, with a bit in the number: unless asked for, it is another
    # architecture, which is killed as all others are
    x86_64 = kernels.get(ARCHITECTURES[X86_64].audit)
    if x86_64 and X32 not in (seccomp.get("architectures") or ()):
        x86_64 += [(ARCHITECTURES[X32].base, KILL), (NO_CALL, default)]
    return _program(kernels, byteorder == "big")


def _program(kernels: dict[int, list[Span]], big_endian: bool) -> bytes:
    """First the architecture is looked at, then the number; an unknown architecture is killed."""
    program: list[bpf.Instruction] = [(bpf.RETURN, 0, 0, KILL)]
    for audit, spans in reversed(kernels.items()):
        search = bpf.search(bpf.merge(sorted(spans, key=lambda span: span[0])), big_endian)
        block = [(bpf.LOAD, 0, 0, bpf.NUMBER), *search]
        program = bpf.branch(bpf.JUMP_EQUAL, audit, block, program)
    program.insert(0, (bpf.LOAD, 0, 0, bpf.ARCHITECTURE))
    if len(program) > bpf.MAX_INSTRUCTIONS:
        raise SpecError(f"linux.seccomp: {len(program)} instructions, and the kernel takes 4096")
    return bpf.assemble(program, big_endian)


def _action(values: dict[str, Any], action: str, errno: str) -> int:
    """What the filter returns for the action and errno in these two fields."""
    name, number = values[action], values.get(errno)
    if name not in WITH_ERRNO:
        if number is not None:
            raise SpecError(f"linux.seccomp: {name} has no errno to return ({errno} is {number})")
        return ACTIONS[name]
    return ACTIONS[name] | (EPERM if number is None else number)


def _rule(rule: dict[str, Any], default: int) -> Rule:
    action = _action(rule, "action", "errnoRet")
    names = rule["names"]
    for name in TELLING if action == NOTIFY else ():
        if name in names:
            raise SpecError(f"linux.seccomp: {name} cannot be notified: it is how we tell of it")
    comparisons = [_comparison(argument) for argument in rule.get("args") or ()]
    if action == default:
        return names, [], action  # says nothing; where rules disagree, it must not count
    if len({comparison[0] for comparison in comparisons}) < len(comparisons):
        # two conditions on one argument are alternatives: profiles are written for runc and
        # libseccomp, which take them so
        return names, [(comparison,) for comparison in comparisons], action
    return names, [tuple(comparisons)], action


def _comparison(argument: dict[str, Any]) -> Comparison:
    return argument["index"], argument["op"], argument["value"], argument.get("valueTwo") or 0


def _spans(architecture: Architecture, rules: list[Rule], default: int, beyond: int) -> list[Span]:
    """What is decided about each number of one architecture.

    Calls newer than all that the rules name get ENOSYS where the default is to refuse: their
    author cannot have meant them, and programs then fall back on the older call, while EPERM
    would end them.
    """
    table = numbers(architecture)
    wide = architecture.wide
    decisions: dict[int, Any] = {}
    last = architecture.base - 1
    for names, alternatives, action in rules:
        for name in names:
            for number, conditions in _ways(name, alternatives, table):
                _decide(decisions, number, [(each, action, wide) for each in conditions])
                if number < architecture.base + ARM_PRIVATE:
                    last = max(last, number)
    for number, decision in decisions.items():
        if not isinstance(decision, int):
            decisions[number] = (*decision, ((), default, wide)) if decision else default
    if last < architecture.base:
        beyond = default
    elif architecture.table.startswith("s390"):
        decisions[0] = beyond  # the kernel takes a number that it does not know for 0 there
    return bpf.spans(decisions, architecture.base, last, default, beyond)


def _ways(
    name: str, alternatives: list[Conditions], table: dict[str, int]
) -> Iterator[tuple[int, list[Conditions]]]:
    """The numbers by which a call can be made, each with the conditions to look at there."""
    if name in table:
        yield table[name], alternatives
    for multiplexer, calls, mask in (("socketcall", SOCKETCALL, 0xFFFFFFFF), ("ipc", IPC, 0xFFFF)):
        if name in calls and multiplexer in table and alternatives:
            # the call's own arguments are in memory, out of a filter's sight
            yield table[multiplexer], [((0, "SCMP_CMP_MASKED_EQ", mask, calls[name]),)]


def _decide(decisions: dict[int, Any], number: int, rules: list[bpf.Rule]) -> None:
    """Add rules for a number: one without conditions replaces those that have some, and stays."""
    known = decisions.setdefault(number, [])
    if isinstance(known, int):
        return
    for conditions, action, wide in rules:
        if not conditions:
            decisions[number] = action
            return
        known.append((conditions, action, wide))


def flags(seccomp: dict[str, Any]) -> int:
    """The SECCOMP_FILTER_FLAG_* for seccomp(2); any rule that notifies needs a listener."""
    bits = 0
    for flag in seccomp.get("flags") or ():
        bits |= FLAGS[flag]
    if notifies(seccomp):
        return bits | linux.SECCOMP_FILTER_FLAG_NEW_LISTENER
    return bits & ~linux.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV  # which is about notices only
