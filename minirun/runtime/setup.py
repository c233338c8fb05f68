"""What the steps of ``create`` and ``exec`` work on: create.py and init.py, exec.py."""

from __future__ import annotations

from minirun.runtime.sync import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from minirun.runtime.agent import Agent
    from minirun.runtime.apparmor import Profile
    from minirun.runtime.cgroup import Cgroup
    from minirun.runtime.container import Container
    from minirun.runtime.rootfs import Root
    from minirun.runtime.step import Explainer


class Setup:
    """A process that is being made: a container's first one, or with exec one more.

    It is shared by fork(2), not by memory: what a child's step leaves here, the parent never sees.
    """

    def __init__(self, container: Container, spec: dict[str, Any], cgroup: Cgroup) -> None:
        self.container = container
        self.spec = spec
        self.process: dict[str, Any] = spec["process"]  # for exec: of the command, not of init
        self.cgroup = cgroup
        self.bundle: str = container.state["bundle"]
        # what the command line says
        self.explainer: Explainer | None = None
        self.console_socket = ""
        self.preserved = 0  # how many file descriptors above 2 the command is to have
        self.pivot = True
        self.new_keyring: bool = container.state["newKeyring"]
        # what steps leave behind for later ones
        self.channel, self.end_of_child = Channel.pair()
        self.first_child = self.pid = 0  # its pid, and the command's
        self.listener: socket  # what "start" connects to
        self.root: Root
        self.init = -1  # exec: a pidfd of the container's first process
        self.below: dict[str, str] = {}  # exec: {controller: path below the container's cgroup}
        self.outside = -1  # the host's mount namespace, if the container has none of its own
        self.null = self.image = self.image_reader = self.last_cap = -1
        self.master: int | None = None  # of the terminal
        self.may_set_groups = True
        self.path = self.suspicion = ""  # of the command
        self.filter, self.filter_flags = b"", 0
        self.memory_policy: tuple[int, bytes] | None = None
        self.agent: Agent | None = None  # of seccomp
        self.profile: Profile | None = None  # of AppArmor

    def become_child(self) -> None:
        """Keep the child's end of the conversation only."""
        self.channel.close()
        self.channel = self.end_of_child

    def borrow_tree(self, index: int) -> int:
        """In the child: the tree of mounts[index], cloned by the parent (lend.py)."""
        self.channel.send("tree", index)
        fd = self.channel.expect("tree")[1]
        assert fd is not None
        return fd

    def helpers(self) -> list[int]:
        """The file descriptors that the trampoline needs besides the one to be started by."""
        agent = [self.agent.socket.fileno()] if self.agent else []
        return agent + ([self.profile.proc] if self.profile else [])

    def tell(self) -> None:
        """Let the explainer speak, if there is one, before a step that does not return."""
        if self.explainer:
            self.explainer.finish()

    def linux(self, field: str) -> Any:
        return (self.spec.get("linux") or {}).get(field)
