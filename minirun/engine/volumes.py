"""Volumes: directories that outlive the containers that use them.

    volumes/<name>/volume.json      what it is: when it was made, labels, options
    volumes/<name>/_data            what is in it: the directory that containers see
    volumes/<name>/filling          an image's content is being copied to it (``fill``)
    volumes/.new-*, .gone-*         one that is being made, or removed

A volume appears by rename(2), whole, and goes the same way. Two locks keep it from going too early:
who notes a volume in a container's record holds the directory ``volumes`` shared (``hold``), who
removes one has it alone. So a volume is there as long as a record names it.

Interface: Volumes(state).create, ensure, find, all, users, remove, prune, fill; mounts.py is the
other half.
"""

from __future__ import annotations

import os
import time

from minirun.engine import container as records
from minirun.engine import sizes
from minirun.errors import NotFound, StateError, StoreError, UsageError, printable
from minirun.image import lock, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State

    Document = dict[str, Any]

LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
LONGEST_NAME = 255
ANONYMOUS = "com.docker.volume.anonymous"  # the label by which Docker's tools know one
NEW, GONE = ".new-", ".gone-"
FILL = 3600.0  # seconds to wait for somebody who is filling the same volume


class Volume:
    """One volume; ``record`` is empty where volume.json cannot be read: the files count."""

    def __init__(self, directory: str, record: Document) -> None:
        self.directory, self.record = directory, record

    @property
    def name(self) -> str:
        return os.path.basename(self.directory)

    @property
    def data(self) -> str:
        """The directory that containers see: its own, or one of the host (``bind_device``)."""
        return bind_device(self.options) or f"{self.directory}/_data"

    @property
    def created(self) -> float:
        """Seconds since 1970."""
        return float(self.record.get("created") or os.stat(self.directory).st_mtime)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.record.get("labels") or {})

    @property
    def options(self) -> dict[str, str]:
        return dict(self.record.get("options") or {})

    @property
    def is_anonymous(self) -> bool:
        return ANONYMOUS in self.labels

    def describe(self) -> Document:
        """What ``volume inspect`` shows, in Docker's words."""
        from datetime import UTC, datetime

        from minirun.engine.template.values import Map, NilMap

        made = datetime.fromtimestamp(int(self.created), UTC)
        return {
            "CreatedAt": made.isoformat().replace("+00:00", "Z"),
            "Driver": "local",
            "Labels": Map(self.labels) or NilMap(),
            "Mountpoint": self.data,
            "Name": self.name,
            "Options": Map(self.options) or NilMap(),
            "Scope": "local",
        }

    def size(self) -> int:
        """Bytes of all that is in it, if it is ours and not a directory of the host."""
        return sizes.of_tree(self.data) if bind_device(self.options) is None else 0

    @property
    def wants_filling(self) -> bool:
        """Whether it is empty, or its filling was broken off."""
        return not os.listdir(self.data) or os.path.exists(f"{self.directory}/filling")


