"""minirun commit"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("commit", cls=Command)
@click.option("-a", "--author", default="", metavar="NAME", help="Who made it.")
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
              help='An instruction of a Dockerfile, e.g. \'CMD ["nginx"]\', "ENV A=1".')
@click.option("-m", "--message", default="", metavar="TEXT", help="What it is, for its history.")
@click.option("-p", "--pause/--no-pause", default=True, help="Stop its processes meanwhile.")
@click.argument("container")
@click.argument("name", required=False, metavar="[NAME[:TAG]]")
@click.pass_obj
def command(
    root: str | None, container: str, name: str | None, author: str, message: str,
    changes: tuple[str, ...], pause: bool,
) -> None:  # fmt: skip
    """Make an image of what a container has changed, and print its ID.

    It starts as the container did; volumes are not part of it.
    """
    from minirun.engine import commit, events
    from minirun.engine.state import open_state
    from minirun.image import reference

    canonical = reference.for_tag(name) if name else None
    state = open_state(root)
    found = state.containers.find(container)
    image = commit.commit(
        state, found, canonical,
        author=author, message=message, instructed=changes, pause=pause,
    )  # fmt: skip
    events.of_container(state.paths, found, "commit", imageID=image.id, imageRef=canonical or "")
    print(image.id)
