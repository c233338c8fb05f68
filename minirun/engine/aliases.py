"""The long names of commands: ``container ls`` is ``ps``, and ``image rm`` is ``rmi``.

Docker has had both since 2017 (docker-container(1), docker-image(1)). Ours are the short ones; what
exists under a long name only, such as ``image prune``, is a command of its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SAME = {  # the second word is the command
    "container": "attach commit cp create diff exec export kill logs pause port rename restart rm "
    "run start stats stop top unpause update wait",
    "image": "build history import load pull push save tag",
    "system": "events info",
}
LONG: dict[tuple[str, ...], tuple[str, ...]] = {
    **{(family, name): (name,) for family, names in SAME.items() for name in names.split()},
    **dict.fromkeys((("container", "ls"), ("container", "list"), ("container", "ps")), ("ps",)),
    **dict.fromkeys((("image", "ls"), ("image", "list")), ("images",)),
    **dict.fromkeys((("image", "rm"), ("image", "remove")), ("rmi",)),
    ("container", "inspect"): ("inspect", "--type", "container"),
    ("image", "inspect"): ("inspect", "--type", "image"),
}


def short(line: Sequence[str]) -> list[str]:
    """The same command line with the short name.

    >>> short(["container", "ls", "-a"]), short(["image", "prune"]), short(["ps"])
    (['ps', '-a'], ['image', 'prune'], ['ps'])
    """
    found = LONG.get(tuple(line[:2]), line[:2])
    return [*found, *line[2:]]
