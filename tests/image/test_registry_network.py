"""Registries by their real names and addresses, in a network that ends at its own loopback.

docker.io, its token server and its storage are played by fakes behind the real host names and port
443, answering as Docker's documentation says; nothing in the client knows of the play.
"""

import base64
import json
import os
import socket
import socketserver
import ssl
import sys
import threading
import traceback
from contextlib import ExitStack, contextmanager

import pytest

from minirun import linux
from minirun.errors import RegistryError
from minirun.image.patience import Patience
from minirun.image.reference import parse
from minirun.image.registries import Endpoint
from minirun.image.registry import Registry, find
from tests import components
from tests.image import fake_registry as fakes
from tests.image.fake_registry import fake_registry, redirect
from tests.images import run

HURRIED = Patience(connect=2, stall=1, tries=2, first_wait=0.01, longest_wait=0.5, in_all=3)
ACCEPT = [fakes.MANIFEST]
PUBLIC, PRIVATE, LOOPBACK, METADATA = "8.8.4.4", "10.9.8.7", "127.0.0.1", "169.254.169.254"
HUB = ["registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com"]


def in_network(play, *arguments):
    """Run ``play`` in a process with a network and an /etc/hosts of its own; fail if it fails."""
    components.require("ip", "openssl")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS)
            linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
            run("ip", "link", "set", "lo", "up")
            for address in (PUBLIC, PRIVATE, METADATA):
                run("ip", "address", "add", f"{address}/32", "dev", "lo")
            play(*arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No passwords, certificates, mirrors or proxies of this machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "registries.conf").touch()
    monkeypatch.setenv("MINIRUN_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
            monkeypatch.delenv(name)


def name_hosts(directory, hosts):
    lines = [f"{ip} {name}\n" for name, ip in {"localhost": LOOPBACK, **hosts}.items()]
    (directory / "hosts").write_text("".join(lines))
    linux.mount(str(directory / "hosts"), "/etc/hosts", None, linux.MS_BIND)


def certificate(directory, names):
    """A server's TLS context with a certificate for these names, by a CA in docker.io's certs.d."""
    place = directory / ".config/containers/certs.d/docker.io"
    place.mkdir(parents=True)
    key, cert = directory / "key.pem", place / "ca.crt"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "30", "-subj", "/CN=fake hub", "-keyout", key, "-out", cert,
        "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


# --- Docker Hub -----------------------------------------------------------------------------


@contextmanager
def docker_hub(directory):
    """registry-1.docker.io, auth.docker.io and the storage behind them."""
    names = dict(zip(HUB, ("127.0.1.1", "127.0.1.2", "127.0.1.3"), strict=True))
    name_hosts(directory, names)
    context = certificate(directory, HUB)
    with ExitStack() as stack:
        registry, auth, storage = (stack.enter_context(fake_registry(context, (address, 443)))
                                   for address in names.values())
        auth.contents["/token"] = fakes.Reply(
            headers={"Content-Type": "application/json"},
            body=json.dumps({"token": "hub-token", "access_token": "hub-token", "expires_in": 300,
                             "issued_at": "2026-11-22T00:00:00Z"}).encode())
        registry.authorization = "Bearer hub-token"
        registry.challenge = ('Bearer realm="https://auth.docker.io/token",'
                              'service="registry.docker.io",'
                              'scope="repository:library/centos:pull"')
        yield registry, auth, storage


def pull_from_hub(directory, credential):
    with docker_hub(directory) as (registry, auth, storage):
        layer = registry.blob(b"a layer", "library/centos")
        registry.manifest("library/centos", "8", {"layers": [layer]})
        path = f"/v2/library/centos/blobs/{layer['digest']}"
        storage.contents["/registry-v2/data"] = registry.contents[path]
        registry.on(path, redirect(f"https://{HUB[2]}/registry-v2/data?verify=secret"))
        told = []
        client, manifest = find(parse("centos:8"), accept=ACCEPT, patience=HURRIED,
                                listener=told.append)
        with client:
            assert b"".join(client.blob(json.loads(manifest.body)["layers"][0])) == b"a layer"
        asked = [(each.target, each.headers.get("authorization"))
                 for server in (registry, auth, storage) for each in server.requests]
        assert asked == [
            ("/v2/library/centos/manifests/8", None),
            ("/v2/library/centos/manifests/8", "Bearer hub-token"),
            (path, "Bearer hub-token"),
            ("/token?scope=repository:library/centos:pull&service=registry.docker.io", credential),
            ("/registry-v2/data?verify=secret", None),
        ]
        assert [each.request for each in told] == [
            "GET https://registry-1.docker.io/v2/library/centos/manifests/8",
            "GET https://auth.docker.io/token"
            "?scope=repository:library/centos:pull&service=registry.docker.io",
            "GET https://registry-1.docker.io/v2/library/centos/manifests/8",
            f"GET https://registry-1.docker.io{path}",
            "GET https://production.cloudflare.docker.com/registry-v2/data",
        ]


def test_the_conversation_with_docker_hub(tmp_path):
    in_network(pull_from_hub, tmp_path, None)


def test_the_password_for_docker_hub_goes_to_its_token_server_alone(tmp_path):
    pair = base64.b64encode(b"alice:s3cret").decode()
    (tmp_path / ".docker").mkdir()
    config = {"auths": {"https://index.docker.io/v1/": {"auth": pair}}}
    (tmp_path / ".docker/config.json").write_text(json.dumps(config))
    in_network(pull_from_hub, tmp_path, f"Basic {pair}")


def pull_through_mirrors(directory):
    with fake_registry() as broken, fake_registry() as mirror:
        mirror.manifest("hub/library/centos", "8", {"a": 1})
        (directory / "registries.conf").write_text(
            '[[registry]]\nprefix = "docker.io"\n'
            f'[[registry.mirror]]\nlocation = "{broken.host}"\n'
            f'[[registry.mirror]]\nlocation = "{mirror.host}/hub"\n')
        client, manifest = find(parse("centos:8"), accept=ACCEPT, patience=HURRIED)
        client.close()
        assert manifest.body == b'{"a": 1}'
        assert broken.asked("/v2/library/centos/manifests/8")
        with pytest.raises(RegistryError) as caught:  # Docker Hub is not to be found here
            find(parse("centos:9"), accept=ACCEPT, patience=HURRIED)
        assert "registry-1.docker.io: no such host (and before it: " in caught.value.message
        assert f"{mirror.host}/hub/library/centos:9: no such" in caught.value.message


def test_mirrors_of_docker_hub(tmp_path):
    in_network(pull_through_mirrors, tmp_path)


# --- plain HTTP -----------------------------------------------------------------------------


def plain_where_tls_is_due():
    with fake_registry(address=(PRIVATE, 0)) as server:
        server.manifest("lib/app", "latest", {"a": 1})
        with Registry(Endpoint(server.host, "lib/app"), patience=HURRIED) as registry:
            with pytest.raises(RegistryError, match=f"{server.host}: speaks no TLS") as caught:
                registry.manifest("latest", accept=ACCEPT)
        assert "--tls-verify=false" in caught.value.hint
        assert server.requests == []
        insecure = Endpoint(server.host, "lib/app", insecure=True)
        with Registry(insecure, patience=HURRIED) as registry:
            assert registry.manifest("latest", accept=ACCEPT).body == b'{"a": 1}'


def test_rg05_plain_http_from_afar_only_if_the_user_says_so():
    in_network(plain_where_tls_is_due)


# --- sent nearer ----------------------------------------------------------------------------


def sent_nearer(directory):
    """A registry on a public address sends us to a private one, to ourselves, to the cloud."""
    name_hosts(directory, {"innocent.example": METADATA})
    with fake_registry(address=(PUBLIC, 0)) as evil:
        layer = evil.blob(b"content")
        targets = [(PRIVATE, PRIVATE), (LOOPBACK, LOOPBACK), (METADATA, METADATA),
                   (LOOPBACK, "localhost"), (LOOPBACK, "127.1"), (LOOPBACK, "2130706433"),
                   (LOOPBACK, "0x7f000001"), (LOOPBACK, "0"), (METADATA, "innocent.example"),
                   (METADATA, "[::ffff:169.254.169.254]")]
        for address, spelled in targets:
            with fake_registry(address=(address, 0)) as victim:
                url = f"http://{spelled}:{victim.host.partition(':')[2]}/secret"
                for part, fault in (("/blobs/", redirect(url)), ("/manifests/", fakes.status(
                        401, WWW_Authenticate=f'Bearer realm="{url}"'))):
                    evil.on(part, fault)
                    endpoint = Endpoint(evil.host, "lib/app", insecure=True)
                    with Registry(endpoint, patience=HURRIED) as registry:
                        with pytest.raises(RegistryError, match="nearer to this machine") as caught:
                            if part == "/blobs/":
                                list(registry.blob(layer))
                            else:
                                registry.manifest("latest", accept=ACCEPT)
                        assert caught.value.hint
                assert victim.requests == []


def test_rg01_rg02_rg04_nobody_makes_us_talk_to_what_is_nearer(tmp_path):
    in_network(sent_nearer, tmp_path)


def rebinds(directory):
    """A name that first is a public address and then our own."""
    name_hosts(directory, {"evil.example": PUBLIC})
    with (fake_registry(address=(PUBLIC, 5000)) as evil,
          fake_registry(address=(LOOPBACK, 5000)) as own):
        layer = evil.blob(b"content")
        evil.manifest("lib/app", "latest", {"a": 1})
        evil.on("/manifests/", fakes.cut(0), fakes.header(Connection="close"))
        endpoint = Endpoint("evil.example:5000", "lib/app", insecure=True)
        with Registry(endpoint, patience=HURRIED) as registry:
            registry.manifest("latest", accept=ACCEPT)
            (directory / "hosts").write_text(f"{LOOPBACK} evil.example\n")
            evil.on("/blobs/", fakes.cut(0))
            with pytest.raises(RegistryError, match="nearer to this machine"):
                list(registry.blob(layer))
        assert own.requests == []


def test_a_registry_cannot_become_ourselves(tmp_path):
    in_network(rebinds, tmp_path)


# --- proxies --------------------------------------------------------------------------------


class Tunnel(socketserver.StreamRequestHandler):
    """A proxy that does as it is told (RFC 9110, section 9.3.6, CONNECT)."""

    def handle(self):
        self.server.asked.append(self.rfile.readline().decode().split()[1])
        while self.rfile.readline().strip():
            pass
        host, _, port = self.server.asked[-1].rpartition(":")
        with socket.create_connection((host, int(port))) as target:
            self.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(target, self.connection), daemon=True)
            back.start()
            pump(self.connection, target)
            back.join()


