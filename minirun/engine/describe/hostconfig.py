"""HostConfig: what a container's flags asked of this machine, from its record.

They were checked when the container was made; so what cannot be understood here is a damaged one.
"""

from __future__ import annotations

from minirun.engine import restart, values
from minirun.engine.describe.networking import bindings
from minirun.engine.template.values import Map, NilList, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.engine.container import Container

    Document = dict[str, Any]
    Options = Mapping[str, Any]

SHM = 64 << 20  # bytes of /dev/shm where no flag says it
NANO = 10**9

# Docker's field: our option, and how its text is read
TEXTS = {
    "ContainerIDFile": "cidfile", "VolumeDriver": "volume_driver", "PidMode": "pid",
    "UTSMode": "uts", "UsernsMode": "userns", "CgroupParent": "cgroup_parent",
    "CpusetCpus": "cpuset_cpus", "CpusetMems": "cpuset_mems",
}  # fmt: skip
LISTS = {
    "Binds": "volume", "VolumesFrom": "volumes_from", "ExtraHosts": "add_host",
    "GroupAdd": "group_add", "Links": "link", "SecurityOpt": "security_opt",
    "DeviceCgroupRules": "device_cgroup_rule",
}  # fmt: skip
EMPTY_LISTS = {"Dns": "dns", "DnsOptions": "dns_option", "DnsSearch": "dns_search"}
SWITCHES = {"Privileged": "privileged", "PublishAllPorts": "publish_all",
            "ReadonlyRootfs": "read_only"}  # fmt: skip
NUMBERS: dict[str, tuple[str, Callable[[str], int]]] = {
    "OomScoreAdj": ("oom_score_adj", int),
    "CpuShares": ("cpu_shares", int),
    "CpuPeriod": ("cpu_period", int),
    "CpuQuota": ("cpu_quota", int),
    "CpuRealtimePeriod": ("cpu_rt_period", int),
    "CpuRealtimeRuntime": ("cpu_rt_runtime", int),
    "NanoCpus": ("cpus", lambda text: round(values.cpus(text) * NANO)),
    "BlkioWeight": ("blkio_weight", int),
    "Memory": ("memory", values.size),
    "MemoryReservation": ("memory_reservation", values.size),
    "MemorySwap": ("memory_swap", lambda text: -1 if text == "-1" else values.size(text)),
}
MAYBE_NUMBERS = {"MemorySwappiness": "memory_swappiness", "PidsLimit": "pids_limit"}
PER_DISK: dict[str, tuple[str, str, Callable[[str], int]]] = {
    "BlkioWeightDevice": ("blkio_weight_device", "Weight", int),
    "BlkioDeviceReadBps": ("device_read_bps", "Rate", values.size),
    "BlkioDeviceWriteBps": ("device_write_bps", "Rate", values.size),
    "BlkioDeviceReadIOps": ("device_read_iops", "Rate", int),
    "BlkioDeviceWriteIOps": ("device_write_iops", "Rate", int),
}


def host_config(found: Container, spec: Document) -> Document:
    record, options = found.record, found.options
    linux = spec.get("linux") or {}
    fields = {
        **{name: list(options.get(key) or ()) or NilList() for name, key in LISTS.items()},
        "CapAdd": capabilities(options, "cap_add"),
        "CapDrop": capabilities(options, "cap_drop"),
        **{name: list(options.get(key) or ()) for name, key in EMPTY_LISTS.items()},
        **{name: options.get(key) or "" for name, key in TEXTS.items()},
        **{name: bool(options.get(key)) for name, key in SWITCHES.items()},
        **{name: read(options.get(key) or "0") for name, (key, read) in NUMBERS.items()},
        **{name: maybe(options.get(key)) for name, key in MAYBE_NUMBERS.items()},
        **{name: per_disk(options, *how) for name, how in PER_DISK.items()},
        "AutoRemove": bool(record.get("autoRemove")),
        "CgroupnsMode": options.get("cgroupns") or "private",
        "Devices": list(map(device, options.get("device") or ())),
        "DeviceRequests": NilList(),
        "Cgroup": "",
        "ConsoleSize": [0, 0],
        "Init": options.get("init") or None,
        "IpcMode": options.get("ipc") or "private",
        "LogConfig": log_config(options),
        "MaskedPaths": linux.get("maskedPaths"),
        "NetworkMode": record.get("networkMode", "none") if options.get("network") else "default",
        "OomKillDisable": bool(options.get("oom_kill_disable")),
        "PortBindings": bindings(record.get("ports") or ()),
        "ReadonlyPaths": linux.get("readonlyPaths"),
        "RestartPolicy": restart_policy(options),
        "Runtime": record.get("runtime", ""),
        "ShmSize": values.size(options["shm_size"]) if options.get("shm_size") else SHM,
        "Sysctls": pairs(options, "sysctl"),
        "Tmpfs": tmpfs(options),
        "Ulimits": list(map(ulimit, options.get("ulimit") or ())),
    }
    return Struct(fields, optional=("Init", "Sysctls", "Tmpfs"))


def capabilities(options: Options, key: str) -> list[str]:
    names = (name.upper().removeprefix("CAP_") for name in options.get(key) or ())
    return [name if name == "ALL" else f"CAP_{name}" for name in names] or NilList()


def maybe(text: str | None) -> int | None:
    return None if text is None else int(text)


def per_disk(options: Options, key: str, name: str, read: Callable[[str], int]) -> list[Document]:
    parts = (text.rpartition(":") for text in options.get(key) or ())
    return [{"Path": path, name: read(number)} for path, _, number in parts]


def pairs(options: Options, key: str) -> Map:
    return Map(values.pair(text, key) for text in options.get(key) or ())


def log_config(options: Options) -> Document:
    return {"Type": options.get("log_driver") or "json-file", "Config": pairs(options, "log_opt")}


def restart_policy(options: Options) -> Document:
    name, most = restart.parse(options.get("restart") or "no")
    return {"Name": name, "MaximumRetryCount": most}


def tmpfs(options: Options) -> Map:
    parts = (text.partition(":") for text in options.get("tmpfs") or ())
    return Map({place: words for place, _, words in parts})


def ulimit(text: str) -> Document:
    limit = values.ulimit(text)
    name = str(limit["type"]).removeprefix("RLIMIT_").lower()
    return {"Name": name, "Hard": limit["hard"], "Soft": limit["soft"]}


def device(text: str) -> Document:
    """A device of this machine; the name of a CDI device as it is."""
    host, place, access = values.device(text) if text.startswith("/") else (text, "", "")
    return {"PathOnHost": host, "PathInContainer": place, "CgroupPermissions": access}
