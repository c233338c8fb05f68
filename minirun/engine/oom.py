"""Was it the out-of-memory killer? The kernel counts its kills in each memory cgroup.

minirun-oci says so itself, of a container that it attends to. Where the engine does (with -t), the
engine must look: at the file that the container's first process is counted in. cgroups(7)
"""

from __future__ import annotations

CGROUPS = "/sys/fs/cgroup"
COUNTER = "oom_kill "  # the line of memory.events (v2) and of memory.oom_control (v1)


def counter(pid: int) -> str | None:
    """The file that counts for process ``pid``; None where there is none, or it has ended."""
    groups = cgroups(pid)
    if "memory" in groups:
        return f"{groups['memory']}/memory.oom_control"
    return f"{groups['']}/memory.events" if "" in groups else None


def cgroups(pid: int, name: str = "") -> dict[str, str]:
    """{controller: directory} of the cgroups of process ``pid``, "" being the one of v2.

    A process may have moved on to a cgroup further down, as systemd does: with ``name``, they end
    with the one that has it in its own name, as runtimes call a container's by its id.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    found = {}
    for _, controllers, path in entries:
        for controller in controllers.split(","):
            found[controller] = f"{CGROUPS}/{controller}{_up_to(name, path)}".replace("//", "/")
    return found


def _up_to(name: str, path: str) -> str:
    """
    >>> _up_to("4f", "/minirun/4f/init.scope"), _up_to("4f", "/system.slice/run-4f.scope")
    ('/minirun/4f', '/system.slice/run-4f.scope')
    """
    before, found, behind = path.rpartition(name) if name else ("", "", "")
    return before + found + behind.partition("/")[0] if found else path


def kills(path: str | None) -> int:
    """How many processes were killed for want of memory, by the file from ``counter``."""
    if path is None:
        return 0
    try:
        with open(path, encoding="ascii") as file:
            return sum(int(line[len(COUNTER) :]) for line in file if line.startswith(COUNTER))
    except FileNotFoundError:  # the cgroup was removed by another command
        return 0
