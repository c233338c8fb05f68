"""Cgroups without being root: those that root has given away (cgroups(7), "Cgroup delegation").

To give a cgroup away is to make its directory somebody else's. systemd does so for the manager of
each user's session; on v1 it takes a root who says ``chown``. Whoever owns no cgroup may still run
containers, in the cgroup that they are in themselves, but none that has limits.

Device rules are left out. They need CAP_SYS_ADMIN on the machine itself, and they would forbid
nothing: in a user namespace no device file can be made, no mount made there obeys one, and those of
the host's that are bound into the container open to it only if they open to its caller.

Interface: our_path, ours, require.
"""

from __future__ import annotations

import os

from minirun.errors import Error
from minirun.runtime.cgroup import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.cgroup.hierarchy import Hierarchy


def our_path(trees: list[Hierarchy], name: str) -> str:
    """Where a container goes whose config.json does not say it: beside the cgroup that we are in.

    Not below that: a v2 cgroup with processes in it cannot give controllers to its children.
    """
    for tree in trees:
        parent = os.path.dirname(own(tree))
        if os.access(tree.mount + parent, os.W_OK, effective_ids=True):
            return parent.rstrip("/") + name
    return name


def ours(trees: list[Hierarchy], path: str) -> list[Hierarchy]:
    """The trees in which we may make the cgroup ``path`` and enter it."""
    return [tree for tree in trees if _may_make(tree, path)]


def _may_make(tree: Hierarchy, path: str) -> bool:
    nearest = path
    while not os.path.isdir(tree.mount + nearest):
        nearest = os.path.dirname(nearest)
    needed = [tree.mount + nearest]
    if tree.version == 2:  # who moves a process needs the cgroup that is above both places
        needed.append(tree.mount + os.path.commonpath([own(tree), path]) + "/cgroup.procs")
    return all(os.access(file, os.W_OK, effective_ids=True) for file in needed)


def own(tree: Hierarchy) -> str:
    """The cgroup of this process in a tree (proc_pid_cgroup(5))."""
    controllers = tree.controllers if tree.version == 1 else {""}
    for line in files.read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if set(names.split(",")) == controllers:
            return path
    return "/"


def require(trees: list[Hierarchy], controllers: set[str]) -> None:
    """Refuse limits of controllers that no cgroup of ours has."""
    missing = controllers.difference(*(tree.controllers for tree in trees))
    if missing:
        raise Error(
            f"linux.resources: no limits for {', '.join(sorted(missing))}: "
            "the cgroups are not ours to change",
            hint="leave the limits out, or get a cgroup of your own: systemd-run --user --scope "
            "-p Delegate=yes … (v1: root makes one and gives it away with chown -R)",
        )
