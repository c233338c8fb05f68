"""Containers by three engines: what a user types, with a tiny image that is there already."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.engines import Engine, compare, engines

CROWD = 500  # containers that ``ps`` is asked about


def bench(scratch: Path, runs: int = 20) -> Iterator[str]:
    with engines(scratch) as each, ExitStack() as stack:
        yield compare("container: `run --rm --network none IMAGE true`", each,
                      lambda engine: [*engine.run("--rm", "--network", "none"), "true"], runs,
                      note="Memory and processor time are the client's: what dockerd, containerd, "
                           "conmon and monitors use is not in it.")
        yield compare("container: `run --rm IMAGE true`, on the default network", each,
                      lambda engine: [*engine.run("--rm"), "true"], runs)
        yield compare("container: `run -d IMAGE sleep`", each,
                      lambda engine: [*engine.run("-d", "--name", "one"), "sleep", "1000"], runs,
                      after=lambda engine: engine.do("rm", "-f", "one"))
        for engine in each:
            begin(engine, stack)
        yield compare("container: `exec`", each,
                      lambda engine: [*engine.command, "exec", "running", "true"], runs)
        for engine in each:
            for number in range(CROWD):
                engine.do("create", "--name", f"crowd{number}", engine.image, "true")
        yield compare(f"container: `ps -a` of {CROWD}", each,
                      lambda engine: [*engine.command, "ps", "-a"], runs)


def begin(engine: Engine, stack: ExitStack) -> None:
    engine.do("run", "-d", "--name", "running", engine.image, "sleep", "10000")
    stack.callback(engine.do, "rm", "-f", "running")
