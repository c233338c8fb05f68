"""Registries for the tests of the client, and a world in which nothing else is known."""

import os

import pytest

from tests import components
from tests.image.conversation import server_context
from tests.image.fake_registry import fake_registry

ENVIRONMENT = ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No passwords, certificates, mirrors or proxies of this machine."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "registries.conf").touch()
    monkeypatch.setenv("MINIRUN_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ENVIRONMENT:
            monkeypatch.delenv(name)


@pytest.fixture
def fake():
    with fake_registry() as server:
        yield server


@pytest.fixture
def elsewhere():
    """Another host: by its port, so that it can be on loopback too."""
    with fake_registry() as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A CA and a certificate for 127.0.0.1 and localhost."""
    components.require("openssl")
    directory = tmp_path_factory.mktemp("certificates")
    components.make_certificate(directory, "127.0.0.1:0")
    return directory


@pytest.fixture
def untrusted(certificates):
    """An HTTPS registry whose CA nobody knows."""
    with fake_registry(server_context(certificates)) as server:
        yield server


@pytest.fixture
def secure(untrusted, certificates, tmp_path, monkeypatch):
    """An HTTPS registry whose CA is in certs.d."""
    home = tmp_path / "xdg"
    place = home / "containers/certs.d" / untrusted.host
    place.mkdir(parents=True)
    (place / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    return untrusted
