"""The cgroup of a container: what its processes together may use (cgroups(7)).

    cgroup = prepare(linux.get("cgroupsPath"), container_id, resources)   # decides, makes nothing
    state["cgroup"] = cgroup.to_json()                                    # recorded before made
    cgroup.make()                                                         # the directories
    cgroup.apply(resources)                                               # the limits
    cgroup.enter()                  # in the child, before anything else: see there
    now = cgroup.update(now, wanted)    # other limits, while the container runs
    cgroup.freeze(); cgroup.thaw()
    cgroup.kill()
    cgroup.delete()                 # and kill who is left

Whether the machine has v1, v2 or both shows in no name here (hierarchy.py); which file a limit is
written to is decided by the pure twins v1.py and v2.py, and by devices.py (limits.py writes them).
"""

from __future__ import annotations

import os
from errno import EACCES, EBUSY, ENODEV, ENOENT, ENOTEMPTY, EPERM, EROFS

from minirun import calls
from minirun.errors import SpecError, StateError
from minirun.runtime.cgroup import files, freezer
from minirun.runtime.cgroup.hierarchy import Hierarchy, hierarchies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PARENT = "/minirun"
"""Containers whose config.json names no cgroup get one below this one, which goes with the last."""

# The v2 controller of each section of linux.resources that is not named like its controller.
CONTROLLER = {"blockIO": "io", "hugepageLimits": "hugetlb"}

# Others use it, removed it, or it is somebody else's.
NOT_OURS_TO_REMOVE = (EBUSY, ENOTEMPTY, ENOENT, EACCES, EPERM, EROFS)


def prepare(
    path: str | None,
    container_id: str,
    resources: dict[str, Any],
    *,
    rootless: bool = False,
    manager: str = "",
) -> Cgroup:
    """The cgroup that ``linux.cgroupsPath`` names, on the trees of this machine; nothing is made.

    A cgroup in which processes live already is refused: its limits and its end are not ours.
    With ``rootless``, trees that are not ours to change are left out if no limit needs them;
    with the ``manager`` systemd, that makes the cgroup, and with "disabled" all are left out.
    """
    trees = [] if manager == "disabled" else hierarchies(may_lack=rootless)
    if any(tree.version == 1 for tree in trees):
        # Joining v2's tree takes milliseconds (see enter): a hybrid joins it only if need be.
        needed = controllers(resources)
        trees = [tree for tree in trees if tree.version == 1 or needed & tree.controllers]
    if manager == "systemd":
        from minirun.runtime.cgroup import systemd

        cgroup: Cgroup = systemd.prepare(path, container_id, trees, user=rootless)
    elif rootless or not trees:
        from minirun.runtime.cgroup import delegation, limits

        path = path or delegation.our_path(trees, f"{PARENT}/{container_id}")
        cgroup = Cgroup(normal_path(path), trees)
        needed = limits.controllers(cgroup, resources)
        if manager == "disabled" and resources.get("devices"):
            needed.add("devices")
        cgroup.trees = delegation.ours(trees, cgroup.path)
        delegation.require(cgroup.trees, needed)
    else:
        cgroup = Cgroup(normal_path(path or f"{PARENT}/{container_id}"), trees)
    if pids := cgroup.pids():
        raise StateError(
            f"cgroup {cgroup.path} is in use, by process {min(pids)} for one",
            hint="choose another linux.cgroupsPath, or end what runs there",
        )
    if freezer.is_frozen(cgroup, above=True):
        raise StateError(
            f"cgroup {cgroup.path} is frozen, or one above it: nothing in it would ever begin",
            hint="echo THAWED > freezer.state (v1), echo 0 > cgroup.freeze (v2)",
        )
    return cgroup


def controllers(resources: dict[str, Any]) -> set[str]:
    """The controllers that these limits need, by their names in v2."""
    sections = {CONTROLLER.get(section, section) for section in resources if resources[section]}
    return sections | {file.partition(".")[0] for file in resources.get("unified") or ()}


def normal_path(path: str) -> str:
    """``linux.cgroupsPath`` below the top of each tree, whether written absolute or relative."""
    names = [name for name in path.split("/") if name]
    if not names or any(name in (".", "..") or not name.isprintable() for name in names):
        raise SpecError(f"linux.cgroupsPath: {path!r} is no path of a cgroup")
    return "/" + "/".join(names)


