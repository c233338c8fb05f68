"""The runtime's narrator: tells each step as it is taken, in the form of minirun/explain.py.

With ``--explain=json`` there is one object a line on standard error: {"step", "about", "calls",
"why", "shell", "man"}. Loaded only when it is asked for, and all of it before the root is entered.
"""

from __future__ import annotations

import fcntl
import os

from minirun import document, explain, linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Explainer:
    """Writes to the standard error that we were started with, even when a step replaces it."""

    def __init__(self, *, as_json: bool) -> None:
        self.fd = fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 10)
        self.as_json = as_json
        self.calls: list[str] = []
        self.step: Callable[..., Any] | None = None

    def tell(self, step: Callable[..., Any], take: Callable[[], None]) -> None:
        """Take one step, and tell of it when it is over, in success or failure."""
        self.calls, self.step = [], step
        linux.observe(self.hear)
        try:
            take()
        finally:
            self.finish()

    def finish(self) -> None:
        """Tell of the step now: before a call that does not return."""
        linux.observe(None)
        if self.step is None:
            return
        story = explain.fields(self.step)
        self.step = None
        if self.as_json:
            line = document.dumps({**story, "calls": self.calls}) + "\n"
        else:
            line = explain.text(story, self.calls)
        os.write(self.fd, line.encode())

    def hear(self, name: str, arguments: tuple[Any, ...], result: object) -> None:
        """One call of the step that is being taken."""
        self.calls.append(explain.show(name, arguments, result))
