"""One container by three engines: what a user types, with a tiny image that is there already."""

from collections.abc import Iterator
from pathlib import Path

from tests import images
from tests.bench.measure import Contender, interleave, table
from tests.daemons import dockerd, podman


def bench(scratch: Path, runs: int = 20) -> Iterator[str]:
    options = ["run", "--rm", "--network", "none"]
    with dockerd(scratch / "docker", within=[]) as docker, \
            podman(scratch / "podman", within=[]) as podman_:
        for engine in (docker, podman_):
            engine.load(images.layout("busybox"), "busybox:bench")
        results = interleave([
            Contender("minirun run", ["minirun", *options, "tiny", "true"]),
            Contender("podman run", [*podman_.command, *options, "busybox:bench", "true"]),
            Contender("docker run", [*docker.command, *options, "busybox:bench", "true"]),
        ], runs)
    yield table(
        f"container: `run --rm --network none IMAGE true`, {runs} runs", results,
        note="Memory and processor time are the client's: what dockerd, containerd and conmon use "
             "is not in it.")
