"""minirun tag"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("tag", cls=Command)
@click.argument("source")
@click.argument("target")
@click.pass_obj
def command(root: str | None, source: str, target: str) -> None:
    """Give image SOURCE another name, TARGET. Its old names stay."""
    from minirun.engine import events
    from minirun.engine.state import open_state
    from minirun.image import reference

    name = reference.for_tag(target)
    state = open_state(root)
    store = state.store
    image = state.image(source)
    with store.hold():
        store.tag(name, image.descriptor)
    events.emit(state.paths, "image", "tag", image.id, name=target)