class Volumes:
    """All volumes of one store."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.root = state.paths.volumes

    # --- to look --------------------------------------------------------------------------------

    def find(self, name: str) -> Volume:
        check_name(name)
        directory = f"{self.root}/{name}"
        if not os.path.isdir(directory):
            raise NotFound(f"no such volume: {name}", hint="for a list: minirun volume ls")
        return _load(directory)

    def all(self) -> list[Volume]:
        """Every volume, by name."""
        names = sorted(name for name in os.listdir(self.root) if not name.startswith("."))
        return [_load(f"{self.root}/{name}") for name in names]

    def users(self, name: str) -> list[Container]:
        """The containers whose records name the volume, whether they run or not."""
        return [c for c in self.state.containers.all() if name in names_in(c)]

    # --- to make and to remove ------------------------------------------------------------------

    def hold(self) -> lock.Lock:
        """While this is held, no volume is removed."""
        return lock.shared(self.root)

    def create(
        self,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """The volume of this name, made if it is missing; without a name, a new nameless one.

        StateError if there is one already with other options.
        """
        with self.hold():
            return self.ensure(name, labels, options)

    def ensure(
        self,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """The same for somebody who has ``hold``."""
        labels, options = dict(labels or {}), dict(options or {})
        if not name:
            name, labels[ANONYMOUS] = os.urandom(32).hex(), ""
        check_name(name)
        if (device := bind_device(options)) and not os.path.isdir(device):
            raise NotFound(f"volume option device={printable(device)}: no such directory")
        volume = Volume(f"{self.root}/{name}", {"created": time.time(), "labels": labels,
                                                "options": options})  # fmt: skip
        if not os.path.isdir(volume.directory) and self._make(volume):
            self._tell(name, "create")
            return volume
        found = self.find(name)
        if options and options != found.options:
            raise StateError(
                f"volume {name} is there already, with other options",
                hint=f"minirun volume inspect {name}",
            )
        return found

    def _make(self, volume: Volume) -> bool:
        """Make it whole, under another name; False if somebody else was faster."""
        new = f"{self.root}/{NEW}{os.urandom(8).hex()}"
        os.mkdir(new, 0o700)
        os.mkdir(new + "/_data")
        records.write(new + "/volume.json", volume.record)
        try:
            os.rename(new, volume.directory)
        except OSError:  # ENOTEMPTY: renaming never replaces a volume
            tree.rmtree(new)
            if not os.path.isdir(volume.directory):
                raise
            return False
        return True

    def remove(self, name: str, *, but: Iterable[str] = ()) -> None:
        """Remove a volume with all that is in it. StateError if a container has it, other than
        those with the ids ``but``."""
        with lock.exclusive(self.root):
            self.find(name)
            users = [c.id for c in self.users(name) if c.id not in set(but)]
            if users:
                raise StateError(
                    f"volume {name} is in use - [{', '.join(users)}]",
                    hint=f"minirun rm {users[0][:12]}",
                )
            gone = self._put_aside(name)
        _discard(gone)
        self._tell(name, "destroy")

    def _put_aside(self, name: str) -> str:
        gone = f"{self.root}/{GONE}{os.urandom(8).hex()}"
        os.rename(f"{self.root}/{name}", gone)
        return gone

    def prune(self, wanted: Callable[[Volume], bool]) -> tuple[list[str], int]:
        """Remove the volumes that no container has and that are ``wanted`` gone; their names, and
        how many bytes that freed. What a crash left half made or half removed goes too."""
        with lock.exclusive(self.root):
            gone = self._leftovers()
            used = {name for c in self.state.containers.all() for name in names_in(c)}
            removed = [v for v in self.all() if v.name not in used and wanted(v)]
            freed = sum(volume.size() for volume in removed)
            gone += [self._put_aside(volume.name) for volume in removed]
        for directory in gone:
            _discard(directory)
        for volume in removed:
            self._tell(volume.name, "destroy")
        return [volume.name for volume in removed], freed

    def leftovers(self) -> list[str]:
        """Directories of what somebody was making or removing when he was killed. None while
        others work with volumes, for then they may be theirs."""
        try:
            with lock.exclusive(self.root, wait=0):
                return self._leftovers()
        except StoreError:
            return []

    def _leftovers(self) -> list[str]:
        names = (name for name in os.listdir(self.root) if name.startswith((NEW, GONE)))
        return [f"{self.root}/{name}" for name in names]

    def _tell(self, name: str, action: str) -> None:
        from minirun.engine import events

        events.emit(self.state.paths, "volume", action, name, driver="local")


def remove_anonymous(state: State, container: Container) -> None:
    """Remove the nameless volumes of a container that is about to go (``rm -v``, ``run --rm``),
    but for those that another one has. It comes before the record goes: a crash forgets none."""
    for mount in container.record.get("mounts") or []:
        if mount.get("anonymous"):
            try:
                Volumes(state).remove(mount["name"], but=(container.id,))
            except (NotFound, StateError):
                continue


def fill(volume: Volume, source: int | None) -> None:
    """A volume that is empty begins as a copy of the open directory ``source``, with its owner and
    mode. What a crash left of an earlier attempt is taken away; with None, that is all."""
    mark = volume.directory + "/filling"
    with lock.exclusive(volume.directory, wait=FILL):
        data = os.open(volume.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if os.path.exists(mark):
                tree.clear(data)
                os.unlink(mark)
            if source is None or os.listdir(data):
                return
            from minirun.image import treecopy

            os.close(os.open(mark, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            treecopy.copy_tree(source, data)
            os.unlink(mark)
        finally:
            os.close(data)


def names_in(container: Container) -> set[str]:
    """The names of the volumes that a container has."""
    mounts = container.record.get("mounts") or []
    return {mount["name"] for mount in mounts if mount.get("type") == "volume"}


def bind_device(options: Mapping[str, str]) -> str | None:
    """The directory of the host that ``-o type=none -o o=bind -o device=DIR`` asks for, if it is.

    Raises UsageError for what else Docker's driver could mount there.
    """
    if not options:
        return None
    device, words = options.get("device", ""), options.get("o", "").split(",")
    if not {"type", "o", "device"}.issuperset(options) or not {"bind", "rbind"} & set(words):
        raise UsageError(
            "a volume is a directory here: other file systems are not mounted for it",
            hint="mount it yourself, and: -o type=none -o o=bind -o device=DIRECTORY",
        )
    if not os.path.isabs(device) or "\0" in device:
        raise UsageError(f"volume option device={printable(device)}: it must begin with '/'")
    return device


def check_name(text: str) -> None:
    """Refuse what is no name of a volume, before it becomes part of a path."""
    fits = text and text[0] in LETTERS and LETTERS.union("_.-").issuperset(text)
    if not fits or not 1 < len(text) <= LONGEST_NAME:
        raise UsageError(
            f"{printable(text)[:80]!r} is not a name of a volume",
            hint="letters, digits, '_', '.' and '-', at least two, the first a letter or digit; "
            "a directory of the host begins with '/' or './'",
        )


def _load(directory: str) -> Volume:
    return Volume(directory, records.read(directory + "/volume.json") or {})


def _discard(directory: str) -> None:
    """Remove what was put aside, unless another process is at it."""
    try:
        with lock.exclusive(directory, wait=FILL):
            tree.rmtree(directory)
    except FileNotFoundError:
        return
