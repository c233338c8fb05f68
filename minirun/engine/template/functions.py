"""What templates can call: the functions of Go's text/template, and those that Docker adds.

https://docs.docker.com/engine/cli/formatting/

A function that is given what it cannot take raises TypeError, ValueError, IndexError or
AttributeError, as Python does; evaluate.call says it in words.
"""

from __future__ import annotations

import operator

from minirun.engine.template import fmt, wrong
from minirun.engine.template.values import NO_VALUE, is_true, kind, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SORTED = {"int", "float", "string"}  # the kinds that have an order
EQUAL = {*SORTED, "bool", "nil"}  # the kinds that can be compared


def equal(first: Any, *others: Any) -> bool:
    """``eq a b c``: whether a is b or c."""
    if not others:
        raise TypeError
    return any(same_kind(first, other, EQUAL) and first == other for other in others)


def same_kind(first: Any, second: Any, kinds: set[str]) -> bool:
    """Whether the two can be equal. Two kinds cannot be compared, but everything with nil."""
    pair = {kind(first), kind(second)}
    if "nil" in pair and "nil" in kinds:
        return len(pair) == 1
    if len(pair) > 1 or not pair <= kinds:
        raise TypeError
    return True


def ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda first, second: same_kind(first, second, SORTED) and holds(first, second)


def length(value: Any) -> int:
    if kind(value) not in {"string", "list", "map"}:
        raise TypeError
    return len(value.encode()) if isinstance(value, str) else len(value)


def index(value: Any, *keys: Any) -> Any:
    """``index x 1 "a"`` is x[1]["a"]; what a map lacks is the zero of its values."""
    for key in keys:
        if kind(value) == "map":
            value = value.get(text_of(key), value.zero)
        elif value is None or value is NO_VALUE:
            raise wrong(f"index {fmt.text(key)} of nothing")
        else:
            value = at(value, key)
    return value


def at(value: Any, position: Any) -> Any:
    is_number = kind(position) == "int" and kind(value) in {"list", "string"}
    items = value.encode() if isinstance(value, str) else value
    if not is_number or not 0 <= position < len(items):
        raise IndexError
    return items[position]


def part_of(value: Any, start: int = 0, end: int | None = None) -> Any:
    """``slice x 1 3`` is x[1:3]."""
    if not 0 <= start <= (length(value) if end is None else end) <= length(value):
        raise IndexError
    return value.encode()[start:end].decode() if isinstance(value, str) else value[start:end]


def json(value: Any) -> str:
    """In one line, with no blanks; as Go writes it."""
    from json import dumps

    return dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def join(items: Any, separator: str) -> str:
    if kind(items) != "list":
        raise TypeError
    return text_of(separator).join(map(fmt.text, items))


def split(text: str, separator: str) -> list[str]:
    """An empty separator parts all characters."""
    return text_of(text).split(separator) if separator else list(text_of(text))


def title(text: str) -> str:
    """The first letter of each word becomes a capital; the others stay."""
    before = " " + text
    return "".join(c if b.isalnum() or b in "'_" else c.upper() for b, c in zip(before, text))  # noqa: B905


def pad(text: str, before: int, behind: int) -> str:
    return text and " " * before + text_of(text) + " " * behind


def truncate(text: str, width: int) -> str:
    return part_of(text_of(text), 0, min(width, length(text)))  # type: ignore[no-any-return]


GO: dict[str, Callable[..., Any]] = {
    "and": lambda: None,  # these two do not evaluate all their operands: the parser sees to them
    "or": lambda: None,
    "not": lambda value: not is_true(value),
    "eq": equal,
    "ne": lambda first, second: not equal(first, second),
    "lt": ordered(operator.lt),
    "le": ordered(operator.le),
    "gt": ordered(operator.gt),
    "ge": ordered(operator.ge),
    "len": length,
    "index": index,
    "slice": part_of,
    "print": lambda *values: fmt.spaced(values),
    "printf": lambda form, *values: fmt.printf(text_of(form), *values),
    "println": lambda *values: " ".join(map(fmt.text, values)) + "\n",
}
ALL = GO | {
    "json": json,
    "join": join,
    "split": split,
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": title,
    "pad": pad,
    "truncate": truncate,
}
HEADERS = GO | dict.fromkeys(ALL.keys() - GO.keys(), lambda text, *_: text)
"""For the line of headers of a table: a field's header is not turned into JSON or capitals."""
