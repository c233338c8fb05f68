"""The words of a template: the text between actions, and the tokens inside them."""

from __future__ import annotations

import re

from minirun.engine.template import wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Word = tuple[str, str]  # what it is, and its text

TOKEN = re.compile(
    r"""(?P<close>(?:[ \t\r\n]+-)?\}\})
      | (?P<blank>[ \t\r\n]+)
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+))(?!\w)
      | (?P<string>"(?:[^"\\\n]|\\[abfnrtv\\"0-7xuU])*"|`[^`]*`)
      | (?P<char>'(?:[^'\\\n]|\\[abfnrtv\\'0-7xuU])[^'\n]*')
      | (?P<variable>\$\w*)
      | (?P<field>\.[^\W\d]\w*)
      | (?P<dot>\.)
      | (?P<name>[^\W\d]\w*)
      | (?P<symbol>:=|[=|(),])""",
    re.VERBOSE,
)
COMMENT = re.compile(r"/\*.*?\*/(?:[ \t\r\n]+-)?\}\}", re.DOTALL)
BLANKS = " \t\r\n"
TRIM = "-}}"
CONSTANTS = {"true": True, "false": False, "nil": None}


def words(text: str) -> Iterator[Word]:
    """("text", …), ("open", "{{"), the tokens of an action, ("close", "}}"), …, ("eof", "").

    ``{{- `` takes away the blanks before an action, `` -}}`` those behind it.
    """
    position = 0
    trims = False
    while (start := text.find("{{", position)) >= 0:
        plain = text[position:start].lstrip(BLANKS if trims else "")
        position = start + 2
        if text.startswith(tuple(f"-{blank}" for blank in BLANKS), position):
            plain = plain.rstrip(BLANKS)
            position += 2
        yield "text", plain
        if text.startswith("/*", position):
            position = comment(text, position)
        else:
            yield "open", "{{"
            for word in tokens(text, position):
                position = word.end()
                yield str(word.lastgroup), word[0]
        trims = text.endswith(TRIM, 0, position)
    yield "text", text[position:].lstrip(BLANKS if trims else "")
    yield "eof", ""


def comment(text: str, position: int) -> int:
    """Where it ends."""
    found = COMMENT.match(text, position)
    if not found:
        raise wrong("a comment does not end: {{/* … */}}")
    return found.end()


def tokens(text: str, position: int) -> Iterator[re.Match[str]]:
    """The tokens of one action, with its end as the last."""
    while token := TOKEN.match(text, position):
        yield token
        if token.lastgroup == "close":
            return
        position = token.end()
    rest = text[position:].strip()
    raise wrong(f"unexpected {rest[:10]!r}" if rest else "an action does not end with }}")


def constant(what: str, text: str) -> object:
    """The value of a number, a string, a character, or true, false, nil."""
    try:
        if what == "number":
            return number(text)
        if what == "string":
            return text[1:-1] if text[0] == "`" else unescape(text[1:-1])
        if what == "char":
            return ord(unescape(text[1:-1]))
        return CONSTANTS[text]
    except (KeyError, TypeError, ValueError):
        raise wrong(f"unexpected {text!r}") from None


def number(text: str) -> int | float:
    if text.lower().lstrip("+-").startswith("0x"):
        return int(text, 16)
    value = int(text) if text.lstrip("+-").isdigit() else float(text)
    if value in {float("inf"), float("-inf")}:
        raise ValueError
    return value


def unescape(text: str) -> str:
    r"""
    >>> unescape(r"a\tb\"ä€\u00e4")
    'a\tb"ä€ä'
    """
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape")
