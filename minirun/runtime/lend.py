"""Bind mounts that take the host's powers: the parent makes them, and hands them to the child.

Root of a user namespace is an ordinary user of the host, who may not reach every volume that the
container was given (/var/lib/kubelet is closed to others), and has no power over the file system
that it lies on. That power is needed for ``idmap``: a mount that shows other owners than the file
system has (mount_setattr(2), "ID-mapped mounts").

The parent has the powers, but its mount namespace is the host's. So it forks a process that enters
the container's, where clones are locked as all that came from outside: read-only stays read-only.

Interface: lend.
"""

from __future__ import annotations

import os
from errno import EINVAL

from minirun import errors, idmap, linux
from minirun.runtime import mounts
from minirun.runtime.process import live
from minirun.runtime.sync import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.setup import Setup


def lend(setup: Setup, index: int) -> None:
    """Answer the child's message "tree": the file descriptor of a mount for ``mounts[index]``."""
    def lend_tree(setup: Setup) -> None:
        setup.channel.send("tree", fd=_tree(setup, index))
        os._exit(0)

    pid = linux.fork()
    if pid == 0:
        live(setup, (lend_tree,))  # the child is told what goes wrong
    if os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        raise errors.StepError(f"mounts[{index}]: the process that was to lend it was killed")


def _tree(setup: Setup, index: int) -> int:
    mount, place = setup.spec["mounts"][index], f"mounts[{index}]"
    options = mounts.parse(mount, place)
    init = setup.container.state["pid"]
    mapped = options.special & {"idmap", "ridmap"}
    source = errors.printable(mount["source"])
    if os.geteuid():  # an ordinary user can do no more than root of their container
        what = "an ID-mapped mount is root's to make" if mapped else "Permission denied"
        raise errors.StepError(f"{place}.source: {source}: {what}")
    namespace = _user_namespace(mount, init) if mapped else -1
    fd = os.open(f"/proc/{init}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    linux.setns(fd, linux.CLONE_NEWNS)
    try:
        tree = mounts.clone(os.path.join(setup.bundle, mount["source"]), options)
    except OSError as error:
        raise errors.StepError(f"{place}.source: {source}: {error.strerror}") from error
    if mapped:
        flags = linux.AT_EMPTY_PATH | (linux.AT_RECURSIVE if "ridmap" in mapped else 0)
        try:
            linux.mount_setattr(tree, "", flags, set=linux.MOUNT_ATTR_IDMAP, userns_fd=namespace)
        except OSError as error:
            why = "its file system has no ID-mapped mounts" * (error.errno == EINVAL)
            raise errors.StepError(
                f"{place}.options: idmap: {source}: {why or error.strerror}"
            ) from error
    return tree


def _user_namespace(mount: dict[str, Any], init: int) -> int:
    """One with the mappings of the mount, or the container's own."""
    if not mount.get("uidMappings"):
        return os.open(f"/proc/{init}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    ours, theirs = Channel.pair()
    holder = linux.fork()
    if holder == 0:
        ours.close()
        linux.unshare(linux.CLONE_NEWUSER)
        theirs.send("maps")
        theirs.receive()  # until the other end is closed: then it has the namespace, or is dead
        os._exit(0)
    theirs.close()
    ours.receive()
    maps = {kind: idmap.rows(mount[f"{kind}Mappings"]) for kind in idmap.FIELDS}
    idmap.write(holder, maps)
    namespace = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    ours.close()
    os.waitpid(holder, 0)
    return namespace
