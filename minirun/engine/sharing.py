"""Namespaces that a container does not have for itself: --network, --pid, --ipc, --uts, --cgroupns.

``host`` takes the namespace out of config.json, so the container is in this machine's. With
``container:NAME`` it stays in, to be joined: its path is /proc/container:NAME/ns/pid, of which
``share`` makes /proc/1234/ns/pid at each start, for the other may be another process each time.
Without it no such path exists, and so no container starts. namespaces(7)

Interface: network, pid, ipc, uts, cgroupns, userns (edits of config.json), leave, share.
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

    Document = dict[str, Any]

OTHER = "container:"
FILES = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}
PROC = "/proc/"
SHM = "/dev/shm"


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
        _replace_shm(spec, f"{PROC}{text}/root{SHM}")


def uts(spec: Document, text: str) -> None:
    """The hostname is then the other's, and not ours to set."""
    _choose(spec, "uts", "--uts", text)
    if not is_own(spec, "uts"):
        spec.pop("hostname", None)


def cgroupns(spec: Document, text: str) -> None:
    _choose(spec, "cgroup", "--cgroupns", text)


def userns(_: Document, text: str) -> None:
    """Root of a container is root of the machine, or of the user who started it (rootless)."""
    if text != "host":
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


def share(spec: Document, lookup: Callable[[str], int]) -> None:
    """Join the namespaces of other containers; ``lookup(name)`` is the process id of one.

    ``lookup`` raises what is to be said when that container is unknown, or does not run.
    """
    for entry in spec["linux"]["namespaces"]:
        if "path" in entry:
            entry["path"] = _found(entry["path"], lookup)
    for mount in spec["mounts"]:
        if mount["source"].startswith(PROC + OTHER):
            mount["source"] = _found(mount["source"], lookup)
            _check_shm(mount["source"].removesuffix(SHM))


def _found(path: str, lookup: Callable[[str], int]) -> str:
    """``/proc/container:NAME/…`` with a number in its place; other paths as they are."""
    if not path.startswith(PROC + OTHER):
        return path
    name, _, rest = path.removeprefix(PROC + OTHER).partition("/")
    return f"{PROC}{lookup(name)}/{rest}"


def _check_shm(path: str) -> None:
    """Refuse a /dev/shm, below another container's root ``path``, that could lead elsewhere.

    What is read through /proc/PID/root is that container's to change: a link in place of /dev
    would lead to a directory of this machine. But a directory on which something is mounted can be
    neither moved nor removed: so both must be such, and no links. openat2(2), rename(2)
    """
    root = os.open(path, os.O_PATH | os.O_DIRECTORY)
    how = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_SYMLINKS
    above = os.fstat(root).st_dev
    try:
        for place in ("dev", SHM.lstrip("/")):
            fd = linux.openat2(root, place, os.O_PATH | os.O_DIRECTORY, resolve=how)
            found = os.fstat(fd).st_dev
            os.close(fd)
            if found == above:
                raise FileNotFoundError
            above = found
    except OSError:
        raise StateError("--ipc: that container has no /dev/shm to share") from None
    finally:
        os.close(root)


def _replace_shm(spec: Document, source: str) -> None:
    for mount in spec["mounts"]:
        if mount["destination"] == SHM:
            mount.update(
                type="bind",
                source=source,
                options=["bind", "rprivate", "nosuid", "noexec", "nodev"],
            )
