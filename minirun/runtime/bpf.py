"""Classic BPF, the little machine that seccomp(2) runs for each system call: decisions → program.

The machine has one accumulator, jumps forward only, and ends with a number that says what becomes
of the call (linux/filter.h, linux/seccomp.h). It may read ``struct seccomp_data``: the number, the
architecture, and six arguments of 64 bits, of which an instruction loads one half at a time.

What shall be decided about the calls of one architecture is given as spans:

    [(0, ALLOW), (9, DENY), (10, ALLOW), …]     0 to 8 are allowed, 9 is denied, …

and ``search`` finds the span of a number by halving, in eight comparisons for all of x86_64 where
a list of tests would need hundreds. A decision is either a return value, or rules that also look
at the arguments (``Rules``).
"""

from __future__ import annotations

from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
    Comparison = tuple[int, str, int, int]  # argument, operator, value, valueTwo
    Conditions = tuple[Comparison, ...]  # all must hold
    Rule = tuple[Conditions, int, bool]  # if they hold, this is returned; arguments of 64 bits?
    Rules = tuple[Rule, ...]  # the first that holds decides; the last has no conditions
    Decision = int | Rules
    Span = tuple[int, Decision]

LOAD, AND, RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL = 0x05, 0x15, 0x25, 0x35

NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

# Each operator is one of three jumps, taken as it is or the other way round.
OPERATORS = {
    "SCMP_CMP_EQ": (JUMP_EQUAL, True),
    "SCMP_CMP_NE": (JUMP_EQUAL, False),
    "SCMP_CMP_GT": (JUMP_GREATER, True),
    "SCMP_CMP_LE": (JUMP_GREATER, False),
    "SCMP_CMP_GE": (JUMP_GREATER_EQUAL, True),
    "SCMP_CMP_LT": (JUMP_GREATER_EQUAL, False),
    "SCMP_CMP_MASKED_EQ": (JUMP_EQUAL, True),
}


def spans(
    decisions: dict[int, Decision], first: int, last: int, otherwise: int, beyond: int
) -> list[Span]:
    """Neighbours with the same decision as one span, and what is said of numbers between them.

    Numbers without a decision get ``otherwise`` up to ``last``, and ``beyond`` after it.
    """
    found: list[Span] = [(first, otherwise)]
    following = first
    for number in sorted(decisions):
        if number > following:
            found.append((following, otherwise))
            if number > last + 1:
                found.append((max(following, last + 1), beyond))
        found.append((number, decisions[number]))
        following = number + 1
    found.append((following, otherwise))
    found.append((max(following, last + 1), beyond))
    return merge(found)


def merge(found: Iterable[Span]) -> list[Span]:
    """Without spans that are empty or go on with what the one before has said."""
    merged: list[Span] = []
    for start, decision in found:
        if merged and merged[-1][0] == start:
            merged.pop()
        if not merged or merged[-1][1] != decision:
            merged.append((start, decision))
    return merged


def search(found: Sequence[Span], big_endian: bool) -> list[Instruction]:
    """Find the decision about the number in the accumulator."""
    if len(found) == 1:
        return _decide(found[0][1], big_endian)
    middle = len(found) // 2
    lower = search(found[:middle], big_endian)
    upper = search(found[middle:], big_endian)
    return branch(JUMP_GREATER_EQUAL, found[middle][0], upper, lower)


def branch(
    code: int, operand: int, then: list[Instruction], otherwise: list[Instruction]
) -> list[Instruction]:
    """``if (A code operand) then…, else otherwise…``, both of which end with a return."""
    if len(otherwise) < 256:
        return [(code, len(otherwise), 0, operand), *otherwise, *then]
    # a conditional jump has room for eight bits only
    return [(code, 0, 1, operand), (JUMP, 0, 0, len(otherwise)), *otherwise, *then]


def _decide(decision: Decision, big_endian: bool) -> list[Instruction]:
    if isinstance(decision, int):
        return [(RETURN, 0, 0, decision)]
    code = []
    for rule in decision:
        code += _rule(rule, big_endian)
    return code


# Where a test goes on: with its next instruction, after it, or after the rule that it is a part of.
_NEXT, _HOLDS, _FAILS = range(3)


def _rule(rule: Rule, big_endian: bool) -> list[Instruction]:
    conditions, value, wide = rule
    code: list[Instruction] = [(RETURN, 0, 0, value)]
    for comparison in reversed(conditions):
        test = _test(comparison, wide, big_endian)
        resolved = []
        for position, (operation, on_true, on_false, operand) in enumerate(test, start=1):
            rest = len(test) - position
            jumps = (0, rest, rest + len(code))
            resolved.append((operation, jumps[on_true], jumps[on_false], operand))
        code = resolved + code
    return code


def _test(comparison: Comparison, wide: bool, big_endian: bool) -> list[Instruction]:
    """One comparison of an argument, by halves, with _NEXT, _HOLDS and _FAILS as jumps."""
    index, operator, value, value_two = comparison
    jump, direct = OPERATORS[operator]
    yes, no = (_HOLDS, _FAILS) if direct else (_FAILS, _HOLDS)
    mask = 2**64 - 1
    if operator == "SCMP_CMP_MASKED_EQ":
        mask, value = value, value_two
    low = ARGUMENTS + 8 * index + (4 if big_endian else 0)
    high = low ^ 4
    test = []
    if wide:
        test += _load(high, mask >> 32)
        if jump != JUMP_EQUAL:
            test.append((JUMP_GREATER, yes, _NEXT, value >> 32))
        test.append((JUMP_EQUAL, _NEXT, no, value >> 32))
    test += _load(low, mask & 0xFFFFFFFF)
    test.append((jump, yes, no, value & 0xFFFFFFFF))
    return test


def _load(offset: int, mask: int) -> list[Instruction]:
    load = (LOAD, _NEXT, _NEXT, offset)
    return [load] if mask == 0xFFFFFFFF else [load, (AND, _NEXT, _NEXT, mask)]


def assemble(program: Iterable[Instruction], big_endian: bool) -> bytes:
    """An array of struct sock_filter."""
    layout = ">HBBI" if big_endian else "<HBBI"
    return b"".join([pack(layout, *instruction) for instruction in program])
