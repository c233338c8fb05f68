"""How much a container may use: the flags that become ``linux.resources``, and those of a process.

``resources`` is pure: options in, ``linux.resources`` out; so `minirun update` can send it to a
container that runs. The meaning of each is the kernel's: cgroup-v2.rst, config-linux.md, "Control
groups". Which of them the machine's cgroups can do, the runtime knows, and refuses the others.
"""

from __future__ import annotations

import os

from minirun.engine import values
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]
    Options = Mapping[str, Any]

SMALLEST_MEMORY = 6 << 20  # bytes; less does not even start a shell. Docker's limit too
CPU_PERIOD = 100_000  # microseconds: the share of the processors is counted anew this often
CPU_PERIODS = range(1000, 1_000_001)  # what the kernel takes: sched-bwc.rst
SMALLEST_QUOTA = 1000  # microseconds, also the kernel's
WEIGHTS = range(10, 1001)
OOM_SCORES = range(-1000, 1001)


def apply(spec: Document, options: Options) -> None:
    """Put the limits that ``options`` ask for into the document."""
    for section, fields in resources(options).items():
        spec["linux"]["resources"].setdefault(section, {}).update(fields)


def resources(options: Options) -> Document:
    """``linux.resources`` with what ``options`` name, and no more."""
    sections = {
        "memory": _memory(options),
        "cpu": _cpu(options),
        "pids": _pids(options),
        "blockIO": _block_io(options),
    }
    return {name: fields for name, fields in sections.items() if fields}


