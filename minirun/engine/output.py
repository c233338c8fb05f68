"""How lists are printed: as a table, as JSON, or by a template of the user's.

    FIELDS = {"ID": ("CONTAINER ID", lambda c: c.id[:12]), "Names": ("NAMES", lambda c: c.name)}
    output.show(containers, FIELDS, ("ID", "Names"), form, quiet=quiet)

``form`` is what the user gave to ``--format``:

    nothing, table      the columns that are usual
    table TEMPLATE      columns of one's own: 'table {{.ID}}\\t{{.Names}}'
    json                a line of JSON for each
    TEMPLATE            a line for each; \\t and \\n may be written so

A field is computed when a line shows it, so one that is costly costs nothing where it is not asked
for. A field without a header is a method: ``{{.Label "team"}}``. Names and headers are Docker's.
"""

from __future__ import annotations

import sys

from minirun.engine import table
from minirun.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Fields = Mapping[str, tuple[str | None, Callable[..., Any]]]

TABLE, JSON = "table", "json"
OF_JSON = "{{json .}}"
PLAIN = str.maketrans("", "", "\t\n")


class Row:
    """One thing of the list, as templates see it: a struct whose fields are computed when read."""

    def __init__(self, fields: Fields, thing: Any) -> None:
        self.fields, self.thing = fields, thing

    def keys(self) -> list[str]:
        return sorted(name for name, (header, _) in self.fields.items() if header)

    def __getitem__(self, name: str) -> Any:
        header, function = self.fields[name]
        if header is None:
            return lambda *arguments: function(self.thing, *arguments)
        return function(self.thing)


def show(
    things: Iterable[Any],
    fields: Fields,
    columns: Sequence[str],
    form: str | None = None,
    *,
    quiet: bool = False,
    key: str = "ID",
) -> None:
    """Print the list. ``quiet``: only the field ``key``, unless ``form`` says more."""
    rows = [Row(fields, thing) for thing in things]
    first = (form or TABLE).split(maxsplit=1)
    if first == [TABLE] and quiet:
        write("".join(f"{row[key]}\n" for row in rows))
    elif first == [TABLE]:
        header = [str(fields[name][0]) for name in columns]
        write(table.render(header, [[row[name] for name in columns] for row in rows]) + "\n")
    elif first[0] == TABLE:
        write(_own_table(first[1], fields, rows))
    else:
        write(_lines(OF_JSON if form == JSON else str(form), rows))


def _lines(form: str, rows: Sequence[Any]) -> str:
    from minirun.engine.template import Template

    template = Template(form.replace(r"\t", "\t").replace(r"\n", "\n"))
    return "".join(template.render(row) + "\n" for row in rows)


def show_one(thing: Any, form: str) -> None:
    """The same for something that is no list: a document."""
    from minirun.engine.template import Template

    write(Template(OF_JSON if form == JSON else form).render(thing) + "\n")


def _own_table(form: str, fields: Fields, rows: Sequence[Row]) -> str:
    """The headers are what the template makes of the fields' headers."""
    from minirun.engine.template import Template, functions

    template = Template(form.replace(r"\t", "\t").replace(r"\n", "\n"))
    headers = {
        name: (header, (lambda _, text=header: text) if header else _header_of)
        for name, (header, _) in fields.items()
    }
    header = template.render(Row(headers, None), functions.HEADERS)
    lines = [template.render(row).split("\t") for row in rows]
    return table.render(header.split("\t"), lines) + "\n"


def _header_of(_: object, name: str) -> str:
    """``{{.Label "com.example.on-call"}}`` stands under "on call"."""
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def write(text: str) -> None:
    """To standard output; on a terminal without what could move its cursor, for images choose
    names and labels themselves. A pipe gets it as it is."""
    if sys.stdout.isatty() and not text.translate(PLAIN).isprintable():
        text = "".join(c if c in "\t\n" else printable(c) for c in text)
    sys.stdout.write(text)
