"""Was it the out-of-memory killer? The kernel counts its kills in each memory cgroup.

minirun-oci says so itself, of a container that it attends to. Where the engine does (with -t), the
engine must look: at the file that the container's first process is counted in. cgroups(7)
"""

from __future__ import annotations

CGROUPS = "/sys/fs/cgroup"
COUNTER = "oom_kill "  # the line of memory.events (v2) and of memory.oom_control (v1)


def counter(pid: int) -> str | None:
    """The file that counts for process ``pid``; None where there is none, or it has ended."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
    except (FileNotFoundError, ProcessLookupError):
        return None
    for _, controllers, path in entries:
        if "memory" in controllers.split(","):
            return f"{CGROUPS}/memory{path}/memory.oom_control"
    return next((f"{CGROUPS}{p}/memory.events" for number, _, p in entries if number == "0"), None)


def kills(path: str | None) -> int:
    """How many processes were killed for want of memory, by the file from ``counter``."""
    if path is None:
        return 0
    try:
        with open(path, encoding="ascii") as file:
            return sum(int(line[len(COUNTER) :]) for line in file if line.startswith(COUNTER))
    except FileNotFoundError:  # the cgroup was removed by another command
        return 0
