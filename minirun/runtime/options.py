"""Command lines taken apart by tables: what is not in the table is refused.

``argparse`` would do it too, and cost 2 ms at the start of every container. Interface: Line, table.
"""

from __future__ import annotations

from minirun import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Values = dict[str, Any]

# (its names, the last of which is its key; its value; what --help says). The value is "" for a
# flag, "X" for one that must be given, "[=X]" for one that may be, and "X…" for one that may
# be given several times, which makes a list.
Option = tuple[tuple[str, ...], str, str]
FLAGS = {"": True, "true": True, "1": True, "false": False, "0": False}


class Line:
    """A command line, taken apart: ``options`` by key, and ``arguments``."""

    def __init__(self, table: tuple[Option, ...]) -> None:
        self.table = {name: option for option in table for name in option[0]}
        self.options: Values = {}
        self.arguments: list[str] = []

    def parse(self, words: list[str], *, until_argument: bool) -> None:
        """Take the options out of ``words``; all after "--" are arguments, and with
        ``until_argument`` all after the first argument."""
        words = list(words)
        while words:
            word = words.pop(0)
            if word == "--":
                self.arguments += words
                return
            if word.startswith("-") and word != "-":
                self._option(word, words)
                continue
            self.arguments.append(word)
            if until_argument:
                self.arguments += words
                return

    def _option(self, word: str, words: list[str]) -> None:
        """One word of options; takes the value off ``words`` if it is the next one.

        As others do it: --bundle X, --bundle=X, -bundle X, -b X, -b=X, -bX, and -dt for -d -t.
        """
        name, equals, value = word.partition("=")
        if name not in self.table and "-" + name in self.table:
            name = "-" + name
        if name not in self.table and word[:2] in self.table:
            name, equals, value = word[:2], "", word[2:]
            if not self.table[name][1]:
                words.insert(0, "-" + value)
                value = ""
        if name not in self.table:
            raise errors.UsageError(
                f"unknown option {errors.printable(word)}", hint="minirun-oci --help"
            )
        names, kind, _ = self.table[name]
        key = names[-1].lstrip("-")
        if not kind:
            if value not in FLAGS or (equals and not value):
                raise errors.UsageError(f"{name} is true or false, not {errors.printable(value)}")
            self.options[key] = FLAGS[value]
        elif kind.startswith("[="):
            self.options[key] = value if equals else True
        else:
            if not equals and not value:
                if not words:
                    raise errors.UsageError(f"{name} needs a value")
                value = words.pop(0)
            if kind.endswith("…"):
                self.options.setdefault(key, []).append(value)
            else:
                self.options[key] = value


def table(options: tuple[Option, ...]) -> list[str]:
    """The lines of --help for these options."""
    left = [
        ", ".join(names) + ("" if kind[:2] in "[=" else " ") + kind for names, kind, _ in options
    ]
    width = max(map(len, left), default=0)
    return [f"  {name:{width}}  {what}" for name, (_, _, what) in zip(left, options, strict=True)]
