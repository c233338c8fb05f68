"""A registry's answers, good and bad: groups RG and IM22, IM28 of the catalogue of cases.

Real registries (docker-registry, plain, with TLS and passwords, with tokens) say what is right;
what they never do, fake_registry does on purpose.
"""

import base64
import doctest
import hashlib
import itertools
import json
import os
import ssl
import threading
import time

import pytest

from minirun.errors import AuthError, DigestError, InvalidReference, RateLimited, RegistryError
from minirun.image import connection, patience
from minirun.image.connection import Reach, nearness
from minirun.image.credentials import Credential
from minirun.image.patience import Patience
from minirun.image.reference import parse
from minirun.image.registries import Endpoint
from minirun.image.registry import LARGEST_MANIFEST, Registry, find
from tests import components, images
from tests.image import fake_registry as fakes
from tests.image.fake_registry import (
    body,
    chunked,
    cut,
    drip,
    endless,
    endless_redirect,
    fake_registry,
    forever,
    hang,
    header,
    raw,
    redirect,
    status,
)

HURRIED = Patience(connect=2, stall=0.3, tries=4, first_wait=0.01, longest_wait=0.5, in_all=3)
ACCEPT = [fakes.MANIFEST, fakes.INDEX]
ALICE = Credential("alice", "s3cret")
CONTENT = bytes(range(256)) * 4096  # a mebibyte
ENVIRONMENT = ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
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


def client(fake, credential=None, patience=HURRIED, **options):
    return Registry(Endpoint(fake.host, "lib/app"), credential, patience=patience, **options)


def get_manifest(fake, target="latest", **options):
    with client(fake, **options) as registry:
        return registry.manifest(target, accept=ACCEPT)


def get_blob(fake, descriptor, offset=0, **options):
    with client(fake, **options) as registry:
        return read(registry, descriptor, offset)


def read(registry, descriptor, offset=0):
    return b"".join(registry.blob(descriptor, offset))


def test_doctests():
    assert doctest.testmod(connection).failed == doctest.testmod(patience).failed == 0


# --- real registries ------------------------------------------------------------------------


def pull(name, **options):
    """Manifest, config and layers of an image, each with the digest that it should have."""
    registry, manifest = find(parse(name), accept=ACCEPT, patience=HURRIED, **options)
    with registry:
        assert manifest.digest == f"sha256:{hashlib.sha256(manifest.body).hexdigest()}"
        document = json.loads(manifest.body)
        for descriptor in (document["config"], *document["layers"]):
            content = b"".join(registry.blob(descriptor))
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]
            for offset in (1, len(content) // 2, len(content) - 1, len(content)):
                assert b"".join(registry.blob(descriptor, offset)) == content[offset:]
        by_digest = registry.manifest(manifest.digest, accept=ACCEPT)
        assert by_digest == manifest
    return manifest


@pytest.mark.parametrize("kind", [{}, {"tls": True}, {"token": True}], ids=str)
def test_a_real_registry(kind, tmp_path, monkeypatch):
    with components.registry(tmp_path / "registry", **kind) as server:
        name = server.push(images.layout("busybox"), "library/busybox:latest")
        if server.tls:
            trust(server.certificates, monkeypatch)
        if server.needs_password:
            with pytest.raises(AuthError, match="does not exist, or is private"):
                pull(name)
            monkeypatch.setenv("REGISTRY_AUTH_FILE", str(server.authfile(password="wrong")))
            with pytest.raises(AuthError, match="does not accept the password of alice") as caught:
                pull(name)
            assert "wrong" not in str(caught.value.__dict__)
            server.authfile()
        assert pull(name).media_type == fakes.MANIFEST
        with pytest.raises(RegistryError, match="no such tag") as caught:
            pull(name.replace(":latest", ":latset"))
        assert caught.value.hint == "it has latest"
        with pytest.raises(RegistryError, match="no such image or tag"):
            pull(name.replace("busybox", "nope"))


def test_a_token_is_fetched_once_for_all_requests(tmp_path, monkeypatch):
    with components.registry(tmp_path / "registry", token=True) as server:
        name = server.push(images.layout("busybox"), "public/busybox:latest")
        server.token_server.asked.clear()
        pull(name)
        asked = server.token_server.asked
        assert [(each["method"], each["user"]) for each in asked] == [("GET", "")]
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(server.authfile()))
        pull(name)
        assert [each["user"] for each in asked] == ["", "alice"]
        assert "scope=repository:public/busybox:pull" in asked[-1]["path"]


