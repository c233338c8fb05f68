"""minirun pull"""

from __future__ import annotations

from minirun.engine import flags, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

OPTIONS = (*options.PULL, options.EXPLAIN)
ARGUMENTS = ("IMAGE",)
EPILOG = "The image's full name is printed at the end, on standard output."


def main(root: str | None, words: Sequence[str]) -> int:
    """Download an image from a registry.

    A short name is Docker Hub's: centos:8 means docker.io/library/centos:8. Mirrors are set in
    /etc/containers/registries.conf, passwords come from ~/.docker/config.json.

    \b
        minirun pull localhost:5000/app@sha256:…   this image, whatever a tag says
        minirun pull --explain busybox             the talk with the registry
    """
    values, (image,) = flags.parse("pull", OPTIONS, ARGUMENTS, words)
    from minirun.engine.pulling import pull_image
    from minirun.engine.state import open_state

    print(pull_image(open_state(root), image, values).name)
    return 0
