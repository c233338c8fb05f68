"""How Go prints a value: its package fmt, as far as templates need it."""

from __future__ import annotations

import re

from minirun.engine.template import wrong
from minirun.engine.template.values import NO_VALUE, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.engine.template.values import Map

VERB = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d*))?(.?)", re.DOTALL)
VERBS = {  # that fit a kind, beside v
    "int": "dxXoc", "float": "eEfFgG", "string": "sqxX", "bool": "t", "map": "s", "struct": "s",
}  # fmt: skip
WIDEST = 1_000_000  # width of a column, as in Go
SMALLEST, LARGEST = -4, 6  # powers of ten that are printed without an exponent
TYPES = {"list": "[]interface {}", "map": "map[string]interface {}", "float": "float64"}


def text(value: Any) -> str:
    """As ``{{value}}`` prints it.

    >>> text([1, True, None, "a b", 1.5, {"A": 1, "B": 2}])
    '[1 true <nil> a b 1.5 {1 2}]'
    """
    return PRINTED[kind(value)](value)


def map_text(value: Map) -> str:
    return "map[" + " ".join(f"{key}:{text(item)}" for key, item in value.items()) + "]"


def struct_text(value: Any) -> str:
    return "{" + " ".join(text(value[key]) for key in value.keys()) + "}"  # noqa: SIM118


def float_text(value: float) -> str:
    """The shortest digits that mean it, with an exponent from a million on.

    >>> [float_text(value) for value in (2.0, 1.25, 1e6, 1234567.5, 0.0001, 0.00001)]
    ['2', '1.25', '1e+06', '1.2345675e+06', '0.0001', '1e-05']
    """
    exponent = int(f"{value:.17e}".partition("e")[2])
    if SMALLEST <= exponent < LARGEST:
        return repr(value).removesuffix(".0")
    digits = repr(value).partition("e")[0].replace(".", "").strip("-0")
    return f"{value:.{len(digits) - 1}e}"


PRINTED: dict[str, Callable[[Any], str]] = {
    "string": str,
    "bool": lambda value: "true" if value else "false",
    "int": str,
    "float": float_text,
    "list": lambda value: "[" + " ".join(map(text, value)) + "]",
    "map": map_text,
    "struct": struct_text,
    "nil": lambda value: "<no value>" if value is NO_VALUE else "<nil>",
}


def spaced(values: tuple[Any, ...]) -> str:
    """``print``: a blank between two values that are no strings."""
    out = ""
    for before, value in zip((None, *values), values, strict=False):
        between = out and not isinstance(before, str) and not isinstance(value, str)
        out += (" " if between else "") + text(value)
    return out


def printf(form: str, *values: Any) -> str:
    """
    >>> printf("%-5s|%05d|%.1f|%q|%x|%v|%d%%", "ab", 42, 2.25, "q", 255, [1], 7)
    'ab   |00042|2.2|"q"|ff|[1]|7%'
    >>> printf("%d %s", "x"), printf("a", 1)
    ('%!d(string=x) %!s(MISSING)', 'a%!(EXTRA int=1)')
    """
    rest = list(values)

    def verb(match: re.Match[str]) -> str:
        flags, width, precision, letter = match.groups()
        if letter == "%":
            return "%"
        if not letter:
            return "%!(NOVERB)"
        if not rest:
            return f"%!{letter}(MISSING)"
        if max(int(width or 0), int(precision or 0)) > WIDEST:
            raise wrong(f"printf: {match[0][:20]} is too wide")
        return formatted(rest.pop(0), flags, width, precision, letter)

    out = VERB.sub(verb, form)
    extra = ", ".join(map(typed, rest))
    return out + (f"%!(EXTRA {extra})" if extra else "")


def formatted(value: Any, flags: str, width: str, precision: str | None, letter: str) -> str:
    """One value by one verb; of a list, each. Numbers are left to Python: its % means the same."""
    what = kind(value)
    if what == "list":
        return "[" + " ".join(formatted(v, flags, width, precision, letter) for v in value) + "]"
    if letter == "v":
        letter = {"int": "d", "float": "v" if precision is None else "g"}.get(what, "s")
    elif letter not in VERBS.get(what, ""):
        return f"%!{letter}({typed(value)})"
    elif letter == "q":
        letter, value = "s", quoted(value)
    elif letter in "xX" and what == "string":
        value, letter = value.encode().hex(), "s"
    if letter in "svt":
        letter, value = "s", text(value)
    point = "" if precision is None else f".{precision or 0}"
    shown: str = f"%{flags}{width}{point}{letter}" % value
    return shown


def quoted(value: str) -> str:
    plain = {'"': '\\"', "'": "'"}
    return '"' + "".join(plain.get(c, repr(c)[1:-1]) for c in value) + '"'


def typed(value: Any) -> str:
    """Type and value, for an error that is printed in the value's place."""
    if value is None:
        return "<nil>"
    what = kind(value)
    return f"{TYPES.get(what, what)}={text(value)}"
