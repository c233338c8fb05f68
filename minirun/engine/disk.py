"""``system df``: what takes how much room on the disk, and how much of it nothing needs.

    Images          the blobs, as they were pulled, and the layers, unpacked, each counted once
    Containers      what they have written
    Local Volumes   what is in them

Sizes are those of the files that are there, so that they agree with du(1).
"""

from __future__ import annotations

import os

from minirun.engine import sizes
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container
    from minirun.engine.state import State
    from minirun.engine.volumes import Volume
    from minirun.image.store import Image


class Kind:
    """One line: how many there are, how many are in use, bytes, and bytes that nothing needs."""

    def __init__(self, name: str, total: int, active: int, size: int, unneeded: int) -> None:
        self.name, self.total, self.active = name, total, active
        self.size, self.unneeded = size, unneeded


class Disk:
    def __init__(self, state: State) -> None:
        self._state = state
        self.containers = state.containers.all()
        images = {}
        for image in state.store.images():
            images[image.digest] = image
        self.images = list(images.values())
        self.used = {container.record.get("imageId") for container in self.containers}
        self._trees: dict[str, int] = {}

    def kinds(self) -> list[Kind]:
        cache = Kind("Build Cache", 0, 0, 0, 0)
        return [self._images(), self._containers(), self._volumes(), cache]

    def files(self, image: Image) -> set[str]:
        """What there is of an image on the disk: blobs, and directories of layers."""
        store, snapshots = self._state.store, self._state.snapshots
        try:
            blobs = [image.descriptor, image.manifest["config"], *image.layers]
            found = {store.blob_path(blob["digest"]) for blob in blobs}
            for number in range(1, len(image.diff_ids) + 1):
                if path := snapshots.find(image.diff_ids[:number]):
                    found.add(path)
        except Error:  # damaged: the check tells of it
            return set()
        return found

    def size(self, files: set[str]) -> int:
        return sum(map(self._size, files))

    def _size(self, path: str) -> int:
        if path not in self._trees:
            try:
                directory = os.path.isdir(path)
                self._trees[path] = sizes.of_tree(path) if directory else os.stat(path).st_size
            except FileNotFoundError:
                return 0
        return self._trees[path]

    def is_used(self, image: Image) -> bool:
        try:
            return image.id in self.used
        except Error:
            return False

    def users(self, image: Image) -> int:
        return sum(c.record.get("imageId") == image.id for c in self.containers)

    def _images(self) -> Kind:
        needed: set[str] = set()
        everything: set[str] = set()
        for image in self.images:
            files = self.files(image)
            everything |= files
            if self.is_used(image):
                needed |= files
        active = sum(map(self.is_used, self.images))
        unneeded = self.size(everything - needed)
        return Kind("Images", len(self.images), active, self.size(everything), unneeded)

    def _containers(self) -> Kind:
        resting = [c for c in self.containers if not self._state.containers.is_live(c)]
        total, free = sum(map(self.written, self.containers)), sum(map(self.written, resting))
        count = len(self.containers)
        return Kind("Containers", count, count - len(resting), total, free)

    def written(self, container: Container) -> int:
        return self._size(container.path("upper"))

    def volumes(self) -> list[tuple[Volume, int]]:
        """Each volume, and how many containers have it."""
        from minirun.engine.volumes import Volumes, names_in

        used = [name for container in self.containers for name in names_in(container)]
        return [(volume, used.count(volume.name)) for volume in Volumes(self._state).all()]

    def _volumes(self) -> Kind:
        volumes = self.volumes()
        total = sum(volume.size() for volume, _ in volumes)
        free = sum(volume.size() for volume, users in volumes if not users)
        return Kind("Local Volumes", len(volumes), sum(1 for _, n in volumes if n), total, free)
