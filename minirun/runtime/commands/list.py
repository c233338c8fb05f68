"""Print all containers that are known below --root."""

from __future__ import annotations

import sys

from minirun import document, errors
from minirun.runtime.container import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values

FORMAT: Option = (("-f", "--format"), "FORMAT", "table or json (table)")
OPTIONS: tuple[Option, ...] = (FORMAT, (("-q", "--quiet"), "", "print the IDs only"))
ARGUMENTS = ()
COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def run(options: Values) -> None:
    form = check_format(options)
    try:
        found = list(containers(options["root"]))
    except FileNotFoundError:
        if not options["is-default-root"]:
            raise
        found = []  # there was no container yet
    if options.get("quiet"):
        sys.stdout.writelines(f"{container.id}\n" for container in found)
        return
    details = [container.details() for container in found]
    if form == "json":
        sys.stdout.write(document.dumps(details) + "\n")
        return
    rows = [[column.upper() for column in COLUMNS]]
    rows += [[str(detail[column]) for column in COLUMNS] for detail in details]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("   ".join(cells).rstrip() + "\n")


def check_format(options: Values) -> str:
    form: str = options.get("format", "table")
    if form not in ("table", "json"):
        raise errors.UsageError(f"--format is table or json, not {errors.printable(form)}")
    return form
