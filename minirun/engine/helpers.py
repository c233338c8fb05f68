"""Starting a module of ours as a process of its own, with the interpreter that runs this one.

``-SI``: it takes nothing from the environment, and only those site-packages that we have.
"""

from __future__ import annotations

import os
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CODE = "import sys; sys.path += {!r}; from minirun.engine import helpers; helpers.main({!r})"
BARE = "import sys; sys.path += {!r}; from minirun.engine.{} import main; main()"


def command(module: str, *words: str) -> list[str]:
    """The command line that calls ``main()`` of ``minirun.engine.MODULE``, where ``sys.argv[1:]``
    are the ``words``. Errors end it with a message and an exit code, as they end minirun."""
    packages = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    return [sys.executable, "-SI", "-c", CODE.format([PROJECT, *packages], module), *words]


def bare(module: str, *words: str) -> list[str]:
    """The same of a module that needs only minirun and the standard library, and sees to its errors
    itself: it starts sooner, and stays smaller."""
    return [sys.executable, "-SI", "-c", BARE.format([PROJECT], module), *words]


def main(module: str) -> None:
    """Be the helper; never returns."""
    from importlib import import_module

    from minirun.engine import cli

    os._exit(cli.guard(import_module(f"minirun.engine.{module}").main))
