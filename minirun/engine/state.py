"""What the commands work on: one store with its images, layers and containers.

``open_state`` is where every command begins: the directories are made, and whatever an earlier
command left when it was killed is cleaned up.
"""

from __future__ import annotations

import os
import sys

from minirun.engine.containers import KILLED, Containers, wait_for_runtime, wait_until
from minirun.engine.oci import OWN, Runtime
from minirun.engine.paths import Paths
from minirun.errors import NotFound, StateError

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

    def remove_image(self, name: str, *, force: bool = False) -> list[str]:
        """Take away a name, and with the last one the image; what happened, in Docker's words."""
        image = self.image(name)
        users = [c for c in self.containers.all() if c.record.get("imageId") == image.id]
        if users and not force:
            raise StateError(
                f"{name}: container {users[0].id[:12]} uses the image", hint="minirun rm, or rmi -f"
            )
        events = self.store.remove(name, force=force)
        if guard := self.store.sweeping_if_idle():  # else the next rmi or prune does it
            with guard:
                self._prune_layers()
        return events

    def prune_images(self, *, everything: bool) -> tuple[list[str], int]:
        """Remove images without a name, with ``everything`` all that no container uses; events, and
        how many bytes of blobs that freed."""
        events: list[str] = []
        if everything:
            used = {c.record.get("imageId") for c in self.containers.all()}
            for image in self.store.images():
                if image.id not in used and image.name:
                    events += self.store.remove(image.name)
        pruned, freed = self.store.prune()
        with self.store.sweeping():
            self._prune_layers()
        return events + pruned, freed

    def _prune_layers(self) -> None:
        """Remove the unpacked layers that no image and no container needs."""
        keep = [image.diff_ids for image in self.store.images()]
        keep += [c.record["diffIds"] for c in self.containers.all() if "diffIds" in c.record]
        self.snapshots.prune(keep)

    def runtime(self, container: Container) -> Runtime:
        """The runtime that the container was made for."""
        return Runtime(str(container.record.get("runtime", OWN)), self.paths)

    def process_of(self, name: str) -> int:
        """The process id of a container that runs, for another that shares its namespaces."""
        container = self.containers.find(name)
        container.require_running(or_paused=True)
        return int(container.state["pid"])

    def remove_container(self, name: str, *, force: bool = False) -> None:
        container = self.containers.find(name)
        if not self.containers.adopt(container):
            if not force:
                hint = f"minirun rm -f {name} kills and removes it"
                raise StateError(f"container {name} is running", hint=hint)
            self.stop_other(container)
        self.containers.remove(container)

    def stop_other(self, container: Container) -> None:
        """Kill a container that another process owns, and take it over once that has let go."""
        runtime = self.runtime(container)
        wait_for_runtime(container.directory, lambda: runtime.delete(container.id))
        wait_until(lambda: self.containers.adopt(container), f"container {container.id[:12]}")

    def settle(self, container: Container) -> None:
        """Clean up after the dead owner of a container, which this process owns now."""
        if os.path.isdir(container.directory):
            runtime = self.runtime(container)
            wait_for_runtime(container.directory, lambda: runtime.delete(container.id))
        self.finish(container, KILLED)

    def finish(self, container: Container, code: int) -> None:
        """The end of a container that nothing runs in any more: unmount it; keep its record, or
        with --rm nothing at all."""
        self.snapshots.unmount(container.directory)
        if container.record.get("autoRemove"):
            self.containers.remove(container)
        else:
            import time

            container.save_state(status="exited", pid=0, exitCode=code, finished=time.time())
            self.containers.release(container)


def open_state(root: str | None) -> State:
    """The store below ``root`` (None: the machine's own), swept."""
    paths = Paths(root)
    paths.make()
    state = State(paths)
    state.containers.sweep(state.settle, warn)
    return state


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
