"""The front end's narrator: tells its own steps in the form of minirun/explain.py.

On standard error, for standard output belongs to the container. The runtime tells its steps itself,
in the same form: its command line has the same flag.
"""

from __future__ import annotations

import sys

from minirun import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


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
        linux.observe(self._hear)
        try:
            return step(*arguments)
        finally:
            linux.observe(None)
            self.tell(step, self._calls)

    def _hear(self, name: str, arguments: tuple[Any, ...], result: object) -> None:
        from minirun import explain

        self._calls.append(explain.show(name, arguments, result))

    def tell(self, step: Callable[..., Any], calls: list[str]) -> None:
        """Tell of a step that somebody ran, with what it did, a line each."""
        from minirun import explain

        story = explain.fields(step)
        if self.mode == "json":
            import json

            line = json.dumps({**story, "calls": calls}, ensure_ascii=False) + "\n"
        else:
            line = explain.text(story, calls)
        sys.stderr.write(line)
        sys.stderr.flush()