def pump(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def hub_through_a_proxy(directory):
    with docker_hub(directory) as (registry, auth, _):
        registry.manifest("library/centos", "8", {"layers": []})
        proxy = socketserver.ThreadingTCPServer((PRIVATE, 0), Tunnel)
        proxy.daemon_threads, proxy.asked = True, []
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        os.environ["https_proxy"] = f"http://{PRIVATE}:{proxy.server_address[1]}"
        client, manifest = find(parse("centos:8"), accept=ACCEPT, patience=HURRIED)
        client.close()
        assert manifest.body == b'{"layers": []}'
        assert proxy.asked == ["registry-1.docker.io:443", "auth.docker.io:443"]
        assert len(auth.requests) == 1


def test_docker_hub_through_a_proxy(tmp_path):
    in_network(hub_through_a_proxy, tmp_path)


def refused_by_a_proxy():
    with fake_registry(address=(PRIVATE, 0)) as proxy:
        os.environ["HTTP_PROXY"] = f"http://user:pr0xy@{proxy.host}"
        os.environ["HTTPS_PROXY"] = f"http://user:pr0xy@{proxy.host}"
        os.environ["NO_PROXY"] = "direct.example"
        endpoint = Endpoint("registry.example", "lib/app", insecure=True)
        with Registry(endpoint, patience=HURRIED) as registry:
            with pytest.raises(RegistryError, match="the proxy does not let us through") as caught:
                registry.manifest("latest", accept=ACCEPT)
        assert "pr0xy" not in repr(caught.value.__dict__)
        assert [each.method for each in proxy.requests] == ["CONNECT"]
        assert proxy.requests[0].target == "registry.example:443"
        with Registry(Endpoint("direct.example", "lib/app"), patience=HURRIED) as registry:
            with pytest.raises(RegistryError, match=r"direct\.example: no such host"):
                registry.manifest("latest", accept=ACCEPT)
        with fake_registry() as near:
            near.manifest("lib/app", "latest", {"a": 1})
            with Registry(Endpoint(near.host, "lib/app"), patience=HURRIED) as registry:
                registry.manifest("latest", accept=ACCEPT)
        assert len(proxy.requests) == 1


def test_proxies_of_the_environment():
    in_network(refused_by_a_proxy)
