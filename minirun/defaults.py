"""What a container gets when nobody asks for anything else: pieces of an OCI config.json.

Tables, each with its reason; the names are those of the runtime spec (config.md, config-linux.md).
They follow Docker and Podman, and where the two differ, the stricter one. ``minirun run`` and
``minirun-oci spec`` both start from here, so there is one place to read what "default" means.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_VERSION = "1.0.2"  # the oldest version that has every field used here: every runtime reads it

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Powers of root that installing packages and starting services need. Podman's list: Docker's has
# MKNOD, NET_RAW (forged packets on the bridge) and AUDIT_WRITE besides. capabilities(7)
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)

# All but "user" (a host's root is the container's root, as in Docker) and "time", which runc before
# 1.2 refuses: with our own runtime, `minirun run` adds it. namespaces(7)
NAMESPACES = ("mount", "pid", "network", "uts", "ipc", "cgroup")

PIDS_LIMIT = 2048  # processes and threads: a fork bomb stays inside. Podman's figure

SHM_SIZE = 64 << 20  # bytes of /dev/shm

# Kernel state that has no namespace: read, it tells about the host; written, it changes the host.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",  # when which key was pressed: timing side channels
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",  # CPU power readings leak keys (PLATYPUS)
    "/sys/firmware",
    "/sys/fs/selinux",
)
READONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

# The devices every program may count on (config-linux.md, "Default Devices"): the runtime makes
# them; the cgroup lets them through. Type, major, minor (None: any), and what it is for.
DEVICES = (
    ("c", 1, 3),  # /dev/null
    ("c", 1, 5),  # /dev/zero
    ("c", 1, 7),  # /dev/full
    ("c", 1, 8),  # /dev/random
    ("c", 1, 9),  # /dev/urandom
    ("c", 5, 0),  # /dev/tty
    ("c", 5, 1),  # /dev/console
    ("c", 5, 2),  # /dev/ptmx
    ("c", 136, None),  # /dev/pts/*
)


def masked_paths() -> list[str]:
    """``MASKED_PATHS`` and, for each CPU that has one, its counter of overheating.

    A host's load can be read from that counter, and so one container's by another.
    """
    import os

    cpus = "/sys/devices/system/cpu"
    names = (name for name in os.listdir(cpus) if name.startswith("cpu") and name[3:].isdigit())
    throttles = (f"{cpus}/{name}/thermal_throttle" for name in sorted(names))
    return [*MASKED_PATHS, *(path for path in throttles if os.path.exists(path))]


def mounts() -> list[dict[str, Any]]:
    """The file systems every container has, in the order in which they are mounted."""
    return [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        # newinstance: the container's own terminals. gid 5 is "tty" in every distribution.
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance",
               "ptmxmode=0666", "mode=0620", "gid=5"),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777",
               f"size={SHM_SIZE}"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "ro"),
    ]  # fmt: skip


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def device_rules() -> list[dict[str, Any]]:
    """Deny every device, then allow the ``DEVICES``; the last rule that fits decides."""
    return [
        {"allow": False, "access": "rwm"},
        *(_allow(kind, major, minor) for kind, major, minor in DEVICES),
    ]


def _allow(kind: str, major: int, minor: int | None) -> dict[str, Any]:
    rule: dict[str, Any] = {"allow": True, "type": kind, "major": major, "access": "rwm"}
    return rule if minor is None else {**rule, "minor": minor}


def config() -> dict[str, Any]:
    """A complete config.json that runs ``sh`` as root, to be changed as an image and a user ask.

    The seccomp filter is not in it: it depends on the capabilities, so it is made last.
    """
    powers = list(CAPABILITIES)
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
            "args": ["sh"],
            "env": [f"PATH={PATH}"],
            "cwd": "/",
            # No inheritable and no ambient set: neither exec(2) of a plain file nor a change to
            # another user may keep a power (CVE-2022-24769).
            "capabilities": {"bounding": powers, "effective": powers, "permitted": powers},
            "noNewPrivileges": False,  # sudo and su of an image work
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "minirun",
        "mounts": mounts(),
        "linux": {
            "namespaces": [{"type": name} for name in NAMESPACES],
            "resources": {"devices": device_rules(), "pids": {"limit": PIDS_LIMIT}},
            "maskedPaths": masked_paths(),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }
