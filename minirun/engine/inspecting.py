"""``inspect``, of whatever kind of thing: documents as JSON, or by a template of the user's.

--format TEMPLATE    one line for each thing        --format json    an array on one line
"""

from __future__ import annotations

import sys

from minirun.engine import output
from minirun.errors import Error, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Document = dict[str, Any]


def inspect(names: Iterable[str], find: Callable[[str], Document], form: str | None = None) -> int:
    """Show the things with these ``names``; then complain of those that there are not. The exit
    code is that of the last complaint."""
    found: list[Document] = []
    errors: list[Error] = []
    for name in names:
        try:
            found.append(find(name))
        except Error as error:
            errors.append(error)
    output.write(text(found, form))
    sys.stdout.flush()
    for missing in errors:
        print(render(missing), file=sys.stderr)
    return errors[-1].exit_code if errors else 0


def text(found: list[Document], form: str | None) -> str:
    if not form or form == output.JSON:
        import json

        from minirun.engine.template.values import plain

        indent, separators = (None, (",", ":")) if form else (4, None)
        shown = json.dumps(plain(found), indent=indent, separators=separators, ensure_ascii=False)
        return shown + "\n"
    from minirun.engine.template import Template

    template = Template(form)
    return "".join(template.render(document) + "\n" for document in found)
