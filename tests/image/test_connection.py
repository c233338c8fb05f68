"""Whom we trust, how long we wait, where we let ourselves be sent (RG01, RG04, RG05, RG07)."""

import doctest
import itertools
import ssl
import threading
import time

import pytest

from minirun.errors import RegistryError
from minirun.image import connection
from minirun.image.connection import Reach, nearness
from minirun.image.patience import Patience
from minirun.image.registries import Endpoint
from minirun.image.registry import Registry
from tests import images
from tests.image.conversation import (
    ACCEPT,
    CONTENT,
    HURRIED,
    client,
    get_blob,
    get_manifest,
    read,
    server_context,
)
from tests.image.fake_registry import (
    cut,
    drip,
    fake_registry,
    forever,
    hang,
    redirect,
)

pytestmark = pytest.mark.usefixtures("alone")


def test_doctest():
    assert doctest.testmod(connection).failed == 0


# --- where we may be sent -------------------------------------------------------------------


@pytest.mark.parametrize(("address", "near"), [
    ("93.184.216.34", 0), ("2606:2800:220:1::1", 0),
    ("10.0.0.1", 1), ("172.16.0.1", 1), ("192.168.1.1", 1), ("fd00::1", 1), ("100.64.0.1", 1),
    ("127.0.0.1", 2), ("127.1.2.3", 2), ("0.0.0.0", 2), ("::1", 2), ("::", 2),
    ("::ffff:127.0.0.1", 2), ("::ffff:10.0.0.1", 1), ("169.254.169.254", 3), ("fe80::1%eth0", 3),
    ("::ffff:169.254.169.254", 3), ("fd00:ec2::254", 3), ("100.100.100.200", 3),
])
def test_rg01_rg04_how_near_an_address_is(address, near):
    assert nearness(address) == near


def test_rg01_rg04_nobody_sends_us_nearer_than_they_are_themselves():
    samples = ["93.184.216.34", "10.0.0.1", "127.0.0.1", "169.254.169.254"]
    for (own, registry), (other, target) in itertools.product(enumerate(samples), repeat=2):
        reach = Reach()
        reach.check("registry", registry)
        if other > own:
            with pytest.raises(RegistryError, match="nearer to this machine"):
                reach.check("target", target)
        else:
            reach.check("target", target)


def test_a_connection_is_used_again(fake):
    layers = [fake.blob(bytes([number]) * 3000000) for number in range(4)]
    fake.manifest("lib/app", "latest", {"a": 1})
    with client(fake) as registry:
        registry.manifest("latest", accept=ACCEPT)
        for layer in layers:
            assert len(read(registry, layer)) == 3000000
    assert fake.connections == 2  # and the first found out that this is plain HTTP


def test_rg13_ipv6():
    with fake_registry(address=("::1", 0)) as server:
        server.manifest("lib/app", "latest", {"a": 1})
        assert server.host.startswith("[::1]:")
        assert get_manifest(server).body == b'{"a": 1}'


# --- how long we wait -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", [
    hang(), hang(20), hang(200), drip(0.05), drip(0.05, 200), drip(0.05, 1000),
], ids=["silent", "in status", "in headers", "drips headers", "drips headers on", "drips body"])
def test_rg07_a_server_that_stalls(fake, fault):
    layer = fake.blob(b"x" * 100000)
    fake.on("/blobs/", forever(fault))
    began = time.monotonic()
    with pytest.raises(RegistryError, match=f"{fake.host}: stopped answering"):
        get_blob(fake, layer)
    assert time.monotonic() - began < 5


def test_rg07_chunk_headers_that_drip(fake):
    layer = fake.blob(b"x" * 100000)

    def fault(request, reply):
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(1000):
            yield 0.05
            yield b"0"

    fake.on("/blobs/", forever(fault))
    began = time.monotonic()
    with pytest.raises(RegistryError, match="stopped answering"):
        get_blob(fake, layer)
    assert time.monotonic() - began < 5


def test_rg07_a_slow_server_that_gets_on_is_waited_for(fake):
    content = b"x" * 40000
    layer = fake.blob(content)

    def fault(request, reply):
        yield reply.head()
        for at in range(0, len(content), 2000):
            yield 0.05
            yield content[at:at + 2000]

    fake.on("/blobs/", fault)
    assert get_blob(fake, layer) == content  # after a second, three times the stall
    assert len(fake.requests) == 1


def test_a_slow_reader_is_not_the_servers_fault(fake):
    layer = fake.blob(CONTENT * 8)
    with client(fake) as registry:
        received = 0
        for piece in registry.blob(layer):
            received += len(piece)
            time.sleep(0.1)
    assert received == len(CONTENT) * 8
    assert len(fake.requests) == 1


