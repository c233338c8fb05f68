"""JSON in and out, without the json package.

``import json`` brings ``re`` and ``enum`` along: 5 ms, a quarter of what the start of a container
may cost. The two C functions underneath it need neither, so we call them as json.decoder and
json.encoder do. They have kept their form from Python 3.2 until today.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

from minirun.errors import SpecError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

BLANK = " \t\n\r"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


class _Rules:
    """What the scanner asks of its context: strict JSON, numbers as Python's own."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012


def _not_json(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} has no place in JSON")


_scan: Any = make_scanner(_Rules())  # type: ignore[arg-type]
_encode = make_encoder(
    None, _not_json, encode_basestring_ascii, None, ":", ",", False, False, False
)


def _first_value(text: str) -> tuple[Any, int]:
    start = len(text) - len(text.lstrip(BLANK))
    try:
        return _scan(text, start)  # type: ignore[no-any-return]
    except SystemError:  # Python 3.11's scanner cannot raise JSONDecodeError until it is imported
        import json.decoder  # noqa: F401

        return _scan(text, start)  # type: ignore[no-any-return]


def loads(data: bytes, name: str) -> Any:
    """The value of a JSON document; whatever is wrong with it is a SpecError that says ``name``."""
    try:
        text = data.decode()
        value, end = _first_value(text)
    except UnicodeDecodeError as error:
        raise SpecError(f"{name}: not UTF-8 at byte {error.start}") from None
    except StopIteration as error:
        raise SpecError(f"{name}: not JSON at character {error.value}") from None
    except RecursionError:
        raise SpecError(f"{name}: nested too deeply") from None
    except ValueError as error:  # json.JSONDecodeError, which the scanner itself imports
        raise SpecError(f"{name}: not JSON: {printable(str(error))}") from None
    if text[end:].strip(BLANK):
        raise SpecError(f"{name}: more text after the end of the document, at character {end}")
    return value


def dumps(value: Any) -> str:
    """``value`` as JSON on one line without blanks, in ASCII."""
    return "".join(_encode(value, 0))


def pretty(value: dict[str, Any]) -> str:
    """An object with one line for each of its members: for people, and for machines too."""
    members = (f"  {dumps(key)}: {dumps(member)}" for key, member in value.items())
    return "{\n" + ",\n".join(members) + "\n}"
