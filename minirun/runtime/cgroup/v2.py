"""Limits as cgroup v2 knows them: ``linux.resources`` of a config.json → files and values.

The spec speaks cgroup v1; where v2 has another scale or meaning, the numbers are converted, and
what v2 cannot do is refused by name. Pure, like its twin v1.py.
Files: Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

from minirun.errors import SpecError
from minirun.runtime.cgroup.v1 import page_size, rdma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Setting = tuple[str, str, str]  # controller, file, value


def settings(resources: dict[str, Any]) -> list[Setting]:
    """What to write, in the order it must be written: (controller, file, value)."""
    return [
        (file.partition(".")[0], file, str(value))
        for section, function in SECTIONS.items()
        if resources.get(section)
        for file, value in function(resources[section])
        if value is not None
    ]


def _refuse(section: str, values: dict[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if values.get(key):
            raise SpecError(
                f"linux.resources.{section}.{key}: cgroup v2 has nothing of the kind",
                hint="leave it out; linux.resources.unified sets files of v2 by name",
            )


def _memory(memory: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    _refuse("memory", memory, ("kernel", "kernelTCP", "disableOOMKiller"))
    if memory.get("swappiness") is not None:
        _refuse("memory", {"swappiness": True}, ("swappiness",))
    limit = memory.get("limit") or None
    yield "memory.max", _unlimited(limit)
    yield "memory.swap.max", swap_max(limit, memory.get("swap") or None)
    yield "memory.low", _unlimited(memory.get("reservation") or None)


def _unlimited(value: int | None) -> int | str | None:
    return "max" if value == -1 else value


def swap_max(limit: int | None, swap: int | None) -> int | str | None:
    """v1 (and the spec) limits memory and swap together; v2 limits swap alone."""
    if swap is None:
        return "max" if limit == -1 else None
    if swap == -1:
        return "max"
    if limit is None or limit < 0:
        raise SpecError(f"linux.resources.memory.swap is {swap}, but memory.limit sets no limit")
    if swap < limit:
        raise SpecError(
            f"linux.resources.memory.swap ({swap}) is less than memory.limit ({limit})",
            hint="swap counts memory and swap together",
        )
    return swap - limit


def _cpu(cpu: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    _refuse("cpu", cpu, ("realtimeRuntime", "realtimePeriod"))
    yield "cpu.idle", cpu.get("idle")
    if cpu.get("shares") and cpu.get("idle") != 1:  # an idle group has no weight
        yield "cpu.weight", cpu_weight(cpu["shares"])
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        share = quota if quota and quota > 0 else "max"
        yield "cpu.max", f"{share} {period}" if period else share
    yield "cpu.max.burst", cpu.get("burst")
    yield "cpuset.cpus", cpu.get("cpus") or None
    yield "cpuset.mems", cpu.get("mems") or None


def cpu_weight(shares: int) -> int:
    """v1's shares (2 … 262144, by default 1024) as v2's weight (1 … 10000, by default 100).

    The curve goes through all three points; runc 1.4 and crun 1.24 use the same one.
    """
    from math import ceil, log2

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    log = log2(shares)
    return ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def _pids(pids: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    limit = pids.get("limit")
    if limit is not None:
        yield "pids.max", limit if limit >= 0 else "max"


def _block_io(block: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    _refuse("blockIO", block, ("leafWeight",))
    if block.get("weight"):
        yield "io.bfq.weight", f"default {block['weight']}"
    for device in block.get("weightDevice") or ():
        _refuse("blockIO.weightDevice", device, ("leafWeight",))
        if device.get("weight"):
            yield "io.bfq.weight", f"{device['major']}:{device['minor']} {device['weight']}"
    for key, limit in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        for device in block.get(key) or ():
            rate = device["rate"] or "max"  # v1's "0 lifts the limit"
            yield "io.max", f"{device['major']}:{device['minor']} {limit}={rate}"


def io_weight(setting: str) -> tuple[str, str]:
    """A weight for BFQ (as v1's: 10 … 1000) as one for everybody (1 … 10000)."""
    whose, _, weight = setting.partition(" ")
    return "io.weight", f"{whose} {1 + (int(weight) - 10) * 9999 // 990}"


def _hugepages(limits: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    for limit in limits:
        for counted in ("", ".rsvd"):
            yield f"hugetlb.{page_size(limit)}{counted}.max", limit["limit"]


def _network(network: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    _refuse("network", network, ("classID", "priorities"))
    yield from ()


def _rdma(limits: dict[str, dict[str, int]]) -> Iterator[tuple[str, Any]]:
    for _, file, value in rdma(limits):
        yield file, value


def _unified(files: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for file, value in files.items():
        if "/" in file or file.startswith((".", "cgroup.")) or "." not in file:
            raise SpecError(f"linux.resources.unified: {file!r} is no file of a controller")
        for line in str(value).splitlines():
            yield file, line


SECTIONS: dict[str, Callable[[Any], Iterator[tuple[str, Any]]]] = {
    "memory": _memory,
    "cpu": _cpu,
    "pids": _pids,
    "blockIO": _block_io,
    "hugepageLimits": _hugepages,
    "network": _network,
    "rdma": _rdma,
    "unified": _unified,
}

# What is written instead where the kernel has no disk scheduler BFQ.
OTHERWISE: dict[str, Callable[[str], tuple[str, str]]] = {"io.bfq.weight": io_weight}
