"""What the processes of a cgroup have used so far, and when memory runs out.

``stats`` has the members that runc's ``events --stats`` prints, whatever the version: callers read
them by name. Times are in nanoseconds and amounts in bytes; v2's own units are converted.
"""

from __future__ import annotations

import os
from errno import EAGAIN, ENODEV, ENOENT
from time import monotonic, sleep

from minirun import linux
from minirun.runtime.cgroup import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.cgroup import Cgroup

POLLIN, POLLPRI = 1, 2  # poll(2)
NO_LIMIT = 0xFFFFFFFFFFFFFFFF
V1_CPUSET = (
    "cpu_exclusive mem_hardwall mem_exclusive memory_migrate memory_spread_page "
    "memory_spread_slab memory_pressure sched_load_balance sched_relax_domain_level"
).split()
V1_MEMORY = {"limit": "limit_in_bytes", "usage": "usage_in_bytes", "max": "max_usage_in_bytes"}
V2_MEMORY = {"limit": "max", "usage": "current", "max": "peak"}
V1_IO = {
    "ioServiceBytesRecursive": "blkio.throttle.io_service_bytes_recursive",
    "ioServicedRecursive": "blkio.throttle.io_serviced_recursive",
}
V2_IO = {
    "ioServiceBytesRecursive": {"rbytes": "Read", "wbytes": "Write"},
    "ioServicedRecursive": {"rios": "Read", "wios": "Write"},
}


class _Files:
    """The files of one controller of a cgroup; what a kernel does not have is empty or 0."""

    def __init__(self, cgroup: Cgroup, controller: str) -> None:
        self.directory = cgroup.directory(controller) or "/nowhere"
        self.version = cgroup.version(controller)

    def lines(self, name: str) -> list[str]:
        return files.lines(f"{self.directory}/{name}")

    def number(self, name: str) -> int:
        text = (self.lines(name) or ["0"])[0]
        return NO_LIMIT if text == "max" else int(text)

    def table(self, name: str) -> dict[str, int]:
        pairs = (line.split() for line in self.lines(name))
        return {pair[0]: int(pair[1]) for pair in pairs}

    def pressure(self, name: str) -> dict[str, Any]:
        """{"psi": …} as in PSI(…/accounting/psi.rst of the kernel); nothing where it is off."""
        psi = {}
        for line in self.lines(name) if self.version == 2 else ():
            kind, *words = line.split()
            values = dict(word.split("=") for word in words)
            psi[kind] = {k: int(v) if k == "total" else float(v) for k, v in values.items()}
        return {"psi": psi} if psi else {}


