"""Devices of the host in a container: --device, --device-cgroup-rule, and all with --privileged.

Two things are needed for each: a node in the container's /dev (``linux.devices``), and leave of the
cgroup to open it (``linux.resources.devices``). config-linux.md, mknod(2)
"""

from __future__ import annotations

import os
import stat

from minirun import defaults
from minirun.engine import values
from minirun.errors import NotFound, UsageError, printable
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Document = dict[str, Any]

# Below /dev, and not a device that a container should have: it has its own.
OTHERS = {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts"}


def device(spec: Document, texts: Sequence[str]) -> None:
    """Each is a device of the host, a directory of them, or the name of a CDI device."""
    names = [text for text in texts if not text.startswith("/")]
    for host, place, access in (values.device(text) for text in texts if text not in names):
        for found in described(host, place):
            add(spec, found, access)
    if names:
        from minirun.engine import cdi

        cdi.apply(spec, names)


def described(host: str, place: str) -> list[Document]:
    """The device node ``host`` as the container shall have it; or those of a directory in /dev."""
    top = bundle.absolute(host)
    if not os.path.exists(top):
        raise NotFound(f"--device {printable(host)}: no such file", hint="for a list: ls -l /dev")
    found = []
    for path in nodes(top) if os.path.isdir(top) and top.startswith("/dev/") else [top]:
        node = describe(path)
        if not node:
            raise UsageError(f"--device {printable(host)}: not a device", hint="-v mounts files")
        found.append({**node, "path": bundle.absolute(place + path.removeprefix(top))})
    return found


def add(spec: Document, found: Document, access: str = "rwm") -> None:
    """Give the container one device; an earlier one in the same place goes."""
    listed = spec["linux"].setdefault("devices", [])
    spec["linux"]["devices"] = [node for node in listed if node["path"] != found["path"]] + [found]
    number = {key: found[key] for key in ("type", "major", "minor")}
    spec["linux"]["resources"]["devices"].append({"allow": True, **number, "access": access})


def device_cgroup_rule(spec: Document, texts: Sequence[str]) -> None:
    spec["linux"]["resources"]["devices"] += map(values.device_rule, texts)


def of_host() -> list[Document]:
    """The nodes of the host's /dev, but for terminals and what every container gets anyway."""
    own = {(kind, major, minor) for kind, major, minor in defaults.DEVICES}
    found = filter(None, map(describe, nodes("/dev")))
    return [node for node in found if (node["type"], node["major"], node["minor"]) not in own]


def nodes(top: str) -> list[str]:
    """The paths of the device nodes below a directory; links are not followed."""
    found = []
    for directory, subdirectories, names in os.walk(top):
        subdirectories[:] = [name for name in subdirectories if name not in OTHERS]
        paths = (os.path.join(directory, name) for name in sorted(names))
        found += [path for path in paths if not os.path.islink(path) and describe(path)]
    return found


def describe(path: str) -> Document | None:
    """A device node as config-linux.md, "Devices" wants it; None for anything else."""
    try:
        node = os.stat(path)
    except FileNotFoundError:
        return None
    if not (stat.S_ISCHR(node.st_mode) or stat.S_ISBLK(node.st_mode)):
        return None
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(node.st_mode) else "b",
        "major": os.major(node.st_rdev),
        "minor": os.minor(node.st_rdev),
        "fileMode": stat.S_IMODE(node.st_mode),
        "uid": node.st_uid,
        "gid": node.st_gid,
    }


def disk(path: str) -> Document:
    """``major`` and ``minor`` of a disk, for the flags that limit its use."""
    found = describe(path)
    if not found or found["type"] != "b":
        raise UsageError(f"{printable(path)[:80]} is not a disk", hint="for a list: lsblk -p")
    return {"major": found["major"], "minor": found["minor"]}