def test_an_identity_token_is_posted(tmp_path, monkeypatch):
    with components.registry(tmp_path / "registry", token=True) as server:
        name = server.push(images.layout("busybox"), "library/busybox:latest")
        server.token_server.asked.clear()
        config = {"auths": {server.host: {"identitytoken": "refresh-alice"}}}
        server.authfile().write_text(json.dumps(config))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(server.directory / "config.json"))
        pull(name)
        assert [(e["method"], e["user"]) for e in server.token_server.asked] == [("POST", "alice")]


def trust(certificates, monkeypatch):
    """Let the user's certs.d be this folder."""
    home = certificates.parent / "xdg"
    (home / "containers").mkdir(parents=True)
    (home / "containers/certs.d").symlink_to(certificates)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))


# --- manifests ------------------------------------------------------------------------------


def test_a_manifest_by_tag_and_by_digest(fake):
    digest = fake.manifest("lib/app", "latest", {"a": 1}, "application/X; charset=utf-8")
    by_tag, by_digest = get_manifest(fake), get_manifest(fake, digest)
    assert by_tag == by_digest
    assert by_tag == ("application/x", b'{"a": 1}', digest)
    assert fake.requests[0].headers["accept"] == f"{fakes.MANIFEST}, {fakes.INDEX}"


def test_rg10_a_digest_gets_another_document(fake):
    digest = fake.manifest("lib/app", "latest", {"a": 1})
    fake.on("/manifests/", body(b'{"a": 2}'))
    with pytest.raises(DigestError, match="sent a manifest that is not sha256:"):
        get_manifest(fake, digest)


@pytest.mark.parametrize("lie", [
    "sha256:" + "0" * 64, "sha256:../..", "nonsense", "md5:x", "sha512:0",
])
def test_rg10_docker_content_digest_lies(fake, lie):
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.on("/manifests/", header(Docker_Content_Digest=lie))
    with pytest.raises(DigestError):
        get_manifest(fake)


def test_a_registry_need_not_announce_a_digest(fake):
    digest = fake.manifest("lib/app", "latest", {"a": 1})
    fake.on("/manifests/", header(Docker_Content_Digest=""))
    assert get_manifest(fake).digest == digest


@pytest.mark.parametrize("digest", [
    "sha256:../../etc", "sha256:" + "F" * 64, "sha256:abc", "md5:" + "a" * 32, "sha256:", "x:y",
    "sha256:" + "f" * 64 + "/../x", "sha256:" + "f" * 64 + "\n",
])
def test_im22_bad_digests_never_leave_this_machine(fake, digest):
    with pytest.raises(InvalidReference):
        get_manifest(fake, digest)
    with pytest.raises(InvalidReference):
        get_blob(fake, {"digest": digest, "size": 10})
    assert fake.requests == []


def test_im28_a_manifest_may_have_four_mebibytes_and_no_more(fake):
    fake.manifest("lib/app", "most", b" " * LARGEST_MANIFEST)
    fake.manifest("lib/app", "more", b" " * (LARGEST_MANIFEST + 1))
    assert len(get_manifest(fake, "most").body) == LARGEST_MANIFEST
    with pytest.raises(RegistryError, match="more than 4194304 bytes"):
        get_manifest(fake, "more")
    fake.on("/manifests/", endless())
    with pytest.raises(RegistryError, match="more than 4194304 bytes"):
        get_manifest(fake, "most")


def test_im28_of_an_error_only_the_beginning_is_read(fake):
    fake.on("/manifests/", lambda request, reply: endless()(request, fakes.Reply(400)))
    with pytest.raises(RegistryError, match="400 Bad Request") as caught:
        get_manifest(fake)
    assert len(caught.value.message) < 300


def test_im28_a_token_may_have_a_mebibyte(fake):
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.token()
    fake.on("/token", body(b'{"token":"' + b"x" * (1 << 20) + b'"}'))
    with pytest.raises(RegistryError, match="more than 1048576 bytes"):
        get_manifest(fake)


