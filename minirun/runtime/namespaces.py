"""Namespaces: which of the kernel's tables a process sees (namespaces(7)).

The first child of ``create`` does this, in an order that is not free:

1. Join the namespaces that config.json names by path. A user namespace comes last of those that
   can be joined with the powers we have, first of those that need its powers.
2. A new user namespace before all other new ones: these then belong to it, and its root may do in
   them what root may do.
3. The rest in one unshare(2). The PID and time namespaces begin with the next child.

Interface: join, flags, new, maps, check_joined, set_time_offsets, raise_loopback.
"""

from __future__ import annotations

import os
from errno import EPERM

from minirun import idmap, linux
from minirun.errors import SpecError, printable
from minirun.runtime import spec as specs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from minirun.runtime.spec import Spec

CLOCKS = {"monotonic": 1, "boottime": 7}  # clock_gettime(2)
IFF_UP, SIOCSIFFLAGS = 0x1, 0x8914  # netdevice(7)


def join(spec: Spec) -> None:
    """Join the namespaces that are given by path (setns(2))."""
    waiting, others = [], set(specs.namespaces(spec))
    for kind, path in specs.namespaces(spec).items():
        if path:
            (flag, name), fd = specs.NAMESPACES[kind], _open(kind, path)
            waiting.append((kind, fd, flag))
            if os.path.samestat(os.fstat(fd), os.stat(f"/proc/self/ns/{name}")):
                others.remove(kind)
    specs.check_changes(spec, others)  # to join the host's own is not to have one
    waiting.sort(key=lambda entry: entry[0] == "user")
    for _ in range(2):  # what is refused at first may be allowed in the user namespace
        waiting = [entry for entry in waiting if not _try_to_join(*entry)]
    for kind, fd, flag in waiting:
        linux.setns(fd, flag)
        raise SpecError(f"linux.namespaces: cannot join the {kind} namespace")


def _open(kind: str, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SpecError(f"linux.namespaces: {kind}: {printable(path)}: {error.strerror}") from error


def _try_to_join(kind: str, fd: int, flag: int) -> bool:
    try:
        linux.setns(fd, flag)
    except PermissionError:
        return False
    except OSError as error:
        raise SpecError(
            f"linux.namespaces: {kind}: not such a namespace: {error.strerror}"
        ) from error
    os.close(fd)
    return True


def flags(kinds: Iterable[str]) -> int:
    """The CLONE_NEW* of these kinds of namespaces, together."""
    return sum(specs.NAMESPACES[kind][0] for kind in kinds)


def new(spec: Spec, *, user: bool) -> None:
    """Make the new user namespace, or all the other new ones (unshare(2))."""
    wanted = [kind for kind, path in specs.namespaces(spec).items() if not path]
    try:
        linux.unshare(flags(kind for kind in wanted if (kind == "user") is user))
    except OSError as error:
        if error.errno == EPERM and "user" not in specs.namespaces(spec) and os.geteuid():
            raise SpecError(
                "linux.namespaces: an ordinary user needs a user namespace to make others",
                hint="minirun-oci spec --rootless writes a config.json that has one",
            ) from error
        raise idmap.refusal(error) from error


def maps(spec: Spec) -> dict[str, list[idmap.Row]]:
    """{"uid": rows, "gid": rows} of linux.uidMappings and linux.gidMappings"""
    return {
        kind: idmap.rows(specs.get(spec, field) or []) or idmap.own(kind)
        for kind, field in idmap.FIELDS.items()
    }


def check_joined(spec: Spec) -> None:
    """A user namespace that is given by path has its maps already: config.json may repeat them."""
    for kind, field in idmap.FIELDS.items():
        wanted = idmap.rows(specs.get(spec, field) or [])
        if wanted and sorted(wanted) != sorted(idmap.read(kind)):
            raise SpecError(f"{field}: not those of the user namespace that is joined")


def set_time_offsets(spec: Spec) -> None:
    """Move the clocks of the new time namespace, before its first process exists."""
    for clock, offset in (specs.get(spec, "linux.timeOffsets") or {}).items():
        if clock not in CLOCKS:
            raise SpecError(f"linux.timeOffsets: unknown clock {printable(clock)}")
        text = f"{CLOCKS[clock]} {offset.get('secs') or 0} {offset.get('nanosecs') or 0}"
        linux.write_file("/proc/self/timens_offsets", text)


def raise_loopback() -> None:
    """Bring up "lo", which is down in a new network namespace. Its address comes with that."""
    from _socket import AF_INET, SOCK_DGRAM, socket
    from fcntl import ioctl

    request = b"lo".ljust(16, b"\0") + IFF_UP.to_bytes(2, "little") + bytes(22)  # struct ifreq
    with_socket = socket(AF_INET, SOCK_DGRAM)
    ioctl(with_socket.fileno(), SIOCSIFFLAGS, request)
    with_socket.close()
