"""What lives as long as the whole run: registries with images in them, the runtime of engines."""

import os
from pathlib import Path

import pytest

from tests import images
from tests import residue as residues
from tests.components import private_network, registry, require
from tests.daemons import dockerd, minirun_oci, other_runtimes


@pytest.fixture(scope="session")
def oci_runtime(tmp_path_factory) -> str:
    """The program that engines get as their runtime: minirun-oci of this tree, or $OCI_RUNTIME."""
    if name := os.environ.get("OCI_RUNTIME"):
        return require(name)
    return str(minirun_oci(tmp_path_factory.mktemp("bin")))


@pytest.fixture(scope="module")
def tidy_module():
    """What a module's daemons leave behind is counted when they have ended: nothing."""
    before = residues.snapshot()
    yield
    assert residues.left(before) == {}


@pytest.fixture(scope="module")
def docker(oci_runtime, tmp_path_factory, tidy_module):
    """dockerd with the image busybox; its default runtime is the one under test, runc is there too.

    At the end no container is known to that runtime.
    """
    directory = tmp_path_factory.mktemp("docker")
    options = ("--add-runtime", f"minirun={oci_runtime}", "--default-runtime", "minirun")
    with other_runtimes(), private_network() as enter:
        with dockerd(directory, within=enter, options=options) as engine:
            engine.load(images.layout("busybox"), "busybox")
            yield engine
            if left := engine("ps", "--all", "--quiet").split():
                engine("rm", "--force", "--volumes", *left)
            for states in Path(directory, "exec").glob("runtime-*/moby"):
                assert os.listdir(states) == []


@pytest.fixture
def start(docker):
    """``docker run --detach``; the containers go when the test ends."""
    started = []

    def start_one(*words):
        started.append(docker("run", "--detach", *words).strip())
        return started[-1]

    yield start_one
    if started:
        docker("rm", "--force", "--volumes", *started)


def fill(server, **wanted: str) -> None:
    for image, name in wanted.items():
        server.push(images.layout(image.replace("_", "-")), name)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """docker-registry on loopback without TLS: every image of tests/images.py."""
    with registry(tmp_path_factory.mktemp("plain")) as server:
        fill(server, busybox="public/busybox:latest", multi="public/multi:latest",
             layers30="public/layers30:latest", debian="public/debian:latest",
             debian_zstd="public/debian:zstd")
        server.push(images.layout("busybox"), "public/busybox:docker", "--format", "v2s2")
        yield server


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """HTTPS with a password; a password takes the server 0.1 s a request, so it has one image."""
    with registry(tmp_path_factory.mktemp("tls"), tls=True) as server:
        fill(server, busybox="public/busybox:latest")
        yield server


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    """With a token server; ``private/…`` is for alice."""
    with registry(tmp_path_factory.mktemp("token"), token=True) as server:
        fill(server, busybox="public/busybox:latest", multi="public/multi:latest")
        fill(server, busybox="private/busybox:latest")
        yield server