def test_im28_im32_tags_that_are_none_do_not_get_into_a_hint(fake):
    tags = ["../etc", "a/b", "new\nline", "\x1b[2J", 7, None, "x" * 200, "good-1", "good-2"]
    fake.contents["/v2/lib/app/tags/list"] = fakes.Reply(body=json.dumps({"tags": tags}).encode())
    with pytest.raises(RegistryError) as caught:
        get_manifest(fake, "good-3")
    assert caught.value.hint == "it has good-2, good-1"
    for fault in (endless(), body(b"["), body(b"{}"), body(b"null"), hang(), status(503)):
        fake.on("/tags/", fault)
        with pytest.raises(RegistryError, match="no such image or tag"):
            get_manifest(fake, "good-3")


def test_a_registrys_own_words_are_shown_and_tamed(fake):
    words = {"errors": [{"code": "DENIED", "message": "\x1b[2Jno\r\n" + "x" * 1000}]}
    fake.on("/manifests/", status(418, json.dumps(words).encode()))
    with pytest.raises(RegistryError) as caught:
        get_manifest(fake)
    assert "418 I'm a Teapot" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


# --- tokens and passwords -------------------------------------------------------------------


def said(server):
    """The Authorization of each request, in order."""
    return [request.headers.get("authorization") for request in server.requests]


def test_a_bearer_token(fake):
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.token()
    get_manifest(fake)
    assert [each.target for each in fake.requests] == [
        "/v2/lib/app/manifests/latest", "/token?scope=repository:lib/app:pull&service=fake",
        "/v2/lib/app/manifests/latest"]
    assert "authorization" not in fake.requests[1].headers


def test_the_password_goes_to_the_token_server_and_not_to_the_registry(fake, elsewhere):
    fake.manifest("lib/app", "latest", {"a": 1})
    elsewhere.token()
    fake.challenge, fake.authorization = elsewhere.challenge, elsewhere.authorization
    elsewhere.challenge = elsewhere.authorization = ""
    get_manifest(fake, credential=ALICE)
    basic = f"Basic {base64.b64encode(b'alice:s3cret').decode()}"
    assert said(elsewhere) == [basic]
    assert said(fake) == [None, fake.authorization]


def test_a_token_that_ran_out_is_fetched_again(fake):
    layer = fake.blob(CONTENT)
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.token("first")
    with client(fake) as registry:
        registry.manifest("latest", accept=ACCEPT)
        fake.token("second")
        assert b"".join(registry.blob(layer)) == CONTENT
    assert len(fake.asked("/token")) == 2


