"""Command lines taken apart by tables: what is not in the table is refused.

``argparse`` would do it too, and cost 2 ms at the start of every container. Interface: Line, table.
"""

from __future__ import annotations

from minirun import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Values = dict[str, Any]

# (its names, the last of which is its key; does it take a value; what --help says)
Option = tuple[tuple[str, ...], bool, str]


class Line:
    """A command line, taken apart: ``options`` by key, and ``arguments``."""

    def __init__(self, table: tuple[Option, ...]) -> None:
        self.table = {name: option for option in table for name in option[0]}
        self.options: Values = {}
        self.arguments: list[str] = []

    def parse(self, words: list[str], *, until_argument: bool) -> list[str]:
        """Take the options out of ``words``; ``until_argument``: stop there, return the rest."""
        words = list(words)
        while words:
            word = words.pop(0)
            if word == "--":
                self.arguments += words
                return []
            if not word.startswith("-") or word == "-":
                if until_argument:
                    return [word, *words]
                self.arguments.append(word)
                continue
            self._option(word, words)
        return []

    def _option(self, word: str, words: list[str]) -> None:
        name, equals, value = word.partition("=")
        if name not in self.table and "-" + name in self.table:
            name = "-" + name  # runc takes -root for --root
        if name not in self.table:
            raise errors.UsageError(
                f"unknown option {errors.printable(word)}", hint="minirun-oci --help"
            )
        names, takes_value, _ = self.table[name]
        if takes_value and not equals:
            if not words:
                raise errors.UsageError(f"{name} needs a value")
            value = words.pop(0)
        self.options[names[-1].lstrip("-")] = value if takes_value or equals else True


def table(options: tuple[Option, ...]) -> list[str]:
    """The lines of --help for these options."""
    return [
        f"  {', '.join(names) + (' VALUE' if takes_value else ''):28} {what}"
        for names, takes_value, what in options
    ]
