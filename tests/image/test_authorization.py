"""Tokens and passwords: who gets them, and who does not (RG01, RG02, RG06, RG11, RG12)."""

import base64
import json
import threading

import pytest

from minirun.errors import AuthError, RegistryError
from minirun.image.credentials import Credential
from tests.image import fake_registry as fakes
from tests.image.conversation import ACCEPT, ALICE, CONTENT, client, get_manifest, read, said
from tests.image.fake_registry import body, redirect

pytestmark = pytest.mark.usefixtures("alone")


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


def test_rg01_no_plain_token_server_but_on_loopback(fake):
    """A registry on loopback may do without TLS; that says nothing of a host elsewhere."""
    fake.authorization = "never"
    fake.challenge = 'Bearer realm="http://203.0.113.1/token",service="x"'  # TEST-NET-3, RFC 5737
    with pytest.raises(RegistryError, match=r"sends us to plain http, at 203\.0\.113\.1"):
        get_manifest(fake)


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
