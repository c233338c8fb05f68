"""The three engines side by side: minirun, podman and docker, each with a tiny image of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import images
from tests.bench.measure import Contender, interleave, nothing, table
from tests.bench.runtimes import quietly
from tests.daemons import dockerd, podman


@dataclass(frozen=True)
class Engine:
    """Its name, the beginning of its command line, an image with a shell in it."""

    name: str
    command: list[str]
    image: str

    def run(self, *options: str, command: str = "") -> list[str]:
        """``run OPTIONS IMAGE``, and a line of shell if given."""
        shell = ["sh", "-c", command] if command else []
        return [*self.command, "run", *options, self.image, *shell]

    def do(self, *words: str) -> None:
        """A command that is not measured; RuntimeError, with its last words, if it fails."""
        quietly([*self.command, *words])


@contextmanager
def engines(scratch: Path) -> Iterator[list[Engine]]:
    with ExitStack() as stack:
        docker = stack.enter_context(dockerd(scratch / "docker", within=[]))
        podman_ = stack.enter_context(podman(scratch / "podman", within=[]))
        for engine in (docker, podman_):
            engine.load(images.layout("busybox"), "busybox:bench")
        yield [
            Engine("minirun", ["minirun"], "tiny"),
            Engine("podman", podman_.command, "busybox:bench"),
            Engine("docker", docker.command, "busybox:bench"),
        ]


def compare(
    title: str, each: list[Engine], command: Callable[[Engine], list[str]], runs: int,
    before: Callable[[Engine], object] = nothing, after: Callable[[Engine], object] = nothing,
    note: str = "",
) -> str:
    """One command of all three, in turns: a table. ``before`` and ``after`` are not measured."""
    contenders = [
        Contender(engine.name, command(engine),
                  lambda engine=engine: before(engine), lambda engine=engine: after(engine))
        for engine in each
    ]
    return table(f"{title}, {runs} runs", interleave(contenders, runs), note=note)
