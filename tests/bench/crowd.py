"""Many containers alive at once: the time for each at the beginning and the end, and what stays.

``--runs`` says how many (1,000). Each is created and started by a command of its own, and sleeps;
then all are killed, and then all deleted. Of a container that is created, and of one that runs, the
memory (PSS, proc_pid_smaps(5)) is that of every process that was not there before: of the one
that runs without its command, which is no runtime's.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean

from tests.bench.memory import pss
from tests.bench.runtimes import Runtime, kill_and_wait, runtimes
from tests.images import run

CGROUPS = Path("/sys/fs/cgroup")
EDGE = 0.05  # the part of all that is the beginning, or the end


def bench(scratch: Path, runs: int = 1000) -> Iterator[str]:
    lines = [f"### crowd: {runs} containers alive at once", "",
             "| | begin ms | end ms | end/begin | create+start s | kill s | delete s "
             "| left behind | resident created kB | running kB |",
             "|---|--:|--:|--:|--:|--:|--:|---|--:|--:|"]
    for runtime in runtimes(scratch, "/bin/sleep", "1000000"):
        try:
            lines.append(row(runtime, runs))
        except RuntimeError as error:
            lines.append(f"| {runtime.name} | {' '.join(str(error).split())} | | | | | | | | |")
    yield "\n".join([*lines, "", f"Begin and end: means of the first and last {EDGE:.0%}.", ""])


def row(runtime: Runtime, number: int) -> str:
    created, running = resident(runtime)
    before = traces()
    names = [f"crowd{index}" for index in range(number)]
    began = [timed([runtime.do("create", "--bundle", str(runtime.bundle), name),
                    runtime.do("start", name)]) for name in names]
    assert len(os.listdir(runtime.root)) == number
    killing = timed(runtime.do("kill", name, "KILL") for name in names)
    while len(processes()) > before["processes"]:
        time.sleep(0.01)
    deleting = timed(runtime.do("delete", name) for name in names)
    after = traces()
    left = [f"{what}: {after[what] - before[what]:+}" for what in before
            if after[what] != before[what]]
    left += os.listdir(runtime.root)
    edge = max(1, round(number * EDGE))
    first, last = fmean(began[:edge]) * 1000, fmean(began[-edge:]) * 1000
    return (f"| {runtime.name} | {first:.0f} | {last:.0f} | {last / first:.2f} "
            f"| {sum(began):.1f} | {killing:.1f} | {deleting:.1f} "
            f"| {', '.join(left) or 'nothing'} | {created / 1024:.0f} | {running / 1024:.0f} |")


def timed(actions: Iterable) -> float:
    """The seconds that some actions take, one after the other."""
    started = time.perf_counter()
    for action in actions:
        action()
    return time.perf_counter() - started


def resident(runtime: Runtime) -> tuple[int, int]:
    """Bytes of the runtime's own while a container is created, and while it runs."""
    before = processes()
    runtime.begin("one")
    created = sum(map(pss, processes() - before))
    runtime.do("start", "one")()
    command = json.loads(run(*runtime.command, "state", "one"))["pid"]
    running = sum(map(pss, processes() - before - {command}))
    kill_and_wait(runtime, "one")
    runtime.do("delete", "one")()
    return created, running


def processes() -> set[int]:
    """Those of this PID namespace with memory, so no zombies; without the namespace's own first
    process and what that waits for, which is another one after each orphan (private_network)."""
    return {pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
            if pid != 1 and not is_waiting(pid) and pss(pid)}


def is_waiting(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0infinity\0"
    except OSError:  # it ended meanwhile
        return False


def traces() -> dict[str, int]:
    """How much there is of what containers leave behind."""
    folders = [name for _, names, _ in os.walk(CGROUPS) for name in names]
    cgroups = sum(name.startswith("crowd") for name in folders)
    mounts = len(Path("/proc/self/mountinfo").read_text().splitlines())
    return {"processes": len(processes()), "cgroups": cgroups, "mounts": mounts}
