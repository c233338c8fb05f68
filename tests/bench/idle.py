"""What an idle container costs: the memory of all that watches over a hundred of them.

Proportional set sizes (PSS, proc_pid_smaps(5)) of every process that was not there before, without
the containers' own commands. Of docker's daemons, what they grew by.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.bench.crowd import processes
from tests.bench.engines import Engine, engines
from tests.bench.memory import pss
from tests.images import run


def bench(scratch: Path, runs: int = 100) -> Iterator[str]:
    lines = [f"### idle: {runs} containers that sleep", "",
             "| | memory for each, MB |", "|---|--:|"]
    with engines(scratch) as each:
        for engine in each:
            try:
                lines.append(f"| {engine.name} | {cost(engine, runs) / runs / 1e6:.1f} |")
            except RuntimeError as error:
                lines.append(f"| {engine.name} | {' '.join(str(error).split())} |")
    yield "\n".join([*lines, ""])


def cost(engine: Engine, number: int) -> int:
    """Bytes, of all that is not the containers' own."""
    names = [f"idle{index}" for index in range(number)]
    before = {pid: pss(pid) for pid in processes()}
    for name in names:
        engine.do("run", "-d", "--name", name, "--network", "none", engine.image, "sleep", "10000")
    pids = run(*engine.command, "inspect", "--format", "{{.State.Pid}}", *names)
    theirs = set(map(int, pids.split()))
    after = sum(pss(pid) - before.get(pid, 0) for pid in processes() - theirs)
    engine.do("rm", "-f", *names)
    return after
