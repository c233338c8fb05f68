"""Reading a bundle's config.json: what is wrong with it is said before anything is made.

``load`` checks the document against the table in schema.py, and then what no table can say: fields
that need one another, sysctls that would change the host, and features that this runtime or this
machine has not. Such a field is refused by its name. Never is one ignored: who asks for a
protection must not get a container without it.

Interface: load, check, check_changes, check_label, get, namespaces, is_new.
"""

from __future__ import annotations

import os

from minirun import document, linux
from minirun.errors import NotFound, SpecError, printable
from minirun.idmap import FIELDS
from minirun.idmap import check as check_mappings
from minirun.runtime import log, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Spec = dict[str, Any]

CONFIG_SIZE = 64 << 20
NAMESPACES = {  # the spec's name: (flag of unshare(2) and setns(2), name below /proc/PID/ns)
    "user": (linux.CLONE_NEWUSER, "user"),
    "cgroup": (linux.CLONE_NEWCGROUP, "cgroup"),
    "ipc": (linux.CLONE_NEWIPC, "ipc"),
    "uts": (linux.CLONE_NEWUTS, "uts"),
    "network": (linux.CLONE_NEWNET, "net"),
    "time": (linux.CLONE_NEWTIME, "time_for_children"),
    "pid": (linux.CLONE_NEWPID, "pid"),
    "mount": (linux.CLONE_NEWNS, "mnt"),
}
# Sysctls that belong to a namespace (sysctl in its first column, namespaces(7)); all others are
# the host's, and no container's to change.
SYSCTLS = (
    ("kernel.msgmax", "ipc"), ("kernel.msgmnb", "ipc"), ("kernel.msgmni", "ipc"),
    ("kernel.sem", "ipc"), ("kernel.shmall", "ipc"), ("kernel.shmmax", "ipc"),
    ("kernel.shmmni", "ipc"), ("kernel.shm_rmid_forced", "ipc"), ("fs.mqueue.", "ipc"),
    ("kernel.domainname", "uts"), ("net.", "network"),
)  # fmt: skip
REFUSED = {  # field: why. All others are honoured: see fields.py
    "solaris": "for another system", "windows": "for another system", "vm": "for another system",
    "zos": "for another system", "freebsd": "for another system",
    "process.commandLine": "for Windows; say process.args",
    "process.selinuxLabel": "for SELinux, which minirun-oci does not support",
    "linux.intelRdt": "for resctrl, which minirun-oci does not support",
    "linux.personality.flags": "not defined by the runtime spec yet",
}  # fmt: skip


def load(bundle: str, name: str = "config.json") -> tuple[Spec, bytes]:
    """The config.json of a bundle, checked, and its text. Raises SpecError, NotFound."""
    path = os.path.join(bundle, name)
    try:
        with open(path, "rb") as file:
            text = file.read(CONFIG_SIZE + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f"no {printable(name)} in {printable(bundle)}",
            hint="a bundle is made by: minirun bundle IMAGE DIR",
        ) from None
    if len(text) > CONFIG_SIZE:
        raise SpecError(f"config.json: larger than {CONFIG_SIZE >> 20} MiB")
    spec = document.loads(text, "config.json")
    check(spec)
    _update(spec)
    return spec, text


def check(spec: Spec) -> None:
    """All that can be said about a config.json without looking at the machine."""
    schema.CONFIG(spec, "")
    numbers = spec["ociVersion"].partition("-")[0].partition("+")[0].split(".")
    if numbers[0] != "1" or len(numbers) != 3 or not all(map(str.isdecimal, numbers)):
        raise SpecError(f"ociVersion: {printable(spec['ociVersion'])} is not 1.x.y, which this is")
    if not get(spec, "root.path"):
        raise SpecError("root.path: is required")
    for field, why in REFUSED.items():
        if get(spec, field) not in (None, "", []):
            raise SpecError(f"{field}: is {why}")
    _check_process(spec)
    _check_namespaces(spec)
    check_changes(spec, set(namespaces(spec)))
    _check_mounts(spec)
    _check_devices(spec)


def check_label(spec: Spec) -> None:
    """linux.mountLabel: where the kernel has no SELinux, whose label this is, it says nothing."""
    if get(spec, "linux.mountLabel"):
        with open("/proc/filesystems") as file:
            if "selinuxfs" in file.read():
                raise SpecError("linux.mountLabel: is for SELinux, which minirun-oci does not do")
        log.warn([SpecError("linux.mountLabel: without effect, this kernel runs without SELinux")])


def _update(spec: Spec) -> None:
    """Say in the words of today what an older version of the spec meant: until 1.3 a pids.limit of
    0 was none, and so engines send it."""
    pids = get(spec, "linux.resources.pids")
    if pids and pids.get("limit") == 0 and int(spec["ociVersion"].split(".")[1]) < 3:
        pids["limit"] = -1


def get(spec: Spec, field: str) -> Any:
    """The value of a field such as "linux.resources", None if any part of it is absent."""
    value: Any = spec
    for name in field.split("."):
        value = (value or {}).get(name)
    return value