def test_threads_share_a_token(fake):
    layers = [fake.blob(bytes([number]) * 1000) for number in range(8)]
    fake.token()
    with client(fake) as registry:
        results = []
        threads = [threading.Thread(target=lambda: results.append(read(registry, layers.pop())))
                   for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [bytes([number]) * 1000 for number in range(8)]
    assert len(fake.asked("/token")) == 1


def test_rg06_a_401_that_never_ends(fake):
    fake.token()
    fake.authorization = "something else"
    with pytest.raises(AuthError, match="does not exist, or is private"):
        get_manifest(fake)
    assert len(fake.requests) == 3
    fake.challenge = 'Basic realm="x"'
    with pytest.raises(AuthError, match="does not accept the password of alice"):
        get_manifest(fake, credential=ALICE)
    assert len(fake.requests) == 5


@pytest.mark.parametrize("answer", [
    b"", b"null", b"[]", b"{}", b'{"token":7}', b'{"token":""}', b'{"token":"a\\r\\nX: y"}',
    b'{"token":"a b"}', b'{"token":"\xc3\xa9"}', b"{" * 5000, b"[" * 200000,
])
def test_a_token_that_is_none(fake, answer):
    fake.token()
    fake.on("/token", body(answer))
    with pytest.raises(RegistryError, match="holds no token"):
        get_manifest(fake)


@pytest.mark.parametrize("challenge", [
    'Digest realm="x"', "Bearer", "Bearer realm=", 'Bearer realm="unended', 'Bearer realm=""',
    'Bearer service="x"', "Bearer " + "x=y," * 9999,
])
def test_rg11_challenges_that_cannot_be_answered(fake, challenge):
    fake.authorization, fake.challenge = "never", challenge
    with pytest.raises(RegistryError):
        get_manifest(fake, credential=ALICE)
    assert len(fake.requests) == 1
    assert "authorization" not in fake.requests[0].headers


@pytest.mark.parametrize("realm", [
    "https://alice@{host}/token", "file:///etc/passwd", "gopher://{host}/token", "//{host}/token",
    "{host}/token", "http://{host}/a b", "http://evil\\@{host}/token",
])
def test_rg01_a_realm_that_makes_no_sense_is_not_asked(fake, elsewhere, realm):
    fake.authorization = "never"
    fake.challenge = f'Bearer realm="{realm.format(host=elsewhere.host)}"'.replace("\\", "\\\\")
    with pytest.raises(RegistryError, match="makes no sense"):
        get_manifest(fake, credential=ALICE)
    assert elsewhere.requests == []


def test_rg01_a_password_does_not_leave_the_registrys_domain(fake, elsewhere):
    fake.authorization = "never"
    port = elsewhere.host.partition(":")[2]
    fake.challenge = f'Bearer realm="http://localhost:{port}/token"'  # fake is 127.0.0.1
    with pytest.raises(AuthError, match=r"wants its password sent to localhost.*refused") as caught:
        get_manifest(fake, credential=ALICE)
    assert "docker login localhost" in caught.value.hint
    assert elsewhere.requests == []


def test_rg01_a_token_server_elsewhere_gets_what_is_kept_for_it(
        fake, elsewhere, tmp_path, monkeypatch):
    fake.manifest("lib/app", "latest", {"a": 1})
    elsewhere.token()
    fake.authorization = elsewhere.authorization
    fake.challenge = elsewhere.challenge.replace("127.0.0.1", "localhost")
    pair = base64.b64encode(b"bob:other").decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {"localhost": {"auth": pair}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    get_manifest(fake, credential=ALICE)
    assert elsewhere.requests[0].headers["authorization"] == f"Basic {pair}"


def test_rg01_anybody_may_be_asked_for_an_anonymous_token(fake, elsewhere):
    fake.manifest("lib/app", "latest", {"a": 1})
    elsewhere.token()
    fake.authorization = elsewhere.authorization
    fake.challenge = elsewhere.challenge.replace("127.0.0.1", "localhost")
    get_manifest(fake)
    assert len(elsewhere.requests) == 1


def test_rg01_no_plain_token_server_for_a_registry_with_tls(secure, elsewhere):
    elsewhere.token()
    secure.authorization, secure.challenge = "never", elsewhere.challenge
    with pytest.raises(RegistryError, match="from https to plain http"):
        get_manifest(secure, credential=ALICE)
    assert elsewhere.requests == []


def test_rg02_a_token_server_that_redirects_gets_no_password_there(fake, elsewhere):
    fake.token()
    fake.on("/token", redirect(f"{elsewhere.url}/token"))
    elsewhere.contents["/token"] = fakes.Reply(body=b'{"token":"good-token"}')
    fake.manifest("lib/app", "latest", {"a": 1})
    get_manifest(fake, credential=ALICE)
    assert "authorization" in fake.asked("/token")[0].headers
    assert "authorization" not in elsewhere.requests[0].headers


def test_rg02_a_form_with_secrets_follows_no_redirect(fake, elsewhere):
    fake.token()
    fake.on("/token", redirect(f"{elsewhere.url}/token", 307))
    with pytest.raises(RegistryError, match="redirects a form"):
        get_manifest(fake, credential=Credential("", "", "refresh"))
    assert elsewhere.requests == []


def test_rg12_secrets_from_nowhere_else(fake, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.netrc").write_text("default login alice password s3cret\n")
    fake.manifest("lib/app", "latest", {"a": 1})
    get_manifest(fake)
    assert said(fake) == [None]


def test_rg12_secrets_are_neither_told_nor_in_errors(fake):
    fake.token("t0ken")
    told = []
    get = {"credential": ALICE, "listener": told.append}
    with pytest.raises(RegistryError) as denied:
        get_manifest(fake, **get)
    fake.authorization = "never"
    with pytest.raises(AuthError) as refused:
        get_manifest(fake, **get)
    assert len(told) == 9  # two of them find out that this is plain HTTP
    shown = repr([told, denied.value.__dict__, refused.value.__dict__])
    basic = base64.b64encode(b"alice:s3cret").decode()
    assert not [secret for secret in ("s3cret", "t0ken", basic) if secret in shown]


# --- redirects ------------------------------------------------------------------------------


def test_rg03_a_redirect_to_another_host_takes_no_secrets_along(fake, elsewhere):
    layer = fake.blob(CONTENT)
    fake.token()
    path = next(iter(fake.contents))
    elsewhere.contents["/data"] = fake.contents[path]
    fake.on("/blobs/", status(401, WWW_Authenticate=fake.challenge, Set_Cookie="a=b; Path=/"),
            redirect(f"{elsewhere.url}/data?signature=secret"))
    told = []
    with client(fake, ALICE, listener=told.append) as registry:
        assert b"".join(registry.blob(layer)) == CONTENT
    assert len(elsewhere.requests) == 1
    assert not {"authorization", "cookie"} & set(elsewhere.requests[0].headers)
    assert fake.requests[-1].headers["authorization"] == "Bearer good-token"
    assert "cookie" not in fake.requests[-1].headers
    assert "secret" not in repr(told)


def test_rg03_a_redirect_back_takes_no_secrets_along_either(fake, elsewhere):
    layer = fake.blob(CONTENT)
    fake.authorization, fake.challenge = "Basic YWxpY2U6czNjcmV0", "Basic realm=x"
    fake.on("/blobs/", status(401, WWW_Authenticate=fake.challenge),
            redirect(f"{elsewhere.url}/go"))
    elsewhere.on("/go", redirect(f"{fake.url}/elsewhere"))
    with pytest.raises(RegistryError):
        get_blob(fake, layer, credential=ALICE)
    assert "authorization" not in fake.asked("/elsewhere")[0].headers


def test_rg03_a_challenge_from_another_host_is_not_answered(fake, elsewhere):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", redirect(f"{elsewhere.url}/data"))
    elsewhere.on("/data", status(401, WWW_Authenticate=f'Bearer realm="{elsewhere.url}/token"'))
    with pytest.raises(RegistryError, match=f"{elsewhere.host}: answers 401"):
        get_blob(fake, layer, credential=ALICE)
    assert len(elsewhere.requests) == 1


def test_rg03_no_step_down_from_https(secure, elsewhere):
    layer = secure.blob(CONTENT)
    secure.on("/blobs/", redirect(f"{elsewhere.url}/data"))
    with pytest.raises(RegistryError, match="from https to plain http"):
        get_blob(secure, layer)
    assert elsewhere.requests == []


def test_rg04_a_few_redirects_are_followed_and_no_more(fake):
    layer = fake.blob(b"content")
    path = next(iter(fake.contents))
    fake.on("/blobs/", [redirect(f"/hop{number}") for number in range(1)])
    for number in range(3):
        fake.on(f"/hop{number}", redirect(f"/hop{number + 1}", (301, 302, 308)[number]))
    fake.contents["/hop3"] = fake.contents[path]
    assert get_blob(fake, layer) == b"content"
    fake.on("", forever(redirect("/again")))
    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        get_blob(fake, layer)


def test_rg04_nobody_listens_to_the_body_of_a_redirect(fake, elsewhere):
    layer = fake.blob(b"content")
    elsewhere.contents["/data"] = next(iter(fake.contents.values()))
    fake.on("/blobs/", endless_redirect(f"{elsewhere.url}/data"))
    assert get_blob(fake, layer) == b"content"


def test_a_signature_in_a_url_is_not_told(fake):
    layer = fake.blob(b"content")
    path = next(iter(fake.contents))
    fake.contents["/data"] = fake.contents[path]
    fake.on("/blobs/", redirect("/data?signature=s3cret"))
    told = []
    get_blob(fake, layer, listener=told.append)
    assert fake.requests[-1].target == "/data?signature=s3cret"
    assert "/data" in repr(told)
    assert "s3cret" not in repr(told)


@pytest.mark.parametrize("location", [
    "", "file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "http://a@127.0.0.1/",
    "http://[::1/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "data:text/plain,x", "http:///x",
    "http://127.0.0.1/\x01", "http://\xe9/",
])
def test_rg04_redirects_to_nowhere(fake, location):
    layer = fake.blob(b"content")
    fake.on("/blobs/", forever(redirect(location)))
    with pytest.raises(RegistryError):
        get_blob(fake, layer)


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


# --- blobs ----------------------------------------------------------------------------------


def test_a_blob_comes_in_large_pieces(fake):
    layer = fake.blob(CONTENT * 3)
    with client(fake) as registry:
        assert [len(piece) for piece in registry.blob(layer)] == [1 << 20] * 3


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


@pytest.mark.parametrize("percent", range(10, 100, 20))
def test_rg08_a_cut_blob_is_resumed(fake, percent):
    content = CONTENT * 4
    layer = fake.blob(content)
    fake.on("/blobs/", cut(len(content) * percent // 100))
    assert get_blob(fake, layer) == content
    first, second = fake.requests
    assert "range" not in first.headers
    assert int(second.headers.get("range", "bytes=0-")[6:-1]) <= len(content) * percent // 100


def test_rg08_a_blob_that_is_cut_again_and_again_arrives_while_there_is_progress(fake):
    layer = fake.blob(CONTENT * 20)
    fake.on("/blobs/", [cut(1500000)] * 18)
    assert get_blob(fake, layer) == CONTENT * 20


def test_rg08_a_blob_without_progress_does_not(fake):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", forever(cut(100)))
    with pytest.raises(RegistryError, match=rf"{fake.host}: .* \(4 tries\)"):
        get_blob(fake, layer)
    assert len(fake.requests) == 4


@pytest.mark.parametrize("fault", [
    header(Content_Range="bytes 0-9/10"),
    header(Content_Range=""),
    header(Content_Range="bytes */*"),
    status(416),
    lambda request, reply: fakes.Reply(body=CONTENT),
], ids=["other range", "no range", "odd range", "416", "200 whole"])
def test_rg08_servers_that_cannot_resume(fake, fault):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", fault)
    assert get_blob(fake, layer, 1000) == CONTENT[1000:]


def test_rg08_other_bytes_are_for_the_digest_to_find(fake):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", body(bytes(len(CONTENT))))
    assert get_blob(fake, layer) == bytes(len(CONTENT))


def test_an_empty_blob_and_a_complete_one_need_no_request(fake):
    assert get_blob(fake, fake.blob(b"")) == b""
    assert get_blob(fake, fake.blob(CONTENT), len(CONTENT)) == b""
    assert fake.requests == []


@pytest.mark.parametrize("content", [CONTENT + b"\0", CONTENT[:-1], b""])
def test_rg09_im21_a_blob_of_another_size(fake, content):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", forever(body(content)))
    with pytest.raises(DigestError, match=f"{len(content)} bytes to come, but .* {len(CONTENT)}"):
        get_blob(fake, layer)


def test_rg09_a_blob_without_length(fake):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", chunked())
    assert get_blob(fake, layer) == CONTENT
    fake.on("/blobs/", chunked(CONTENT + b"\0"))
    with pytest.raises(DigestError, match="longer than"):
        get_blob(fake, layer)
    fake.on("/blobs/", forever(
        lambda request, reply: chunked(reply.body[:-1])(request, reply)))
    with pytest.raises(RegistryError, match="ends 1 bytes early"):
        get_blob(fake, layer)


def test_rg09_a_blob_that_never_ends(fake):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", endless())
    with pytest.raises(DigestError, match="longer than"):
        get_blob(fake, layer)


@pytest.mark.parametrize("head", [
    b"Content-Length: 7\r\nContent-Length: 9", b"Content-Length: 7, 9", b"Content-Length: -7",
    b"Content-Length: 7x", b"Transfer-Encoding: chunked\r\nContent-Length: 7",
])
def test_rg09_two_minds_about_the_length(fake, head):
    layer = fake.blob(b"content")
    fake.on("/blobs/", forever(raw(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\ncontent")))
    try:
        assert get_blob(fake, layer) == b"content"
    except RegistryError as error:
        assert fake.host in error.message


def test_rg09_no_encoding_was_asked_for(fake):
    layer = fake.blob(CONTENT)
    fake.on("/blobs/", header(Content_Encoding="gzip"))
    with pytest.raises(RegistryError, match="encodes a blob"):
        get_blob(fake, layer)
    assert fake.requests[0].headers["accept-encoding"] == "identity"


def test_a_blob_that_is_missing(fake):
    with pytest.raises(RegistryError, match="is missing, though the manifest names it"):
        get_blob(fake, {"digest": "sha256:" + "0" * 64, "size": 5})


# --- bad moments ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_rg06_a_bad_moment_is_waited_out(fake, code):
    digest = fake.manifest("lib/app", "latest", {"a": 1})
    layer = fake.blob(CONTENT)
    fake.on("/manifests/", status(code), status(code))
    fake.on("/blobs/", status(code), cut(0), hang(50))
    assert get_manifest(fake).digest == digest
    assert get_blob(fake, layer) == CONTENT


def test_rg06_503_for_ever(fake):
    fake.on("/manifests/", forever(status(503)))
    with pytest.raises(RegistryError, match=rf"{fake.host}: answers 503 .* \(4 tries\)") as caught:
        get_manifest(fake)
    assert caught.value.hint
    assert len(fake.requests) == 4


def test_rg06_429_tells_the_limit(fake):
    fake.on("/manifests/", forever(status(429, ratelimit_limit="100;w=21600",
                                          ratelimit_remaining="0;w=21600")))
    with pytest.raises(RateLimited, match="its limit is 100 in 6 hours, 0 left") as caught:
        get_manifest(fake)
    assert "log in" in caught.value.hint


@pytest.mark.parametrize(("after", "tries"), [
    ("0", 4), ("1000000000", 1), ("9" * 400, 1), ("Wed, 21 Oct 2099 07:28:00 GMT", 1),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 4), ("-5", 4), ("soon", 4), ("Wed, 99 Foo 9999", 4), ("١", 4),
])
def test_rg06_retry_after_is_obeyed_if_it_is_short(fake, after, tries):
    after = after.encode().decode("latin-1")
    fake.on("/manifests/", forever(status(429, Retry_After=after)))
    began = time.monotonic()
    with pytest.raises(RateLimited):
        get_manifest(fake)
    assert len(fake.requests) == tries
    assert time.monotonic() - began < 2


def test_rg06_waits_as_long_as_it_is_told(fake):
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.on("/manifests/", status(503, Retry_After="1"))
    began = time.monotonic()
    get_manifest(fake, patience=HURRIED._replace(longest_wait=5))
    assert time.monotonic() - began > 1


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


@pytest.mark.parametrize("answer", [
    b"", b"\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n", b"\x00" * 1000,
], ids=itertools.count())
def test_rg11_answers_that_are_not_http(fake, answer):
    fake.on("/manifests/", forever(raw(answer)))
    fake.on("/tags/", forever(raw(answer)))
    with pytest.raises((RegistryError, DigestError), match=r"127\.0\.0\.1") as caught:
        manifest = get_manifest(fake)
        assert manifest.body == b""
        raise RegistryError("127.0.0.1: an empty answer is one")
    assert caught.value.message.isprintable()


def test_a_failure_is_explained_by_itself_alone(fake):
    """... and not by what the caller is handling at the time."""
    fake.on("/manifests/", forever(cut(0)))
    try:
        raise ssl.SSLCertVerificationError("of another server")
    except ssl.SSLError:
        with pytest.raises(RegistryError, match="cut the connection short"):
            get_manifest(fake)


def test_nobody_listens():
    host = f"127.0.0.1:{components.free_port()}"
    with Registry(Endpoint(host, "lib/app"), patience=HURRIED) as registry:
        with pytest.raises(RegistryError, match=f"{host}: nobody listens there"):
            registry.manifest("latest", accept=ACCEPT)


def test_waits_are_told(fake):
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.on("/manifests/", status(503))
    told = []
    get_manifest(fake, listener=told.append)
    assert [(each.request.partition(" ")[0], each.status) for each in told] == [
        ("GET", 0), ("GET", 503), ("wait", 0), ("GET", 200)]


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


# --- TLS and plain HTTP ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA and a certificate for 127.0.0.1 and localhost."""
    components.require("openssl")
    directory = tmp_path_factory.mktemp("certificates")
    components.make_certificate(directory, "127.0.0.1:0")
    return directory


def server_context(directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return context


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


def test_rg05_a_certificate_that_has_expired(tmp_path):
    images.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-nodes", "-days", "-1", "-subj", "/CN=127.0.0.1", "-addext",
               "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:TRUE",
               "-keyout", tmp_path / "server.key", "-out", tmp_path / "server.crt")
    with fake_registry(server_context(tmp_path)) as server:
        place = tmp_path / "home/.config/containers/certs.d" / server.host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes((tmp_path / "server.crt").read_bytes())
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
