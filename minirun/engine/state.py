"""What the commands work on: one store with its images, layers and containers.

``open_state`` is where every command begins: the directories are made, and whatever an earlier
command left when it was killed is cleaned up.
"""

from __future__ import annotations

import os
import sys

from minirun.engine.containers import Containers
from minirun.engine.oci import OWN, Runtime
from minirun.engine.paths import Paths
from minirun.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container
    from minirun.image.snapshot import Snapshots
    from minirun.image.store import Image, Store


class State:
    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.containers = Containers(paths)

    @property
    def store(self) -> Store:
        from minirun.image.store import Store

        return Store(self.paths.images)

    @property
    def snapshots(self) -> Snapshots:
        from minirun.image.snapshot import Snapshots

        return Snapshots(self.paths.layers, warn)

    def image(self, name: str) -> Image:
        """The image of that name, digest or id. The embedded ones are built when first needed."""
        try:
            return self.store.resolve(name)
        except NotFound:
            if not self.seed():
                raise
        return self.store.resolve(name)

    def images(self) -> list[Image]:
        self.seed()
        return self.store.images()

    def seed(self) -> bool:
        """Put the embedded images into the store, once in its life; whether that was now."""
        mark = self.paths.lib + "/seeded"
        if os.path.exists(mark):
            return False
        from minirun.image import embedded

        images = embedded.seed(self.store)
        with open(mark, "w", encoding="utf-8"):
            return bool(images)

    def lowers(self, image: Image) -> list[str]:
        """The image's layers as directories, the newest first; unpacked now, if not before."""
        try:
            return self.snapshots.lowers(image.config)
        except NotFound:
            from minirun.image import fetch

            with self.store.hold():
                fetch.unpack(self.store, self.snapshots, image.manifest, image.config)
        return self.snapshots.lowers(image.config)

    def runtime(self, container: Container) -> Runtime:
        """The runtime that the container was made for."""
        return Runtime(str(container.record.get("runtime", OWN)), self.paths)

    def running(self, name: str) -> Container:
        """A container that runs, for another that shares its namespaces."""
        container = self.containers.find(name)
        container.require_running(or_paused=True)
        return container

    def settle(self, container: Container) -> None:
        """Clean up after the dead owner of a container, which this process owns now."""
        from minirun.engine import finish

        finish.settle(self, container)


def open_state(root: str | None) -> State:
    """The store below ``root`` (None: the machine's own), swept."""
    paths = Paths(root)
    paths.make()
    state = State(paths)
    state.containers.sweep(state.settle, warn)
    return state


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
