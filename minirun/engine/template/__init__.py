"""Templates, as in ``--format '{{.Names}}: {{.Status}}'``: the language of Go's text/template.

    Template("{{range .Mounts}}{{.Source}} {{end}}").render(document)

Text is copied; what stands in ``{{`` and ``}}`` is an action: a pipeline whose value is printed, or
if, with, range, else, end. A pipeline is commands joined by ``|``, each handing its value to the
next as the last argument; a command is a field (``.State.Pid``), a variable (``$x``), a constant,
or a function with arguments. The dot is the data, or inside ``range`` and ``with`` a part of it.
https://pkg.go.dev/text/template

    words.py        text → words
    parser.py       words → closures: rendering another row parses nothing
    evaluate.py     what a closure does: variables, fields, calls, loops
    functions.py    what templates can call: Go's functions and Docker's
    fmt.py          how Go prints a value
    values.py       what templates are applied to

What Go has for files of templates (define, template, block, break, continue) is refused.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class Template:
    """A parsed template. Raises UsageError, saying what is wrong, and so does ``render``."""

    def __init__(self, text: str) -> None:
        from minirun.engine.template.parser import Parser

        try:
            self._statements = Parser(text).whole()
        except RecursionError:
            raise wrong("nested too deeply") from None

    def render(self, data: Any, known: Mapping[str, Callable[..., Any]] | None = None) -> str:
        """The text for ``data``. ``known`` replaces the functions that can be called."""
        from minirun.engine.template import evaluate, functions

        scope = evaluate.Scope(data, functions.ALL if known is None else known)
        try:
            evaluate.execute(self._statements, scope)
        except RecursionError:
            raise wrong("nested too deeply") from None
        return "".join(scope.out)


def wrong(what: str, hint: str | None = None) -> Exception:
    """The error of a template that cannot be understood, or that does not fit its data."""
    from minirun.errors import UsageError, printable

    return UsageError(f"template: {printable(what)}", hint=hint)
