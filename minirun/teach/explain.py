"""Tell what happens while it happens: the narrator of ``--explain``.

A step is a function, and its docstring is what a student reads about it, in one fixed form:

    Mount the layers on each other.

    why:    every container shares the image's files and writes to a layer of its own
    shell:  mount -t overlay -o lowerdir=…,upperdir=…,workdir=… overlay rootfs
    man:    mount(8)

The narrator prints it, and below it the system calls that the step made, as linux.py saw them; as
text for people, or as one JSON object a line. On standard error: standard output belongs to the
container.
The runtime tells its own steps in the same form (its command line has the same flag).
"""

from __future__ import annotations

import sys

from minirun import linux
from minirun.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FIELDS = ("why", "shell", "man")


class Narrator:
    """``mode`` is "text", "json" or None: then steps just run."""

    def __init__(self, mode: str | None) -> None:
        self.mode = mode
        self._calls: list[str] = []

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``step``, and tell of it. It is told also when it fails: that is when it matters."""
        if self.mode is None:
            return step(*arguments)
        self._calls = []
        linux.observe(self._heard)
        try:
            return step(*arguments)
        finally:
            linux.observe(None)
            self.tell(step.__name__, step.__doc__ or "", self._calls)

    def _heard(self, name: str, arguments: tuple[Any, ...], result: object) -> None:
        shown = ", ".join(map(_argument, arguments))
        answer = f"-1 ({result.strerror})" if isinstance(result, OSError) else str(result)
        self._calls.append(f"{name}({shown}) = {answer}")

    def heard(self, step: Callable[..., Any], lines: list[str]) -> None:
        """Tell of a step that somebody else ran, with what it says that it did."""
        self.tell(step.__name__, step.__doc__ or "", lines)

    def tell(self, name: str, text: str, calls: list[str]) -> None:
        story = parse(text)
        if self.mode == "json":
            import json

            line = json.dumps({"step": name, "calls": calls, **story}, ensure_ascii=False)
        else:
            rows = [f"● {name}: {story['about']}"]
            rows += [f"    {printable(call)}" for call in calls]
            rows += [f"    {field + ':':7}{story[field]}" for field in FIELDS if story[field]]
            line = "\n".join(rows) + "\n"
        print(line, file=sys.stderr, flush=True)


def parse(text: str) -> dict[str, str]:
    """A step's docstring as {"about", "why", "shell", "man"}; a field may run over several lines.

    >>> parse("Make it private.\\n\\nwhy:  it would show\\n      outside\\nman:  mount(8)")
    {'about': 'Make it private.', 'why': 'it would show outside', 'shell': '', 'man': 'mount(8)'}
    """
    story = dict.fromkeys(("about", *FIELDS), "")
    field = "about"
    for line in map(str.strip, text.strip().split("\n")):
        name, colon, rest = line.partition(":")
        if colon and name in FIELDS:
            field = name
            story[field] = rest.strip()
        else:
            story[field] = f"{story[field]} {line}".strip()
    return story


def _argument(value: object) -> str:
    """One argument as strace(1) writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return f'"{value}"' if isinstance(value, str) else str(value)
