"""minirun commit"""

from __future__ import annotations

from minirun.engine import flags
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (
    flags.Option("-a", "--author", metavar="NAME", default="", help="Who made it."),
    flags.Option("-c", "--change", metavar="INSTRUCTION", many=True,
                 help="An instruction of a Dockerfile: 'CMD [\"nginx\"]', 'ENV A=1', …"),
    flags.Option("-m", "--message", metavar="TEXT", default="", help="A note for its history."),
    flags.Option("-p", "--pause", default=True, help="Stop its processes meanwhile: the default."),
    flags.Option("--no-pause", help="Let them go on."),
)  # fmt: skip
ARGUMENTS = ("CONTAINER", "[NAME[:TAG]]")
EPILOG = "What is mounted in the container, volumes too, is not part of the image."


def main(root: str | None, words: Sequence[str]) -> int:
    """Make an image of what a container has changed, and print its ID.

    It starts as the container did.
    """
    values, arguments = flags.parse("commit", OPTIONS, ("CONTAINER...",), words)
    if len(arguments) > len(ARGUMENTS):
        raise UsageError(f"one argument too many: {printable(arguments[2])}")
    from minirun.engine import commit, events
    from minirun.engine.state import open_state
    from minirun.image import reference

    name = reference.for_tag(arguments[1]) if arguments[1:] else None
    state = open_state(root)
    container = state.containers.find(arguments[0])
    image = commit.commit(
        state, container, name,
        author=values["author"], message=values["message"], instructed=values["change"],
        pause=values["pause"] and not values["no_pause"],
    )  # fmt: skip
    events.of_container(state.paths, container, "commit", imageID=image.id, imageRef=name or "")
    print(image.id)
    return 0