class Cgroup:
    """A directory of the same name in each tree. No method minds what is gone already."""

    def __init__(self, path: str, trees: list[Hierarchy]) -> None:
        self.path = path
        self.trees = trees

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` needs, so that another process can end what this one began."""
        trees = [[tree.version, tree.mount, sorted(tree.controllers)] for tree in self.trees]
        return {"path": self.path, "trees": trees}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Cgroup:
        trees = [Hierarchy(version, mount, frozenset(c)) for version, mount, c in record["trees"]]
        if "systemd" in record:
            from minirun.runtime.cgroup.systemd import Scope

            return Scope(record["path"], trees, user=record["systemd"] == "user")
        return cls(record["path"], trees)

    def directories(self) -> list[str]:
        return [tree.mount + self.path for tree in self.trees]

    def directory(self, controller: str) -> str | None:
        """Where the limits of a controller are set; None if the machine lacks it."""
        for tree in self.trees:
            if controller in tree.controllers:
                return tree.mount + self.path
        return None

    def version(self, controller: str) -> int:
        """The version whose files a limit is to be written to, even if no tree has them."""
        for tree in self.trees:
            if controller in tree.controllers:
                return tree.version
        return self.trees[0].version if self.trees else 2

    # making and limiting

    def make(self) -> None:
        """Make the directories, ready for limits and processes."""
        for tree in self.trees:
            for attempt in range(100):
                try:
                    tree.make(self.path)
                    break
                except OSError as error:
                    # PARENT may go under our feet, with the last container that was in it
                    if error.errno not in (ENOENT, ENODEV) or attempt == 99:
                        raise

    def apply(self, resources: dict[str, Any]) -> None:
        """Set the limits of ``linux.resources``; one that cannot be set is an error naming it."""
        from minirun.runtime.cgroup import limits

        limits.apply(self, resources)

    def update(self, now: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        """Change the limits, which are ``now``, to those ``wanted``; the ones that hold then."""
        from minirun.runtime.cgroup import limits

        return limits.update(self, now, wanted)

    # processes

    def enter(self, below: Mapping[str, str] = {}) -> None:
        """Move the calling process, which must have one thread only, into the cgroup.

        ``below`` has paths of cgroups in it, which are taken instead, for a controller or for "".

        v1 moves the calling thread (tasks) without a global lock, and so in some microseconds;
        moving a process (cgroup.procs) waits 5 to 20 ms until all processors have seen that lock.
        """
        for tree in self.trees:
            file = "tasks" if tree.version == 1 else "cgroup.procs"
            path = next((below[c] for c in ("", *tree.controllers) if c in below), "")
            calls.write_file(f"{tree.mount}{self.path}{path}/{file}", "0")

    def of(self, pid: int) -> Cgroup:
        """The cgroup of the one v2 tree that a process is in (cgroups(7), /proc/PID/cgroup)."""
        lines = files.read(f"/proc/{pid}/cgroup").splitlines()
        return Cgroup(next(line[3:] for line in lines if line.startswith("0::")), self.trees)

    def pids(self) -> set[int]:
        """All processes in the cgroup and in those that the container made below it."""
        return {
            pid
            for top in self.directories()
            for directory in files.walk(top)
            for pid in files.pids(directory)
        }

    def kill(self) -> None:
        """Kill every process in the cgroup, frozen or not, and return when none is left."""
        freezer.kill(self)

    def freeze(self) -> None:
        """Stop every process in the cgroup, wherever it is; all stand still afterwards."""
        freezer.freeze(self)

    def thaw(self) -> None:
        """Undo ``freeze``."""
        freezer.thaw(self)

    def is_frozen(self) -> bool:
        return freezer.is_frozen(self)

    # looking, and the end

    def oom_kills(self) -> int:
        """How many processes the out-of-memory killer has killed; 0 once the cgroup is gone."""
        directory = self.directory("memory")
        if directory is None:
            return 0
        file = "memory.oom_control" if self.version("memory") == 1 else "memory.events"
        for line in files.lines(f"{directory}/{file}"):
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
        return 0

    def memory_limit(self) -> int | None:
        """In bytes; None if there is no limit."""
        directory = self.directory("memory")
        if directory is None:
            return None
        file = "memory.limit_in_bytes" if self.version("memory") == 1 else "memory.max"
        text = "".join(files.lines(f"{directory}/{file}")) or "max"
        # v1 says "no limit" with the highest multiple of a page that a long can hold
        return None if text == "max" or int(text) >= 0x7FFFFFFFFFFFF000 else int(text)

    def delete(self) -> None:
        """Kill who is left, and remove the directories, those of the container's making first.

        Most often nobody is left. That is seen by rmdir(2) itself, which needs no list of them.
        """
        left = [top for top in self.directories() if not files.remove_directory(top)]
        if left:
            self.kill()
        for directory in (below for top in left for below in files.walk(top)):
            if not files.remove_directory(directory, patience=2):
                raise OSError(EBUSY, "a process or a cgroup does not leave it", directory)
        for top in self.directories():
            parent = top.rpartition("/")[0]
            if parent.endswith(PARENT):
                try:
                    os.rmdir(parent)
                except OSError as error:
                    if error.errno not in NOT_OURS_TO_REMOVE:
                        raise
