"""minirun-oci, runc and crun with one bundle: whole lives, single commands, peak memory.

A life in separate commands is what containerd makes of every container. The container's end is seen
by the end of its output, so that nobody measures how long somebody sleeps before he looks again.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.measure import Contender, interleave, nothing, table
from tests.images import run

RUNTIMES = ("minirun-oci", "runc", "crun")
LIFE = 'set -e; x=$("$@" create --bundle "$B" life; "$@" start life); "$@" delete life'


class Runtime:
    """One of the three: its command line, with a place of its own for states."""

    def __init__(self, name: str, scratch: Path, bundle: Path) -> None:
        self.name, self.bundle = name, bundle
        self.root = scratch / name
        self.command = [name, "--root", str(self.root)]

    def create(self, container: str) -> list[str]:
        return [*self.command, "create", "--bundle", str(self.bundle), container]

    def do(self, *words: str) -> Callable[[], None]:
        """A command that is not measured; RuntimeError, with its last words, if it fails."""
        return lambda: quietly([*self.command, *words])

    def begin(self, container: str) -> None:
        self.do("create", "--bundle", str(self.bundle), container)()


def quietly(command: list[str]) -> None:
    """Output goes through a file: a container would keep a pipe open."""
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                              check=False)
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {output.read().strip()[-200:]}")


def runtimes(scratch: Path, *args: str) -> list[Runtime]:
    """The three, with a bundle whose command is ``args``."""
    bundle = scratch / args[0].rpartition("/")[2]
    run("minirun", "bundle", "tiny", bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": args, "terminal": False}
    (bundle / "config.json").write_text(json.dumps(config))
    return [Runtime(name, scratch, bundle) for name in RUNTIMES]


def compare(
    title: str, what: str, each: list[Runtime], command: Callable[[Runtime], list[str]], runs: int,
    before: Callable[[Runtime], Callable[[], object]] = lambda runtime: nothing,
    after: Callable[[Runtime], Callable[[], object]] = lambda runtime: nothing,
) -> str:
    contenders = [
        Contender(f"{runtime.name} {what}", command(runtime), before(runtime), after(runtime))
        for runtime in each
    ]
    return table(f"{title}, {runs} runs", interleave(contenders, runs))


def bench(scratch: Path, runs: int = 30) -> Iterator[str]:
    yield from lives(scratch, runs)
    sleeping = runtimes(scratch, "/bin/sleep", "1000000")
    with ExitStack() as stack:
        for runtime in sleeping:
            runtime.begin("running")
            stack.callback(runtime.do("delete", "--force", "running"))
            runtime.do("start", "running")()
        for what in ("exec", "state"):
            words = ("running", "/bin/true") if what == "exec" else ("running",)
            yield compare(f"{what}: in a running container", what, sleeping,
                          lambda runtime, what=what, words=words:
                          [*runtime.command, what, *words], runs)
    yield from single(sleeping, runs)


def lives(scratch: Path, runs: int) -> Iterator[str]:
    """From nothing to nothing: by one command, and by the three that engines use."""
    short = runtimes(scratch, "/bin/true")
    yield compare("runtime: one container, `true`", "run", short,
                  lambda runtime: [*runtime.command, "run", "--bundle", str(runtime.bundle), "one"],
                  runs)
    yield compare("life: create, start, delete of `true`", "×3", short,
                  lambda runtime: ["env", f"B={runtime.bundle}", "sh", "-c", LIFE, "sh",
                                   *runtime.command], runs)


def single(sleeping: list[Runtime], runs: int) -> Iterator[str]:
    """Each command of such a life alone: of `sleep`, which is killed before it is deleted."""

    def removed(runtime: Runtime) -> Callable[[], None]:
        return runtime.do("delete", "--force", "single")

    def created(runtime: Runtime) -> Callable[[], None]:
        return lambda: runtime.begin("single")

    def killed(runtime: Runtime) -> Callable[[], None]:
        def ended() -> None:
            runtime.begin("single")
            kill_and_wait(runtime, "single")

        return ended

    yield compare("create", "create", sleeping, lambda runtime: runtime.create("single"), runs,
                  after=removed)
    yield compare("start", "start", sleeping, lambda runtime: [*runtime.command, "start", "single"],
                  runs, before=created, after=removed)
    yield compare("delete: of a container that has ended", "delete", sleeping,
                  lambda runtime: [*runtime.command, "delete", "single"], runs, before=killed)


def kill_and_wait(runtime: Runtime, container: str) -> None:
    """Kill a container, and wait until the runtime calls it stopped."""
    runtime.do("kill", container, "KILL")()
    while json.loads(run(*runtime.command, "state", container))["status"] != "stopped":
        pass