def stats(cgroup: Cgroup) -> dict[str, Any]:
    """The numbers of now."""
    pids = _Files(cgroup, "pids")
    limit = pids.number("pids.max")
    counts = {"current": pids.number("pids.current"), "limit": 0 if limit == NO_LIMIT else limit}
    return {
        "cpu": _cpu(_Files(cgroup, "cpu"), _Files(cgroup, "cpuacct")),
        "cpuset": _cpuset(_Files(cgroup, "cpuset")),
        "memory": _memory(_Files(cgroup, "memory")),
        "pids": counts,
        "blkio": _io(_Files(cgroup, "blkio"), _Files(cgroup, "io")),
        "hugetlb": _hugetlb(_Files(cgroup, "hugetlb")),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu(cpu: _Files, cpuacct: _Files) -> dict[str, Any]:
    stat = cpu.table("cpu.stat")
    if cpu.version == 1:
        usage: dict[str, Any] = {
            "total": cpuacct.number("cpuacct.usage"),
            "percpu": [int(n) for n in " ".join(cpuacct.lines("cpuacct.usage_percpu")).split()],
            "kernel": cpuacct.number("cpuacct.usage_sys"),
            "user": cpuacct.number("cpuacct.usage_user"),
        }
    else:
        names = {"total": "usage_usec", "kernel": "system_usec", "user": "user_usec"}
        usage = {name: stat.get(key, 0) * 1000 for name, key in names.items()}
    throttling = {
        "periods": stat.get("nr_periods", 0),
        "throttledPeriods": stat.get("nr_throttled", 0),
        "throttledTime": stat.get("throttled_time", stat.get("throttled_usec", 0) * 1000),
    }
    return {"usage": usage, "throttling": throttling, **cpu.pressure("cpu.pressure")}


def _cpuset(cpuset: _Files) -> dict[str, Any]:
    which = "" if cpuset.version == 1 else ".effective"
    lists = {
        name: [
            number
            for part in "".join(cpuset.lines(f"cpuset.{name}{which}")).split(",")
            if part
            for first, _, last in [part.partition("-")]
            for number in range(int(first), int(last or first) + 1)
        ]
        for name in ("cpus", "mems")
    }
    return {**lists, **{name: cpuset.number(f"cpuset.{name}") for name in V1_CPUSET}}


def _memory(memory: _Files) -> dict[str, Any]:
    raw = memory.table("memory.stat")
    if memory.version == 1:
        parts = {"usage": "", "swap": ".memsw", "kernel": ".kmem", "kernelTCP": ".kmem.tcp"}
        entries = {
            name: {k: memory.number(f"memory{part}.{file}") for k, file in V1_MEMORY.items()}
            | {"failcnt": memory.number(f"memory{part}.failcnt")}
            for name, part in parts.items()
        }
        return {"cache": raw.get("cache", 0), **entries, "raw": raw}
    usage, swap = (
        {k: memory.number(f"{part}.{file}") for k, file in V2_MEMORY.items()}
        for part in ("memory", "memory.swap")
    )
    usage["failcnt"] = memory.table("memory.events").get("max", 0)
    both = {  # v1, and callers, count memory and swap together
        "usage": usage["usage"] + swap["usage"],
        "limit": min(usage["limit"] + swap["limit"], NO_LIMIT),
        "failcnt": memory.table("memory.swap.events").get("fail", 0),
    }
    entries = {"usage": usage, "swap": both}
    return {"cache": raw.get("file", 0), **entries, "raw": raw} | memory.pressure("memory.pressure")


def _io(blkio: _Files, io: _Files) -> dict[str, Any]:
    if io.version == 1:
        return {
            name: [_io_entry(*line.split()) for line in blkio.lines(file) if line[0] != "T"]
            for name, file in V1_IO.items()
        }
    found: dict[str, Any] = {name: [] for name in V2_IO}
    for line in io.lines("io.stat"):
        device, *words = line.split()
        values = dict(word.split("=") for word in words)
        for name, operations in V2_IO.items():
            found[name] += [
                _io_entry(device, operation, values[key])
                for key, operation in operations.items()
                if key in values
            ]
    return found | io.pressure("io.pressure")


def _io_entry(device: str, operation: str, value: str) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": int(value)}


def _hugetlb(hugetlb: _Files) -> dict[str, Any]:
    found = {}
    end = ".usage_in_bytes" if hugetlb.version == 1 else ".current"
    for name in os.listdir(hugetlb.directory) if os.path.isdir(hugetlb.directory) else ():
        page, used = name[len("hugetlb.") : -len(end)], name.endswith(end)
        if not used or ".rsvd" in page or not name.startswith("hugetlb."):
            continue
        found[page] = {
            "usage": hugetlb.number(name),
            "max": hugetlb.number(f"hugetlb.{page}.max_usage_in_bytes"),
            "failcnt": hugetlb.number(f"hugetlb.{page}.failcnt")
            or hugetlb.table(f"hugetlb.{page}.events").get("max", 0),
        }
    return found


class OutOfMemory:
    """Tells when the kernel had to kill because a cgroup had no memory left.

    v1 counts in an eventfd(2) that cgroup.event_control was told of; v2 wakes who polls the file
    memory.events. Either way: poll(2) ``fd`` for ``mask``, and ask ``happened`` when it wakes up.
    ``fd`` is -1 where nobody counts memory.
    """

    def __init__(self, cgroup: Cgroup) -> None:
        self.cgroup, self.kills = cgroup, cgroup.oom_kills()
        self.fd, self.mask = -1, POLLIN
        self.v1 = cgroup.version("memory") == 1
        directory = cgroup.directory("memory")
        if directory and self.v1:
            self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            linux.write_file(f"{directory}/cgroup.event_control", f"{self.fd} {control}")
            os.close(control)
        elif directory:
            self.fd = os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
            self.mask = POLLPRI
            os.read(self.fd, 4096)  # what is new is what comes after a read

    def happened(self) -> bool:
        """Has it, since we last looked? v1 may tell of one kill several times, and does so before
        the kill counts; the end of a cgroup wakes us as well."""
        before, patience = self.kills, monotonic() + 0.1
        try:
            if self.v1:
                os.eventfd_read(self.fd)
            else:
                os.pread(self.fd, 4096, 0)
            self.kills = self.cgroup.oom_kills()
            while self.v1 and self.kills == before and monotonic() < patience:
                sleep(0.001)
                self.kills = self.cgroup.oom_kills()
        except OSError as error:
            if error.errno in (EAGAIN, ENODEV, ENOENT):
                return False
            raise
        return self.kills > before
