"""What a container uses just now: processor, memory, disks, network, processes.

The kernel counts for each cgroup, in files: of one controller each in a hierarchy of its own (v1),
or of all together (v2); and for each network namespace. cgroups(7), cgroup-v2.rst and v1/ of the
kernel, proc_pid_net(5)

Interface: Usage, measure.
"""

from __future__ import annotations

import os
from time import monotonic_ns

from minirun.engine import oom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container

MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # its memory in bytes
RECEIVED, SENT = 0, 8  # columns of /proc/net/dev, in bytes


class Usage:
    """Amounts in bytes, times in nanoseconds; counted since the container's start, but for
    ``memory`` and ``pids``. All 0 for one that does not run."""

    def __init__(self) -> None:
        self.moment = monotonic_ns()
        self.cpu = self.memory = self.limit = self.pids = 0
        self.received = self.sent = self.read = self.written = 0

    def cpu_share(self, before: Usage) -> float:
        """How much of one processor it has used since ``before``: 1.0 is all of one."""
        return max(0, self.cpu - before.cpu) / max(1, self.moment - before.moment)

    def memory_share(self) -> float:
        return self.memory / self.limit if self.limit else 0.0


def measure(container: Container) -> Usage:
    """What the container uses; what the kernel does not count here is 0."""
    usage = Usage()
    pid = int(container.state.get("pid") or 0)
    if not container.is_up or not pid:
        return usage
    groups = oom.cgroups(pid, container.id)
    if "" in groups:
        _count_v2(usage, groups[""])
    if "memory" in groups:
        _count_v1(usage, groups)
    usage.limit = min(usage.limit or MACHINE, MACHINE)
    _count_network(usage, pid)
    return usage


def _count_v2(usage: Usage, group: str) -> None:
    memory = _table(f"{group}/memory.stat")
    usage.cpu = _table(f"{group}/cpu.stat").get("usage_usec", 0) * 1000
    usage.memory = max(0, _number(f"{group}/memory.current") - memory.get("inactive_file", 0))
    usage.limit = _number(f"{group}/memory.max")
    usage.pids = _number(f"{group}/pids.current")
    for line in _lines(f"{group}/io.stat"):
        counts = dict(word.split("=") for word in line.split()[1:])
        usage.read += int(counts.get("rbytes", 0))
        usage.written += int(counts.get("wbytes", 0))


def _count_v1(usage: Usage, groups: dict[str, str]) -> None:
    memory = groups["memory"]
    idle = _table(f"{memory}/memory.stat").get("total_inactive_file", 0)
    usage.cpu = _number(f"{groups.get('cpuacct')}/cpuacct.usage")
    usage.memory = max(0, _number(f"{memory}/memory.usage_in_bytes") - idle)
    usage.limit = _number(f"{memory}/memory.limit_in_bytes")
    usage.pids = _number(f"{groups.get('pids')}/pids.current")
    for line in _lines(f"{groups.get('blkio')}/blkio.throttle.io_service_bytes_recursive"):
        _, operation, *count = line.split()
        usage.read += int(count[0]) if operation == "Read" else 0
        usage.written += int(count[0]) if operation == "Write" else 0


def _count_network(usage: Usage, pid: int) -> None:
    """All interfaces but lo; nothing if they are those of the machine."""
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            return
    except FileNotFoundError:
        return
    for line in _lines(f"/proc/{pid}/net/dev")[2:]:  # two lines of headings
        name, _, numbers = line.partition(":")
        words = numbers.split()
        if name.strip() != "lo":
            usage.received += int(words[RECEIVED])
            usage.sent += int(words[SENT])


def _lines(path: str) -> list[str]:
    """The lines of a file; none where there is no such file, or no longer."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _number(path: str) -> int:
    """The only number of a file; 0 for "max" and for what is not there."""
    text = "".join(_lines(path)[:1])
    return int(text) if text.isdecimal() else 0


def _table(path: str) -> dict[str, int]:
    words = (line.split() for line in _lines(path))
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2}
