"""How a process gets its turns at the processor, at the disk, and at which memory.

These are the kernel's knobs of one process, where a cgroup has those of many: the processor's
scheduler (sched(7)), the order of its disk requests (ioprio_set(2)), the processors it may run on
(sched_setaffinity(2)), and the memory nodes that its pages come from (set_mempolicy(2)).

``prioritise`` is called by the parent, since a user namespace takes the power to do it away; the
memory policy is set by the process itself, for the kernel offers no other way.

Interface: prioritise, memory_policy, set_affinity, and the tables of names.
"""

from __future__ import annotations

import os
from struct import pack

from minirun import linux
from minirun.errors import SpecError, StepError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4,
    "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}  # fmt: skip
MOST = 8192  # NR_CPUS of the largest kernels


def prioritise(pid: int, process: dict[str, Any]) -> None:
    """Give process ``pid`` the ``scheduler`` and ``ioPriority`` of a config.json.

    StepError if the kernel will not: most of these need CAP_SYS_NICE.
    """
    scheduler, io = process.get("scheduler"), process.get("ioPriority")
    try:
        if scheduler:
            field = f"process.scheduler: {scheduler['policy']}"
            linux.sched_setattr(pid, _attributes(scheduler))
        if io:
            field = f"process.ioPriority: {io['class']}"
            linux.ioprio_set(pid, IO_CLASSES[io["class"]] << 13 | (io.get("priority") or 0))
    except OSError as error:
        hint = "cgroup v1 may want a linux.resources.cpu.realtimeRuntime; see also: ulimit -r"
        raise StepError(
            f"{field}: {os.strerror(error.errno or 0)}",
            hint=hint if isinstance(error, PermissionError) else None,
        ) from error


def _attributes(scheduler: dict[str, Any]) -> bytes:
    """struct sched_attr, in its first form (SCHED_ATTR_SIZE_VER0)."""
    keys = ("nice", "priority", "runtime", "deadline", "period")
    values = [scheduler.get(key) or 0 for key in keys]
    return pack("=IIQiIQQQ", 48, POLICIES[scheduler["policy"]], _bits(scheduler, FLAGS), *values)


def _bits(settings: dict[str, Any], names: dict[str, int]) -> int:
    """The numbers of ``settings["flags"]``, each of which is one bit, together."""
    return sum(names[flag] for flag in set(settings.get("flags") or ()))


def memory_policy(policy: dict[str, Any]) -> tuple[int, bytes]:
    """The mode and the mask of nodes that ``linux.memoryPolicy`` means to set_mempolicy(2)."""
    mask = sum(1 << node for node in numbers(policy.get("nodes") or "", "linux.memoryPolicy.nodes"))
    mode = MEMORY_MODES[policy["mode"]] | _bits(policy, MEMORY_FLAGS)
    return mode, mask.to_bytes(MOST // 8, "little") if mask else b""


def set_affinity(text: str, place: str) -> None:
    """Run this process on the processors of a list such as "0-3,7" only."""
    try:
        os.sched_setaffinity(0, numbers(text, place))
    except OSError as error:
        raise StepError(
            f"{place}: {text}: {os.strerror(error.errno or 0)}",
            hint="cat /sys/devices/system/cpu/online",
        ) from error


def numbers(text: str, place: str) -> Iterable[int]:
    """The members of a list such as "0-3, 7"; SpecError if it is none."""
    found: dict[int, None] = {}
    for part in text.replace(" ", "").split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(last) < MOST):
            raise SpecError(f"{place}: not a list such as 0-3,7: {printable(text)[:60]}")
        found.update(dict.fromkeys(range(int(first), int(last) + 1)))
    return found
