"""Which cgroup hierarchies this machine has (cgroups(7)).

    v1       a tree of directories for each controller: /sys/fs/cgroup/memory, …/pids, …
    v2       one tree for all of them: /sys/fs/cgroup itself
    hybrid   v1's trees, and a v2 tree beside them: /sys/fs/cgroup/unified

A controller lives in one tree only, and the tree's version says which files its limits are
written to. So nobody asks "is this v1 or v2?", only "in which tree is this controller?".
"""

from __future__ import annotations

from minirun import calls
from minirun.errors import Error
from minirun.runtime.cgroup import files

ROOT = "/sys/fs/cgroup"

# Words among the mount options of a v1 tree that are not controllers.
_OPTIONS = {"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "seclabel"}


class Hierarchy:
    """One mounted tree: ``mount`` is its top, ``controllers`` what can be limited in it."""

    __slots__ = ("controllers", "mount", "version")

    def __init__(self, version: int, mount: str, controllers: frozenset[str]) -> None:
        self.version = version
        self.mount = mount
        self.controllers = controllers

    def make(self, path: str) -> None:
        """Make the cgroup ``path``, level by level from the top, each able to be limited."""
        directory = self.mount
        for name in path.split("/")[1:]:
            if self.version == 2:
                _delegate(directory)
            directory += "/" + name
            files.make_directory(directory)
            if "cpuset" in self.controllers and self.version == 1:
                _inherit_cpuset(directory)


def _inherit_cpuset(directory: str) -> None:
    """v1's cpuset takes no process before it is told which processors and memory nodes to use."""
    parent = directory.rpartition("/")[0]
    for file in ("cpuset.cpus", "cpuset.mems"):
        if not files.read(f"{directory}/{file}").strip():
            calls.write_file(f"{directory}/{file}", files.read(f"{parent}/{file}").strip())


def _delegate(directory: str) -> None:
    """Let the children of a v2 cgroup be limited by every controller that it has itself.

    A controller that cannot be had (a parent with processes in it: the "no internal processes"
    rule) is no error yet; a limit that needs it will be.
    """
    available = set(files.read(f"{directory}/cgroup.controllers").split())
    enabled = set(files.read(f"{directory}/cgroup.subtree_control").split())
    for controller in sorted(available - enabled):
        try:
            calls.write_file(f"{directory}/cgroup.subtree_control", f"+{controller}")
        except OSError:
            continue


def parse(mountinfo: str) -> list[tuple[int, str, frozenset[str]]]:
    """(version, mount point, v1 controllers) of each tree in a /proc/self/mountinfo, v1 first.

    proc_pid_mountinfo(5). Only what is mounted below /sys/fs/cgroup counts: anything else is a
    view of the same trees, given to some container. What is mounted over another one hides it.
    """
    trees = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        mount = before.split(" ")[4]
        fstype, _, options = after.split(" ", 2)
        if not fstype.startswith("cgroup") or not f"{mount}/".startswith(f"{ROOT}/"):
            continue
        words = {word for word in options.split(",") if not word.startswith("release_agent=")}
        controllers = words - _OPTIONS if fstype == "cgroup" else set()
        trees[mount] = 1 if fstype == "cgroup" else 2, mount, frozenset(controllers)
    return sorted(trees.values(), key=lambda tree: tree[0])


def hierarchies(*, may_lack: bool = False) -> list[Hierarchy]:
    """The trees of this machine, v1 first; none only if it ``may_lack`` them."""
    trees = parse(files.read("/proc/self/mountinfo"))
    if not trees and not may_lack:
        raise Error(
            f"no cgroup file system is mounted below {ROOT}",
            hint=f"mount -t cgroup2 cgroup2 {ROOT} (`ip netns exec` hides it: use nsenter)",
        )
    return [
        Hierarchy(version, mount, controllers if version == 1 else _v2_controllers(mount))
        for version, mount, controllers in trees
    ]


def _v2_controllers(mount: str) -> frozenset[str]:
    return frozenset(files.read(f"{mount}/cgroup.controllers").split())
