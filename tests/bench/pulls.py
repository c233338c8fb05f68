"""An image from a registry on loopback to a root file system on disk, nothing cached before."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests import images
from tests.bench.measure import Contender, interleave, table
from tests.components import Registry, registry
from tests.daemons import dockerd, podman

CLIENTS = "What dockerd does is in docker's wall-clock time only."


def bench(scratch: Path, runs: int = 3) -> Iterator[str]:
    with pullers(scratch) as (server, contenders):
        for name, what in (("layers30", "30 small layers"), ("debian", "Debian, one layer")):
            image = server.push(images.layout(name), f"library/{name}:latest")
            results = interleave(contenders(image), runs)
            yield table(f"pull: {what}, {runs} runs", results, note=CLIENTS)


@contextmanager
def pullers(scratch: Path) -> Iterator[tuple[Registry, Callable[[str], list[Contender]]]]:
    """A registry, and who pulls an image from it. Each forgets the image after each run."""
    own, copy = scratch / "minirun", scratch / "copy"
    with registry(scratch / "registry") as server, \
            dockerd(scratch / "docker", within=[]) as docker, \
            podman(scratch / "podman", within=[]) as podman_:

        def contenders(image: str) -> list[Contender]:
            script = (f"set -e; mkdir {copy}; cd {copy};"
                      f"skopeo copy --quiet --src-tls-verify=false docker://{image} oci:layout:1;"
                      f"umoci raw unpack --image layout:1 rootfs")
            remove = ("rmi", "--force", image)
            return [
                Contender("minirun pull", ["minirun", "--root", str(own), "pull", image],
                          os.sync, partial(shutil.rmtree, own)),
                Contender("skopeo copy; umoci raw unpack", ["sh", "-c", script],
                          os.sync, partial(shutil.rmtree, copy)),
                Contender("podman pull", [*podman_.command, "pull", "--tls-verify=false", image],
                          os.sync, partial(podman_, *remove)),
                Contender("docker pull", [*docker.command, "pull", image],
                          os.sync, partial(docker, *remove)),
            ]

        yield server, contenders