def _memory(options: Options) -> Document:
    """Without --memory-swap there is no swap: who may use 64 MiB should not get 64 more of them
    from the disk."""
    limit, reservation = (_size(options, key) for key in ("memory", "memory_reservation"))
    swap = _swap(options, limit)
    if limit and limit < SMALLEST_MEMORY:
        raise UsageError(f"-m {options['memory']}: too little to start anything",
                         hint="-m 6m is the smallest")  # fmt: skip
    if limit and reservation > limit:
        raise UsageError("--memory-reservation is more than -m allows")
    if options.get("oom_kill_disable") and not limit:
        raise UsageError("--oom-kill-disable without -m: the machine itself could run out")
    swappiness = _number(options, "memory_swappiness", range(101))
    wanted = {
        "limit": limit or None,
        "swap": swap or None,
        "reservation": reservation or None,
        "swappiness": swappiness,
        "disableOOMKiller": options.get("oom_kill_disable") or None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _swap(options: Options, limit: int) -> int:
    """Memory and swap together, in bytes; -1 for any amount, 0 where nothing limits it."""
    text = options.get("memory_swap") or ""
    swap = -1 if text == "-1" else values.size(text or "0")
    if not swap:
        return limit if has_swap_accounting() else 0
    if not limit:
        raise UsageError("--memory-swap: needs -m, for it is the sum of memory and swap")
    if 0 < swap < limit:
        raise UsageError("--memory-swap is the sum of memory and swap, and less than -m allows")
    if not has_swap_accounting():
        raise UsageError("--memory-swap: this kernel does not count swap",
                         hint="boot it with swapaccount=1")  # fmt: skip
    return swap


def has_swap_accounting() -> bool:
    """Whether this kernel counts swap: on cgroup v1 only with swapaccount=1."""
    v1 = "/sys/fs/cgroup/memory"
    return not os.path.isdir(v1) or os.path.exists(f"{v1}/memory.memsw.limit_in_bytes")


def _cpu(options: Options) -> Document:
    quota, period = _quota(options)
    wanted = {
        "shares": _number(options, "cpu_shares") or None,
        "quota": quota,
        "period": period,
        "realtimeRuntime": _number(options, "cpu_rt_runtime"),
        "realtimePeriod": _number(options, "cpu_rt_period"),
        "cpus": _list(options, "cpuset_cpus"),
        "mems": _list(options, "cpuset_mems"),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _quota(options: Options) -> tuple[int | None, int | None]:
    """So many microseconds of CPU time in each period of so many. sched-bwc.rst of the kernel"""
    quota = _number(options, "cpu_quota") or None
    period = _number(options, "cpu_period", CPU_PERIODS) or None
    share = values.cpus(options.get("cpus") or "0")
    if share:
        if quota or period:
            raise UsageError("--cpus says the same as --cpu-quota and --cpu-period: take either")
        quota, period = round(share * CPU_PERIOD), CPU_PERIOD
        if quota < SMALLEST_QUOTA:
            raise UsageError(f"--cpus {options['cpus']}: the kernel gives no less than 0.01")
    if quota and 0 < quota < SMALLEST_QUOTA:
        raise UsageError("--cpu-quota: the kernel gives no less than 1000 microseconds")
    return quota, period


def _pids(options: Options) -> Document:
    limit = _number(options, "pids_limit")
    return {} if limit is None else {"limit": limit or -1}


def _block_io(options: Options) -> Document:
    weight = _number(options, "blkio_weight", WEIGHTS)
    fields: Document = {"weight": weight} if weight else {}
    for key, (field, part, meaning) in PER_DISK.items():
        if texts := options.get(key):
            fields[field] = [_per_disk(text, part, meaning) for text in texts]
    return fields


def _per_disk(text: str, part: str, meaning: Callable[[str], int]) -> Document:
    """``/dev/sda:1m`` → the numbers of the disk, and what it is about."""
    from minirun.engine import devices

    path, _, number = text.rpartition(":")
    return {**devices.disk(path), part: meaning(number)}


def _rate(text: str) -> int:
    return values.integer(text, values.COUNTS, "a rate")


def _weight(text: str) -> int:
    return values.integer(text, WEIGHTS, "--blkio-weight-device")


PER_DISK: dict[str, tuple[str, str, Callable[[str], int]]] = {
    "blkio_weight_device": ("weightDevice", "weight", _weight),
    "device_read_bps": ("throttleReadBpsDevice", "rate", values.size),
    "device_write_bps": ("throttleWriteBpsDevice", "rate", values.size),
    "device_read_iops": ("throttleReadIOPSDevice", "rate", _rate),
    "device_write_iops": ("throttleWriteIOPSDevice", "rate", _rate),
}


def ulimit(spec: Document, texts: Sequence[str]) -> None:
    """Limits of each process, by setrlimit(2); the last of a name counts."""
    limits = {limit["type"]: limit for limit in map(values.ulimit, texts)}
    spec["process"]["rlimits"] = list(limits.values())


def oom_score_adj(spec: Document, text: str) -> None:
    """Who is killed first when there is no memory left. proc_pid_oom_score_adj(5)"""
    spec["process"]["oomScoreAdj"] = values.integer(text, OOM_SCORES, "--oom-score-adj")


def cgroup_parent(spec: Document, path: str) -> None:
    """The container's cgroup lies below this one; its own name is its ID (``name_cgroup``)."""
    if ".." in path.split("/") or "\0" in path:
        raise UsageError(f"--cgroup-parent {printable(path)[:80]}: must not contain '..'")
    spec["linux"]["cgroupsPath"] = "/" + path.strip("/")


def name_cgroup(spec: Document, ident: str) -> None:
    """What only a container can have, and no bundle: a cgroup of its own name below a parent."""
    if "cgroupsPath" in spec["linux"]:
        spec["linux"]["cgroupsPath"] += f"/{ident}"


def _size(options: Options, key: str) -> int:
    return values.size(options.get(key) or "0")


def _number(options: Options, key: str, limits: range = values.ANY) -> int | None:
    """A number of ``limits``. 0 and -1 mean, where they are none of them, "as if not given"."""
    text = options.get(key)
    if text is None or (text in ("0", "-1") and int(text) not in limits):
        return None
    return values.integer(text, limits, "--" + key.replace("_", "-"))


def _list(options: Options, key: str) -> str | None:
    text = options.get(key)
    return values.numbers(text, "--" + key.replace("_", "-")) if text else None
