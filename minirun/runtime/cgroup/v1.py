"""Limits as cgroup v1 knows them: ``linux.resources`` of a config.json → files and values.

Pure: nothing here touches the file system, so a test needs no root. Each section of the spec has
one function. In most places 0 is a way to say nothing, as it is for runc: callers write it so.
v2.py is the twin. Files: Documentation/admin-guide/cgroup-v1/ of the kernel.
"""

from __future__ import annotations

from minirun.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Setting = tuple[str, str, str]  # controller, file, value


def settings(resources: dict[str, Any]) -> list[Setting]:
    """What to write, in the order it must be written: (controller, file, value)."""
    return [
        (controller, file, str(value))
        for section, function in SECTIONS.items()
        if resources.get(section)
        for controller, file, value in function(resources[section])
        if value is not None
    ]


def _memory(memory: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    limit, swap = memory.get("limit") or None, memory.get("swap") or None
    if limit == -1 and swap is None:
        swap = -1  # the kernel allows no memory limit above the one of memory and swap together
    yield "memory", "memory.limit_in_bytes", limit
    yield "memory", "memory.memsw.limit_in_bytes", swap
    yield "memory", "memory.soft_limit_in_bytes", memory.get("reservation") or None
    yield "memory", "memory.kmem.limit_in_bytes", memory.get("kernel") or None
    yield "memory", "memory.kmem.tcp.limit_in_bytes", memory.get("kernelTCP") or None
    yield "memory", "memory.swappiness", memory.get("swappiness")
    if memory.get("disableOOMKiller"):
        yield "memory", "memory.oom_control", 1
    if memory.get("useHierarchy"):
        yield "memory", "memory.use_hierarchy", 1


def _cpu(cpu: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    yield "cpu", "cpu.idle", cpu.get("idle")
    if cpu.get("idle") != 1:  # an idle group has no shares
        yield "cpu", "cpu.shares", cpu.get("shares") or None
    yield "cpu", "cpu.cfs_period_us", cpu.get("period") or None
    yield "cpu", "cpu.cfs_quota_us", cpu.get("quota") or None
    yield "cpu", "cpu.cfs_burst_us", cpu.get("burst")
    yield "cpu", "cpu.rt_period_us", cpu.get("realtimePeriod") or None
    yield "cpu", "cpu.rt_runtime_us", cpu.get("realtimeRuntime") or None
    yield "cpuset", "cpuset.cpus", cpu.get("cpus") or None
    yield "cpuset", "cpuset.mems", cpu.get("mems") or None


def _pids(pids: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    limit = pids.get("limit")
    if limit is not None:
        yield "pids", "pids.max", limit if limit >= 0 else "max"


def _block_io(block: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    yield "blkio", "blkio.weight", block.get("weight") or None
    yield "blkio", "blkio.leaf_weight", block.get("leafWeight") or None
    for device in block.get("weightDevice") or ():
        number = f"{device['major']}:{device['minor']}"
        if "weight" in device:
            yield "blkio", "blkio.weight_device", f"{number} {device['weight']}"
        if "leafWeight" in device:
            yield "blkio", "blkio.leaf_weight_device", f"{number} {device['leafWeight']}"
    for key, file in (
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
    ):
        for device in block.get(key) or ():
            yield "blkio", file, f"{device['major']}:{device['minor']} {device['rate']}"


def _hugepages(limits: list[dict[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    for limit in limits:
        for counted in ("", ".rsvd"):  # pages that are used, and pages that are promised
            file = f"hugetlb.{page_size(limit)}{counted}.limit_in_bytes"
            yield "hugetlb", file, limit["limit"]


def page_size(limit: dict[str, Any]) -> str:
    """``pageSize`` of a hugepage limit, which becomes a part of a file name: "2MB", "1GB"."""
    size = str(limit.get("pageSize"))
    if not (size[:-2].isdecimal() and size[-2:] in ("KB", "MB", "GB")):
        raise SpecError(f"linux.resources.hugepageLimits: {size!r} is no page size like 2MB")
    return size


def _network(network: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    yield "net_cls", "net_cls.classid", network.get("classID")
    for priority in network.get("priorities") or ():
        yield "net_prio", "net_prio.ifpriomap", f"{priority['name']} {priority['priority']}"


def rdma(limits: dict[str, dict[str, int]]) -> Iterator[tuple[str, str, Any]]:
    """The same in both versions: one line for each device."""
    for device, limit in limits.items():
        words = [device]
        if "hcaHandles" in limit:
            words.append(f"hca_handle={limit['hcaHandles']}")
        if "hcaObjects" in limit:
            words.append(f"hca_object={limit['hcaObjects']}")
        yield "rdma", "rdma.max", " ".join(words)


def _unified(files: dict[str, str]) -> Iterator[tuple[str, str, Any]]:
    raise SpecError(
        f"linux.resources.unified.{next(iter(files))}: a file of cgroup v2, but this machine has v1"
    )


SECTIONS: dict[str, Callable[[Any], Iterator[tuple[str, str, Any]]]] = {
    "memory": _memory,
    "cpu": _cpu,
    "pids": _pids,
    "blockIO": _block_io,
    "hugepageLimits": _hugepages,
    "network": _network,
    "rdma": rdma,
    "unified": _unified,
}

# Where the disk scheduler is BFQ, weights have its name.
OTHERWISE: dict[str, Callable[[str], tuple[str, str]]] = {
    "blkio.weight": lambda value: ("blkio.bfq.weight", value),
    "blkio.weight_device": lambda value: ("blkio.bfq.weight_device", value),
}
