"""minirun bundle"""

from __future__ import annotations

from minirun.engine import flags, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (options.TTY, *options.SPEC, *options.PULL)
ARGUMENTS = ("IMAGE", "DIRECTORY", "[COMMAND...]")
EPILOG = ""


def main(root: str | None, words: Sequence[str]) -> int:
    """Write an image as an OCI bundle: DIRECTORY/config.json and DIRECTORY/rootfs.

    A bundle is all that an OCI runtime needs; minirun is not involved any more:

    \b
        minirun bundle tiny b && runc run --bundle b x
        minirun bundle -m 64m tiny b2 && diff b/config.json b2/config.json
    """
    values, (image, directory, *arguments) = flags.parse("bundle", OPTIONS, ARGUMENTS, words)
    from minirun.engine.bundling import make_bundle
    from minirun.engine.state import open_state

    make_bundle(open_state(root), image, directory, arguments, values)
    return 0
