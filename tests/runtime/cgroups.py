"""What the tests of cgroups share: a process in one, and what the kernel says of it."""

import os
import signal
from collections.abc import Callable

import pytest

from minirun import linux
from minirun.runtime import cgroup
from minirun.runtime.cgroup import Cgroup


class Child:
    """A process that enters a cgroup and then does something until it is killed."""

    def __init__(self, group: Cgroup, body: Callable[[], object] = signal.pause) -> None:
        ready, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever the tests come to
                group.enter()
                os.write(told, b"x")
                body()
            finally:
                os._exit(99)
        os.close(told)
        assert os.read(ready, 1) == b"x"
        os.close(ready)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def fact(group: Cgroup, v1: tuple[str, str], v2: tuple[str, str]) -> str:
    """What the kernel says in a file of (controller, file) of its version."""
    version = (
        1 if any(v1[0] in tree.controllers for tree in group.trees if tree.version == 1) else 2
    )
    controller, file = v1 if version == 1 else v2
    directory = group.directory(controller)
    if directory is None:
        pytest.skip(f"no controller {controller}")
    with open(f"{directory}/{file}") as stream:
        return stream.read().strip()


def needs(group: Cgroup, controller: str) -> None:
    if group.directory(controller) is None:
        pytest.skip(f"this machine has no controller {controller}")


def group_of(pid: int) -> Cgroup:
    """The cgroup of any process, whichever runtime made it."""
    with open(f"/proc/{pid}/cgroup") as file:
        paths = dict(line.strip().split(":", 2)[1:] for line in file)
    trees = cgroup.hierarchies()
    if trees[0].version == 1:
        trees = [tree for tree in trees if tree.version == 1]
    return Cgroup(paths.get("memory", paths.get("", "/")), trees)
