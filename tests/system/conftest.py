"""Registries that live as long as the whole run, with the same images in each."""

import pytest

from tests import images
from tests.components import registry

IMAGES = {"busybox": "public/busybox:latest", "multi": "public/multi:latest",
          "layers30": "public/layers30:latest"}
DEBIAN = {"debian": "public/debian:latest", "debian-zstd": "public/debian:zstd"}


def filled(server, wanted):
    for image, name in wanted.items():
        server.push(images.layout(image), name)
    server.push(images.layout("busybox"), "private/busybox:latest")
    server.push(images.layout("busybox"), "public/busybox:docker", "--format", "v2s2")
    return server


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """docker-registry on loopback without TLS: every image of tests/images.py."""
    with registry(tmp_path_factory.mktemp("plain")) as server:
        yield filled(server, IMAGES | DEBIAN)


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """The same over HTTPS with a password."""
    with registry(tmp_path_factory.mktemp("tls"), tls=True) as server:
        yield filled(server, IMAGES)


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    """The same with a token server; ``private/…`` is for alice."""
    with registry(tmp_path_factory.mktemp("token"), token=True) as server:
        yield filled(server, IMAGES)
