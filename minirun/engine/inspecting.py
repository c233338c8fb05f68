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

# What Docker's JSON leaves out where it is empty; templates can ask for it.
OPTIONAL = {"Health", "Healthcheck", "SizeRw", "SizeRootFs", "ExposedPorts", "StopSignal",
            "StopTimeout", "Init", "Variant"}  # fmt: skip


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
    import json

    if not form:
        return json.dumps(without_empty(found), indent=4, ensure_ascii=False) + "\n"
    if form == output.JSON:
        shown = json.dumps(without_empty(found), separators=(",", ":"), ensure_ascii=False)
        return shown + "\n"
    from minirun.engine.template import Template

    template = Template(form)
    return "".join(template.render(document) + "\n" for document in found)


def without_empty(value: Any) -> Any:
    """The same without fields that are OPTIONAL and None."""
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: without_empty(item)
        for name, item in value.items()
        if not (item is None and name in OPTIONAL)
    }
