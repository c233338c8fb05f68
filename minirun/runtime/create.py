"""The parent half: how a container comes into being.

``create`` takes STEPS; the child half is in init.py, and sync.py draws how they talk. When a step
fails, on either side, everything made so far is undone. What has to be undone is written down
before it is made, so that after a ``kill -9`` of this process ``delete --force`` can still do it.

Interface: prepare, create. What follows is in commands/start.py and ending.py.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

from minirun import errors, idmap, linux
from minirun.runtime import cgroup as cgroups
from minirun.runtime import ending, hooks, init, namespaces, process
from minirun.runtime import spec as specs
from minirun.runtime.container import Container, start_time
from minirun.runtime.setup import Setup
from minirun.runtime.step import take

TYPE_CHECKING = False
if TYPE_CHECKING:

    from minirun.runtime.spec import Spec


def prepare(
    root: str,
    container_id: str,
    bundle: str,
    spec: Spec,
    text: bytes,
    *,
    rootless: bool = False,
    manager: str = "",
    new_keyring: bool = True,
) -> Setup:
    """Decide all that can be decided before anything is made, and write it down.

    With ``rootless`` we do without a cgroup where none can be had, if config.json sets no limits;
    with the ``manager`` systemd, that makes the cgroup, and with "disabled" there is none. Without
    ``new_keyring`` the container's processes, those of exec too, keep their caller's keyring.
    """
    specs.check_label(spec)
    resources = specs.get(spec, "linux.resources") or {}
    path = specs.get(spec, "linux.cgroupsPath")
    cgroup = cgroups.prepare(path, container_id, resources, rootless=rootless, manager=manager)
    if not cgroup.trees and "pid" not in specs.namespaces(spec):
        raise errors.SpecError(
            "linux.namespaces: without a cgroup of its own a container needs a PID namespace",
            hint="all its processes could not be found again, and not be ended",
        )
    state = {
        "bundle": bundle,
        "rootfs": os.path.normpath(os.path.join(bundle, spec["root"]["path"])),
        "annotations": spec.get("annotations") or {},
        "cgroup": cgroup.to_json(),
        "newKeyring": new_keyring,
    }
    return Setup(Container.create(root, container_id, text, state), spec, cgroup)


def create(setup: Setup) -> None:
    """Make the container; afterwards it is "created", and its command waits for ``start``."""
    try:
        take(STEPS, setup, setup.explainer)
    except BaseException:
        setup.channel.close()  # who waits for an answer ends
        ending.destroy(setup.container)
        process.reap(setup)
        raise


def open_door(setup: Setup) -> None:
    """Open the door that "start" will knock at: a socket in the container's directory.

    why:    its other end is the container's first process, which waits there to be let go
    shell:  ls -l /run/minirun/oci/ID/start
    man:    unix(7), accept(2)
    """
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    listener.bind(f"/proc/self/fd/{setup.container.lock_fd}/start")  # any length of path
    listener.listen(1)
    setup.listener = listener


def make_cgroup(setup: Setup) -> None:
    """Make the cgroup in which the container's processes are counted and limited.

    why:    a limit on one process is escaped by starting another; a cgroup's is not
    shell:  mkdir /sys/fs/cgroup/minirun/ID
    man:    cgroups(7)
    """
    setup.cgroup.make()


def fork_child(setup: Setup) -> None:
    """Fork the process that goes into the namespaces.

    why:    what we unshare ourselves we could not leave again
    shell:  unshare --fork …
    man:    fork(2), unshare(2), prctl(2) (PR_SET_CHILD_SUBREAPER)
    """
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # the grandchild becomes our child
    setup.first_child = linux.fork()
    if setup.first_child == 0:
        setup.become_child()
        setup.container.unlock()  # that is the parent's
        process.live(setup, init.FIRST_STEPS)
    setup.end_of_child.close()
    setup.listener.close()  # the child has it; when that dies, nobody shall answer the door


def record_init(setup: Setup) -> None:
    """Map the IDs of a new user namespace, and record the container's first process.

    why:    only from outside can a process be given more than its own ID; and what is written down
            can be cleared away, whatever happens to us
    shell:  newuidmap PID 0 100000 65536
    man:    user_namespaces(7), proc_pid_stat(5)
    """
    message = process.receive(setup)
    if message[0] == "maps":
        idmap.write(setup.first_child, namespaces.maps(setup.spec))
        setup.channel.send("go")
        message = process.receive(setup)
    pid = setup.pid = message[1]
    setup.container.record("process.json", {"pid": pid, "startTime": start_time(pid)})
    if devices := setup.linux("netDevices"):
        from minirun.runtime import netdevices

        netdevices.move(devices, pid)
    setup.channel.send("go", pid)


def limit(setup: Setup) -> None:
    """Wait until all is mounted, set the limits of the cgroup, and run the hooks for this moment.

    why:    limits come now, so that they bind the command and not the making of its devices
    shell:  echo 64M > /sys/fs/cgroup/minirun/ID/memory.max
    man:    cgroups(7)
    """
    import minirun.runtime.cgroup.limits  # noqa: F401 (while the child has something to do)

    message = process.receive(setup)
    while message[0] == "tree":
        from minirun.runtime import lend

        lend.lend(setup, message[1])
        message = process.receive(setup)
    setup.cgroup.apply(setup.linux("resources") or {})
    for kind, status in (("prestart", "created"), ("createRuntime", "creating")):
        hooks.run(setup.spec, kind, setup.container.report(status))
    setup.channel.send("go")
    process.send_filter(setup)


def await_ready(setup: Setup) -> None:
    """Wait until nothing but the command is left to do, and set its resource limits.

    why:    a limit such as RLIMIT_AS must not hit Python; raising one needs our powers
    shell:  prlimit --pid PID --nofile=1024:4096
    man:    prlimit(2), getrlimit(2)
    """
    suspicion = process.receive_ready(setup)
    os.waitpid(setup.first_child, 0)
    if suspicion:
        setup.container.write("suspicion", os.fsencode(suspicion))
    if not (setup.spec.get("hooks") or {}).get("startContainer"):
        setup.channel.receive()  # an error, or the end of file that execve(2) brings
    process.set_limits(setup.process, setup.container.state["pid"])
    process.prioritise(setup.process, setup.container.state["pid"])


STEPS = (
    open_door,
    make_cgroup,
    fork_child,
    record_init,
    process.compile_filter,
    limit,
    await_ready,
)
