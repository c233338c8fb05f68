"""``minirun source STEP``: the function of a step, as it stands in the source.

A step is a function whose docstring has the fields that ``--explain`` tells (minirun/explain.py).
Its file is read and not imported: the runtime is a program of its own, of which the front end
imports nothing.

Interface: steps, Step.
"""

from __future__ import annotations

import ast
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The three programs whose steps are told, in the order in which a container meets them
PARTS = ("image", "engine", "runtime")


class Step:
    """One step; ``about`` is the first line of its docstring."""

    def __init__(self, function: ast.FunctionDef, file: str, lines: list[str]) -> None:
        self.name = function.name
        self.file = os.path.relpath(file, os.path.dirname(PACKAGE))
        self.line = function.lineno
        self.about = (ast.get_docstring(function) or "").partition("\n")[0]
        self.text = "\n".join(lines[function.lineno - 1 : function.end_lineno])


def steps() -> list[Step]:
    """All steps of minirun, file by file in the order of the source."""
    return [step for part in PARTS for file in _files(part) for step in _steps_in(file)]


def _files(part: str) -> Iterator[str]:
    for directory, _, names in sorted(os.walk(os.path.join(PACKAGE, part))):
        yield from (os.path.join(directory, name) for name in sorted(names) if name[-3:] == ".py")


def _steps_in(file: str) -> Iterator[Step]:
    with open(file, encoding="utf-8") as source:
        text = source.read()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and _is_step(ast.get_docstring(node) or ""):
            yield Step(node, file, text.splitlines())


def _is_step(docstring: str) -> bool:
    return any(line.startswith("man:") for line in docstring.splitlines())
