"""Starting a module of ours as a process of its own, with the interpreter that runs this one.

As ``-SI`` says, it takes nothing from the environment and no site-packages that it is not told of.
"""

from __future__ import annotations

import os
import sys

CODE = "import sys; sys.path += {!r}; from {} import main; main()"
PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def command(module: str, *words: str, packages: bool = True) -> list[str]:
    """The command line that calls ``main()`` of ``minirun.engine.MODULE``; ``sys.argv[1:]`` are the
    ``words``. Without ``packages`` it can import only the standard library and minirun."""
    path = [PROJECT]
    if packages:
        path += [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    code = CODE.format(path, f"minirun.engine.{module}")
    return [sys.executable, "-SI", "-c", code, *words]
