"""YAML, as far as programs write it: block mappings and sequences of scalars, by indentation.

CDI files (cdi.py) are YAML, a language of 200 pages, of which the programs that write them use one.
All that is here means what it means in YAML 1.2; all else (anchors, tags, text in blocks, flow
collections but for [] and {}) is refused, and never guessed. https://yaml.org/spec/1.2.2/

Interface: loads.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONSTANTS: dict[str, Any] = {
    "": None, "~": None, "null": None, "true": True, "false": False, "[]": [], "{}": {},
}  # fmt: skip
INDICATORS = tuple("&*!|>@`%[]{},?#'\"")  # a plain scalar begins with none of them
DEEPEST = 50


def loads(text: str) -> Any:
    """The document in ``text``; raises ValueError, with the line, for what is not understood."""
    lines = [Line(number, line) for number, line in enumerate(text.splitlines(), 1)]
    lines = [line for line in lines if line.text]
    if lines and lines[0].text == "---":
        lines.pop(0)
    reader = Reader(lines)
    document = reader.block(0)
    if reader.lines:
        raise reader.lines[0].wrong("indented otherwise than what is before it")
    return document


class Line:
    """One line: its indentation, and what stands behind it."""

    def __init__(self, number: int, line: str) -> None:
        body = line.lstrip(" ")
        self.number, self.indent = number, len(line) - len(body)
        self.text = "" if body.startswith("#") else body.rstrip()
        if body.startswith("\t") and self.text.strip():
            raise self.wrong("a tab")

    def wrong(self, what: str) -> ValueError:
        return ValueError(f"line {self.number}: {what}")


class Reader:
    """Takes lines from the front, a block (all lines of one indentation) at a time."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines[::-1]
        self.depth = 0

    def block(self, least: int) -> Any:
        """The value in the following lines, if they are indented by ``least`` or more."""
        if not self.lines or self.lines[-1].indent < least:
            return None
        line = self.lines[-1]
        self.depth += 1
        if self.depth > DEEPEST:
            raise line.wrong("too deep")
        if _is_item(line.text):
            value: Any = self.sequence(line.indent)
        elif _colon(line) >= 0:
            value = self.mapping(line.indent)
        else:
            value = scalar(self.lines.pop())
        self.depth -= 1
        return value

    def sequence(self, indent: int) -> list[Any]:
        found = []
        while self.lines and self.lines[-1].indent == indent and _is_item(self.lines[-1].text):
            line = self.lines[-1]
            rest = line.text[1:].lstrip(" ")
            line.indent += len(line.text) - len(rest)  # what follows "- " is a block of its own
            line.text = rest
            if not rest:
                self.lines.pop()
            found.append(self.block(indent + 1))
        return found

    def mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.lines and self.lines[-1].indent == indent and not _is_item(self.lines[-1].text):
            line = self.lines.pop()
            colon = _colon(line)
            if colon < 0:
                raise line.wrong("no 'key: value'")
            key = _text(line, line.text[:colon])
            if key in found:
                raise line.wrong(f"{key} a second time")
            line.text = line.text[colon + 1 :].strip()
            found[key] = scalar(line) if _plain(line.text) else self.below(indent)
        return found

    def below(self, indent: int) -> Any:
        """The value of a key with nothing behind it. A sequence need not be indented further."""
        is_sequence = self.lines and _is_item(self.lines[-1].text)
        return self.block(indent if is_sequence else indent + 1)


def scalar(line: Line) -> Any:
    """
    >>> [scalar(Line(1, text)) for text in ("12", "0x1f", "a b # c", "'it''s'", '"a\\\\tb"', "~")]
    [12, 31, 'a b', "it's", 'a\\tb', None]
    """
    text = _plain(line.text) if line.text[:1] not in ("'", '"') else line.text
    if text in CONSTANTS:
        return CONSTANTS[text]
    try:
        return int(text, 0) if text[:1] in "0123456789+-" and text.isascii() else _text(line, text)
    except ValueError:
        return _text(line, text)


def _text(line: Line, text: str) -> str:
    """A string: plain, in 'single' or in "double" quotes, which has the escapes of JSON."""
    if text.startswith('"'):
        import json

        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            raise line.wrong("no string in quotes") from None
    elif text.startswith("'"):
        end = text.replace("''", "xx").find("'", 1) + 1
        value = text[1 : end - 1].replace("''", "'")
    else:
        value, end = text, len(text)
        if text.startswith(INDICATORS) or ": " in text:
            raise line.wrong("only simple YAML is understood")
    if not end or _plain(text[end:]):
        raise line.wrong("no string in quotes")
    return str(value)


def _plain(text: str) -> str:
    """``text`` without a comment behind it."""
    return "" if text.startswith("#") else text.partition(" #")[0].strip()


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _colon(line: Line) -> int:
    """Where the colon behind a key is; -1 for a line that has no key."""
    text = line.text
    at = 0
    if text[:1] in ("'", '"'):
        at = text.find(text[0], 1) + 1
        return at if at and text[at : at + 1] == ":" else -1
    at = text.find(": ")
    return at if at >= 0 else len(text) - 1 if text.endswith(":") else -1