def namespaces(spec: Spec) -> dict[str, str]:
    """{type: path to join, "" for a new one}"""
    listed = get(spec, "linux.namespaces") or []
    return {entry["type"]: entry.get("path") or "" for entry in listed}


def is_new(spec: Spec, kind: str) -> bool:
    """Does the container get a namespace of its own of this kind?"""
    return namespaces(spec).get(kind) == ""


def _check_process(spec: Spec) -> None:
    process = spec.get("process")
    if not process:
        raise SpecError("process: is required by create", hint="say what to run in process.args")
    if not process.get("args"):
        raise SpecError("process.args: is empty", hint='for instance ["sh"]')
    seen = set()
    for index, limit in enumerate(process.get("rlimits") or []):
        place = f"process.rlimits[{index}]"
        if limit["type"] not in RLIMITS:
            raise SpecError(f"{place}.type: unknown: {printable(limit['type'])}")
        if limit["type"] in seen:
            raise SpecError(f"{place}.type: {limit['type']} a second time")
        if limit["soft"] > limit["hard"]:
            raise SpecError(f"{place}: soft is above hard")
        seen.add(limit["type"])


RLIMITS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE "
        "RTPRIO RTTIME".split()
    )
}  # linux/resource.h


def _check_namespaces(spec: Spec) -> None:
    listed = [entry["type"] for entry in get(spec, "linux.namespaces") or []]
    for kind in listed:
        if listed.count(kind) > 1:
            raise SpecError(f"linux.namespaces: {kind} a second time")
    if "user" in listed and "mount" not in listed:
        raise SpecError("linux.namespaces: user without mount: the mounts are not its root's")
    maps = get(spec, "linux.uidMappings"), get(spec, "linux.gidMappings")
    for field, mappings in zip(FIELDS.values(), maps, strict=True):
        check_mappings(mappings or [], field)
    if "user" not in listed and any(maps):
        raise SpecError("linux.uidMappings: has no meaning without a user namespace")
    if any(maps) and not all(maps):
        raise SpecError("linux.uidMappings, linux.gidMappings: one needs the other")
    if get(spec, "linux.timeOffsets") and not is_new(spec, "time"):
        raise SpecError("linux.timeOffsets: can be set in a new time namespace only")


def check_changes(spec: Spec, others: set[str]) -> None:
    """Refuse what would change the host's names, sysctls and network devices.

    ``others`` are the kinds of namespaces that the container has and that are not the host's.
    """
    for field in ("hostname", "domainname"):
        if get(spec, field) and "uts" not in others:
            raise SpecError(f"{field}: would change the host's; it needs a uts namespace")
    if get(spec, "linux.netDevices") and "network" not in others:
        raise SpecError("linux.netDevices: there is no network namespace to move them to")
    for name, value in (get(spec, "linux.sysctl") or {}).items():
        dotted = name.replace("/", ".")
        if dotted == "kernel.domainname" and value != (spec.get("domainname") or value):
            raise SpecError("linux.sysctl: kernel.domainname is another than domainname")
        kind = next((kind for prefix, kind in SYSCTLS if is_below(dotted, prefix)), None)
        if kind is None or ".." in dotted:
            raise SpecError(f"linux.sysctl: {printable(name)} is not a container's to change")
        if kind not in others:
            raise SpecError(
                f"linux.sysctl: {name} would change the host's; it needs {kind} namespace"
            )


def is_below(name: str, prefix: str) -> bool:
    return name.startswith(prefix) if prefix.endswith(".") else name == prefix


def _check_mounts(spec: Spec) -> None:
    for index, mount in enumerate(spec.get("mounts") or []):
        maps = [mount.get("uidMappings"), mount.get("gidMappings")]
        if any(maps) and not all(maps):
            raise SpecError(f"mounts[{index}].uidMappings, gidMappings: one needs the other")
        for kind, rows in zip(("uid", "gid"), maps, strict=True):
            check_mappings(rows or [], f"mounts[{index}].{kind}Mappings")
        mapped = {"idmap", "ridmap"} & set(mount.get("options") or [])
        if mapped and not any(maps) and "user" not in namespaces(spec):
            raise SpecError(
                f"mounts[{index}].options: {min(mapped)}: there are neither uidMappings nor a user "
                "namespace to take them from"
            )


def _check_devices(spec: Spec) -> None:
    for index, device in enumerate(get(spec, "linux.devices") or []):
        if device["type"] != "p" and None in (device.get("major"), device.get("minor")):
            raise SpecError(f"linux.devices[{index}]: major and minor are required")


def notifies(seccomp: dict[str, Any]) -> bool:
    """Does a rule ask the agent at ``listenerPath``? Without it such rules are refused."""
    rules = seccomp.get("syscalls") or ()
    asks = any(rule["action"] == "SCMP_ACT_NOTIFY" for rule in rules)
    if asks and not seccomp.get("listenerPath"):
        raise SpecError("linux.seccomp: SCMP_ACT_NOTIFY, but no listenerPath: who would answer?")
    return asks
