"""What templates are applied to: what JSON knows, and a little more.

A plain dict is a *struct*, as most of Docker's documents are: a field that it lacks is the user's
error. A ``Map`` is a map: what it lacks is ``<no value>``. An object with ``keys()`` and ``[name]``
is a struct that makes its fields when asked. A field that can be called is a method.

``plain`` turns all of them into what the json module takes.
"""

from __future__ import annotations

from minirun.engine.template import wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

KINDS = ((bool, "bool"), (int, "int"), (float, "float"), (str, "string"), (list, "list"),
         (tuple, "list"))  # fmt: skip


class Map(dict[str, "Any"]):
    """A map, in the order of its keys. ``zero`` is what ``index`` finds where there is nothing.

    >>> list(Map({"b": 1, "a": 2}))
    ['a', 'b']
    """

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), zero: Any = ""):
        super().__init__(sorted(dict(items).items()))
        self.zero = zero


class NilMap(Map):
    """A map that was never made: printed as an empty one, but ``null`` in JSON."""


class NilList(list["Any"]):
    """The same of a list."""


class Struct(dict[str, "Any"]):
    """A struct some of whose fields are left out of JSON where they are empty."""

    def __init__(self, fields: Mapping[str, Any], optional: Iterable[str]) -> None:
        super().__init__(fields)
        self.optional = frozenset(optional)


class NoValue:
    """What a template finds under a key that a map lacks."""

    def __bool__(self) -> bool:
        return False


NO_VALUE = NoValue()


def kind(value: Any) -> str:
    """What sort of value it is, in Go's words."""
    if isinstance(value, Map):
        return "map"
    if is_struct(value):
        return "struct"
    return next((name for python, name in KINDS if isinstance(value, python)), "nil")


def plain(value: Any) -> Any:
    """The same with nothing in it but what JSON knows.

    >>> plain(Struct({"A": NilList(), "B": None, "C": None}, optional=["C"]))
    {'A': None, 'B': None}
    """
    if isinstance(value, NilMap | NilList | NoValue):
        return None
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if not hasattr(value, "keys"):
        return value
    optional = getattr(value, "optional", ())
    fields = {name: plain(value[name]) for name in value.keys()}  # noqa: SIM118
    return {name: item for name, item in fields.items() if item or name not in optional}


def is_struct(value: Any) -> bool:
    return hasattr(value, "keys") and not isinstance(value, Map)


def is_true(value: Any) -> bool:
    """False are false, 0, nil and what is empty; a struct never is."""
    return bool(value) or is_struct(value)


def field(value: Any, name: str) -> Any:
    if isinstance(value, Map):
        return value.get(name, NO_VALUE)
    if value is NO_VALUE:
        return value
    if not is_struct(value):
        what = "nothing" if kind(value) == "nil" else f"a {kind(value)}"
        raise wrong(f"{what} has no field .{name}")
    try:
        return value[name]
    except KeyError:
        raise wrong(f"there is no field .{name}", advice(name, value)) from None


def advice(name: str, value: Any) -> str:
    """The field that was meant, or which there are."""
    from difflib import get_close_matches

    names = {str(key).lower(): str(key) for key in value.keys()}  # noqa: SIM118 (no dict, maybe)
    near = get_close_matches(name.lower(), names, 1)
    return f"did you mean .{names[near[0]]}?" if near else "there are: " + ", ".join(names.values())
