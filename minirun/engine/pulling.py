"""Pulling an image for a person: the resolved name, progress, one line at the end; or a story."""

from __future__ import annotations

import os
import sys

from minirun.engine import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.engine.state import State
    from minirun.image.store import Image


def pull_image(state: State, name: str, options: Mapping[str, Any]) -> Image:
    """Pull ``name``, with the flags ``platform``, ``quiet``, ``explain`` and ``tls_verify``.

    All that is said goes to standard error: standard output belongs to the command.
    """
    from minirun.image import platform, progress, reference, transfer
    from minirun.teach.explain import Narrator

    wanted = options.get("platform") or os.environ.get("DOCKER_DEFAULT_PLATFORM")
    found = reference.parse(name)
    quiet = bool(options.get("quiet"))
    if not quiet and found.canonical != name:
        print(f"resolved to {found.canonical}", file=sys.stderr)
    narrator = Narrator(options.get("explain"))
    image = transfer.pull(
        found,
        state.store,
        state.snapshots,
        wanted=platform.parse(wanted) if wanted else None,
        tls_verify=options.get("tls_verify") is not False,
        progress=progress.choose(sys.stderr, quiet=quiet),
        explain=narrator.tell if narrator.mode else None,
    )
    events.emit(state.paths, "image", "pull", found.familiar, name=found.familiar)
    return image