def test_closing_wakes_who_waits(fake):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", forever(hang(1000)))
    registry = client(fake, patience=Patience())
    ended = []

    def read():
        try:
            list(registry.blob(layer))
        except RegistryError as error:
            ended.append(error.message)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.2)
    registry.close()
    thread.join(timeout=2)
    assert ended


# --- whom we trust --------------------------------------------------------------------------


def test_rg05_a_certificate_in_certs_d_is_trusted(secure):
    layer = secure.blob(CONTENT * 3)
    assert get_blob(secure, layer) == CONTENT * 3
    secure.on("/blobs/", cut(1500000), forever(drip(0.05, 300)))
    with pytest.raises(RegistryError, match="stopped answering"):
        get_blob(secure, layer)


def test_rg05_a_certificate_that_nobody_knows_is_refused(untrusted):
    with pytest.raises(RegistryError, match="not to be trusted") as caught:
        get_manifest(untrusted)
    assert f"certs.d/{untrusted.host}/ca.crt" in caught.value.hint
    assert "--tls-verify=false" in caught.value.hint
    assert untrusted.requests == []


def test_rg05_unless_the_user_takes_the_risk(untrusted, recwarn):
    digest = untrusted.manifest("lib/app", "latest", {"a": 1})
    endpoint = Endpoint(untrusted.host, "lib/app", insecure=True)
    with Registry(endpoint, patience=HURRIED) as registry:
        assert registry.manifest("latest", accept=ACCEPT).digest == digest
    assert not recwarn.list


def test_rg05_the_risk_is_taken_for_that_host_alone(fake, untrusted):
    layer = fake.blob(CONTENT)
    port = untrusted.host.partition(":")[2]
    fake.on("/blobs/", redirect(f"https://localhost:{port}/data"))
    with Registry(Endpoint(fake.host, "lib/app", insecure=True), patience=HURRIED) as registry:
        with pytest.raises(RegistryError, match=f"localhost:{port}: its certificate is not"):
            list(registry.blob(layer))


def test_rg05_a_certificate_for_another_name(certificates, tmp_path, monkeypatch):
    with fake_registry(server_context(certificates), ("127.0.0.2", 0)) as server:
        place = tmp_path / "xdg/containers/certs.d" / server.host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
        with pytest.raises(RegistryError, match="mismatch") as caught:
            get_manifest(server)
        assert caught.value.hint == "use the name that the certificate is for"


def test_rg05_a_certificate_that_has_expired(certificates, tmp_path):
    """``openssl ca`` alone takes dates; it wants a small database."""
    (tmp_path / "index").touch()
    (tmp_path / "ca.conf").write_text(
        f"[ca]\ndefault_ca=a\n[a]\ndatabase={tmp_path}/index\nnew_certs_dir={tmp_path}\n"
        "default_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n")
    images.run("openssl", "ca", "-batch", "-notext", "-config", tmp_path / "ca.conf",
               "-cert", certificates / "ca.crt", "-keyfile", certificates / "ca.key",
               "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
               "-extfile", certificates / "names", "-in", certificates / "server.csr",
               "-out", tmp_path / "server.crt")
    (tmp_path / "server.key").write_bytes((certificates / "server.key").read_bytes())
    with fake_registry(server_context(tmp_path)) as server:
        place = tmp_path / "home/.config/containers/certs.d" / server.host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
        with pytest.raises(RegistryError, match="certificate has expired") as caught:
            get_manifest(server)
        assert "clock" in caught.value.hint


def test_rg05_old_tls_is_not_spoken(certificates):
    context = server_context(certificates)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with fake_registry(context) as server:
        with pytest.raises(RegistryError, match="no version of TLS that is still safe"):
            get_manifest(server)
        assert server.requests == []


def test_rg05_a_broken_file_in_certs_d_is_named(secure, tmp_path):
    (tmp_path / "xdg/containers/certs.d" / secure.host / "other.crt").write_text("nonsense")
    with pytest.raises(RegistryError, match=r"other\.crt"):
        get_manifest(secure)


def test_rg05_our_own_certificate_is_for_the_registry_alone(certificates, tmp_path, monkeypatch):
    context = server_context(certificates)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates / "ca.crt")
    with fake_registry(context) as server:
        place = tmp_path / "xdg/containers/certs.d" / server.host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
        server.manifest("lib/app", "latest", {"a": 1})
        with pytest.raises(RegistryError):
            get_manifest(server)
        (place / "us.cert").write_bytes((certificates / "server.crt").read_bytes())
        (place / "us.key").write_bytes((certificates / "server.key").read_bytes())
        get_manifest(server)
        port = server.host.partition(":")[2]
        server.on("/manifests/", forever(redirect(f"https://localhost:{port}/elsewhere")))
        with pytest.raises(RegistryError):
            get_manifest(server)
        assert server.asked("/elsewhere") == []
