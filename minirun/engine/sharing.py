"""Namespaces that a container does not have for itself: --network, --pid, --ipc, --uts, --cgroupns.

``host`` takes the namespace out of config.json, so the container is in this machine's. With
``container:NAME`` it stays in, to be joined: its path is /proc/container:NAME/ns/pid, of which
``share`` makes /proc/1234/ns/pid at each start, for the other may be another process each time.
Without it no such path exists, and so no container starts. namespaces(7)

/dev/shm goes with --ipc, but is a mount and no namespace: one that others may have is mounted in
the container's directory (``offer_shm``), for what is mounted inside only is out of their reach.

Interface: network, pid, ipc, uts, cgroupns, userns (edits of config.json), leave, share, offer_shm,
withdraw_shm.
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.engine.container import check_name
from minirun.errors import StateError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirun.engine.container import Container

    Document = dict[str, Any]

OTHER = "container:"
FILES = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}
PROC = "/proc/"
SHM = "/dev/shm"
OFFERED = "shm"  # in the directory of a container


def network(spec: Document, names: Sequence[str]) -> None:
    """``host`` and ``container:NAME``: the network of another. Else one of its own, with nothing
    but lo in it until its monitor has it plugged in (network/attach.py)."""
    if names[0] == "host" or names[0].startswith(OTHER):
        _choose(spec, "network", "--network", names[0])


def pid(spec: Document, text: str) -> None:
    _choose(spec, "pid", "--pid", text)


def ipc(spec: Document, text: str) -> None:
    """System V's shared memory, POSIX message queues, and what lies in /dev/shm: shm_open(3)."""
    if text == "none":
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["destination"] != SHM]
    elif text != "shareable":
        _choose(spec, "ipc", "--ipc", text)
    if text == "host":
        _replace_shm(spec, SHM)
    elif text.startswith(OTHER):
        _replace_shm(spec, PROC + text)


def uts(spec: Document, text: str) -> None:
    """The hostname is then the other's, and not ours to set."""
    _choose(spec, "uts", "--uts", text)
    if not is_own(spec, "uts"):
        spec.pop("hostname", None)


def cgroupns(spec: Document, text: str) -> None:
    _choose(spec, "cgroup", "--cgroupns", text)


def userns(_: Document, text: str) -> None:
    """Root of a container is root of the machine, or of the user who started it (rootless)."""
    if text not in ("", "host"):
        raise UsageError(
            f"--userns {printable(text)[:80]}: a container has the ids of whoever starts it",
            hint="run minirun as an ordinary user: then the container's root is nobody special",
        )


def _choose(spec: Document, kind: str, flag: str, text: str) -> None:
    if text == "host":
        leave(spec, kind)
    elif text.startswith(OTHER):
        check_name(text.removeprefix(OTHER))
        entry = next(ns for ns in spec["linux"]["namespaces"] if ns["type"] == kind)
        entry["path"] = f"{PROC}{text}/ns/{FILES[kind]}"
    elif text not in ("", "private"):
        raise UsageError(
            f"{flag} {printable(text)[:80]}: unknown", hint=f"{flag} host, or {flag} container:NAME"
        )


def leave(spec: Document, *kinds: str) -> None:
    """Let the container be in the host's namespaces of these kinds."""
    namespaces = spec["linux"]["namespaces"]
    spec["linux"]["namespaces"] = [ns for ns in namespaces if ns["type"] not in kinds]


def is_own(spec: Document, kind: str) -> bool:
    """Whether the container has a new namespace of this kind."""
    return {"type": kind} in spec["linux"]["namespaces"]


def share(spec: Document, lookup: Callable[[str], Container]) -> None:
    """Join the namespaces of other containers; ``lookup(name)`` finds one that runs.

    It raises what is to be said when that container is unknown, or does not run.
    """
    for entry in spec["linux"]["namespaces"]:
        name, slash, rest = entry.get("path", "").removeprefix(PROC + OTHER).partition("/")
        if name and slash:
            entry["path"] = f"{PROC}{lookup(name).state['pid']}/{rest}"
    for mount in spec["mounts"]:
        if mount["source"].startswith(PROC + OTHER):
            mount["source"] = _offered(lookup(mount["source"].removeprefix(PROC + OTHER)))


def _offered(other: Container) -> str:
    """The /dev/shm of a container with --ipc shareable; nobody can mount one of another's own."""
    path = other.path(OFFERED)
    if not os.path.ismount(path):
        raise StateError(
            f"container {other.name} keeps its shared memory for itself",
            hint="make it with --ipc shareable",
        )
    return path


def offer_shm(spec: Document, container: Container) -> None:
    """Mount /dev/shm out here, where other containers can mount it, too (--ipc shareable)."""
    path = container.path(OFFERED)
    os.makedirs(path, exist_ok=True)
    withdraw_shm(container)
    mount = next(mount for mount in spec["mounts"] if mount["destination"] == SHM)
    data = ",".join(option for option in mount["options"] if "=" in option)
    flags = linux.MS_NOSUID | linux.MS_NOEXEC | linux.MS_NODEV
    linux.mount("shm", path, "tmpfs", flags, data)
    _replace_shm(spec, path)


def withdraw_shm(container: Container) -> None:
    """Unmount it; containers that have it keep it."""
    path = container.path(OFFERED)
    if os.path.ismount(path):
        linux.umount2(path, linux.MNT_DETACH)


def _replace_shm(spec: Document, source: str) -> None:
    for mount in spec["mounts"]:
        if mount["destination"] == SHM:
            mount.update(
                type="bind",
                source=source,
                options=["bind", "rprivate", "nosuid", "noexec", "nodev"],
            )
