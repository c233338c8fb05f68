"""minirun cp"""

from __future__ import annotations

import sys

import click

from minirun.engine.command import Command


@click.command("cp", cls=Command)
@click.option("-a", "--archive", is_flag=True, help="Keep owners on the way out, too.")
@click.option("-L", "--follow-link", is_flag=True, help="If SOURCE is a link, copy its target.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing when it is done.")
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DESTINATION")
@click.pass_obj
def command(
    root: str | None, source: str, destination: str, archive: bool, follow_link: bool, quiet: bool
) -> None:
    """Copy files between a container and this machine.

    One of SOURCE and DESTINATION is CONTAINER:PATH, the other a path here, or - for a tar on
    standard input or output. The container need not run.

    \b
        minirun cp web:/etc/nginx .             the directory, as ./nginx
        minirun cp site/. web:/srv              what is in site
        minirun cp web:/var/log - | tar -tv     as a tar
    """
    from minirun.engine import copying, events, table
    from minirun.engine.state import open_state
    from minirun.errors import UsageError

    (from_name, from_path), (to_name, to_path) = map(copying.split, (source, destination))
    if (from_name is None) == (to_name is None):
        raise UsageError(
            "one of the two must be CONTAINER:PATH, and only one",
            hint="between containers: minirun cp A:PATH - | minirun cp - B:PATH",
        )
    state = open_state(root)
    copy = copying.Copy(state, archive=archive, follow=follow_link)
    container = state.containers.find(from_name or to_name or "")
    if from_name is not None and to_path == "-":
        copy.to_stream(container, from_path)
    elif from_name is not None:
        copy.out(container, from_path, to_path)
    elif from_path == "-":
        copy.from_stream(container, to_path)
    else:
        copy.into(from_path, container, to_path)
    happened, path = ("archive-path", from_path) if from_name else ("extract-to-dir", to_path)
    events.of_container(state.paths, container, happened, path=path)
    for warning in copy.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if not quiet and sys.stderr.isatty() and "-" not in (source, destination):
        size = table.size(copy.size)
        print(f"Successfully copied {size} to {destination}", file=sys.stderr)
