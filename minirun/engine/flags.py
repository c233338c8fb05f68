"""Flags as Docker reads them: a table of options in, a dict of values out.

    --name VALUE   --name=VALUE   -m 64m   -m64m   -it (two switches)   --rm   --rm=false

The commands that Docker's users know by heart (run, pull) and their like have tables (options.py),
and this parser; click, which the other commands use, shows the help of all. There are two reasons:
click knows no ``--rm=false`` and no ``--explain[=json]``, and importing it takes longer (25 ms)
than everything else that the engine does for a container.
"""

from __future__ import annotations

from minirun.engine import later
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

# What Go's strconv.ParseBool takes, and so Docker
TRUE = {"true", "1", "t", "T", "TRUE", "True"}
FALSE = {"false", "0", "f", "F", "FALSE", "False"}


class HelpWanted(Exception):
    """``--help`` was among the words."""


class Option:
    """One option. Without ``metavar`` it is a switch; ``many``: it may be given again and again.

    ``alone`` is the value of an option whose value may be left out: ``--explain[=json]``.
    """

    def __init__(
        self,
        *names: str,
        help: str = "",
        metavar: str | None = None,
        many: bool = False,
        choices: Sequence[str] = (),
        alone: str | None = None,
        default: object = None,
    ) -> None:
        self.names, self.help, self.metavar, self.many = names, help, metavar, many
        self.choices, self.alone = choices, alone
        self.default = default if default is not None else () if many else None
        if self.is_switch and default is None:
            self.default = False

    @property
    def key(self) -> str:
        """``--cap-add`` is ``cap_add`` among the values; the first long name counts."""
        name = next(name for name in self.names if name.startswith("--"))
        return name[2:].replace("-", "_")

    @property
    def is_switch(self) -> bool:
        return self.metavar is None

    @property
    def wants_value(self) -> bool:
        """Whether the next word is its value, if none is given with ``=``."""
        return not self.is_switch and self.alone is None

    def value(self, name: str, text: str | None) -> object:
        """What ``text`` means (None: nothing was given)."""
        if self.is_switch:
            if text is None or text in TRUE:
                return True
            if text in FALSE:
                return False
            raise UsageError(f"{name}={printable(text)}: a switch is true or false")
        if text is None:
            return self.alone
        if self.choices and text not in self.choices:
            raise UsageError(f"{name} {printable(text)!r}: not one of {', '.join(self.choices)}")
        return text


class Parser:
    """The words of one command line, taken from the front."""

    def __init__(self, command: str, options: Iterable[Option]) -> None:
        self.command = command
        self.options = {name: option for option in options for name in option.names}
        self.values = {option.key: option.default for option in options}

    def parse(self, words: Sequence[str], *, to_the_end: bool) -> list[str]:
        """Fill ``values``; returns the words that are no options.

        Options end at ``--`` and, unless ``to_the_end``, at the first word that is none: what
        follows an image belongs to the program in the container.
        """
        rest = list(words)
        arguments: list[str] = []
        while rest and (to_the_end or not arguments):
            word = rest.pop(0)
            if word == "--":
                break
            if word.startswith("--"):
                self._long(word, rest)
            elif word.startswith("-") and word != "-":
                self._short(word, rest)
            else:
                arguments.append(word)
        return arguments + rest

    def _long(self, word: str, rest: list[str]) -> None:
        name, equals, text = word.partition("=")
        option = self._find(name)
        if equals:
            self._set(option, name, text)
        else:
            self._set(option, name, self._next(name, rest) if option.wants_value else None)

    def _short(self, word: str, rest: list[str]) -> None:
        for index, letter in enumerate(word[1:], 2):
            name = f"-{letter}"
            option = self._find(name)
            if option.wants_value:
                text = word[index:].removeprefix("=")
                self._set(option, name, text or self._next(name, rest))
                return
            self._set(option, name, None)

    def _find(self, name: str) -> Option:
        if name == "--help":
            raise HelpWanted
        option = self.options.get(name)
        reason = later.flag(self.command, name)
        if option and not reason:
            return option
        shown = printable(name)[:80]
        reason = reason or later.elsewhere(self.command, name)
        if reason:
            raise UsageError(f"{shown}: {reason[0]}", hint=reason[1])
        raise UsageError(f"no such option: {shown}", hint=self._advice(name))

    def _advice(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name, self.options, 1)
        return f"did you mean {near[0]}?" if near else f"minirun {self.command} --help"

    def _next(self, name: str, rest: list[str]) -> str:
        if not rest:
            raise UsageError(f"{name} needs a value", hint=f"minirun {self.command} --help")
        return rest.pop(0)

    def _set(self, option: Option, name: str, text: str | None) -> None:
        value = option.value(name, text)
        before: Any = self.values[option.key]
        self.values[option.key] = (*before, value) if option.many else value


def parse(
    command: str, options: Iterable[Option], names: Sequence[str], words: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """The values of ``options`` and the arguments of ``minirun COMMAND``.

    ``names`` are the arguments it takes. A last one ``NAME...`` stands for one or more, and one in
    brackets for any number, among which no options are looked for. Raises UsageError, or
    HelpWanted.
    """
    parser = Parser(command, options)
    last = names[-1] if names else ""
    is_open = last.endswith(("...", "]"))
    arguments = parser.parse(words, to_the_end=not last.startswith("["))
    least = [name for name in names if not name.startswith("[")]
    if len(arguments) < len(least):
        missing = least[len(arguments)]
        raise UsageError(f"{missing} is missing", hint=f"minirun {command} --help")
    if len(arguments) > len(least) and not is_open:
        extra = printable(arguments[len(least)])[:80]
        raise UsageError(f"one argument too many: {extra}", hint=f"minirun {command} --help")
    return parser.values, arguments
