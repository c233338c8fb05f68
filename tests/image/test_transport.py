"""Redirects, and answers that are none (RG03, RG04, RG11)."""

import itertools
import ssl

import pytest

from minirun.errors import DigestError, RegistryError
from minirun.image.registries import Endpoint
from minirun.image.registry import Registry
from tests import components
from tests.image.conversation import ACCEPT, ALICE, CONTENT, HURRIED, client, get_blob, get_manifest
from tests.image.fake_registry import cut, endless_redirect, forever, raw, redirect, status

pytestmark = pytest.mark.usefixtures("alone")


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
