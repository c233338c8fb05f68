"""Manifests and blobs, good and bad: RG08 to RG10, IM21, IM22, IM28 of the catalogue of cases.

Real registries (docker-registry, plain, with TLS and passwords, with tokens) say what is right;
what they never do, fake_registry does on purpose.
"""

import hashlib
import json

import pytest

from minirun.errors import AuthError, DigestError, InvalidReference, RegistryError
from minirun.image.reference import parse
from minirun.image.registry import LARGEST_MANIFEST, find
from tests import components, images
from tests.image import fake_registry as fakes
from tests.image.conversation import ACCEPT, CONTENT, HURRIED, client, get_blob, get_manifest
from tests.image.fake_registry import (
    body,
    chunked,
    cut,
    endless,
    forever,
    hang,
    header,
    raw,
    status,
)

pytestmark = pytest.mark.usefixtures("alone")


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


# --- blobs ----------------------------------------------------------------------------------


def test_a_blob_comes_in_large_pieces(fake):
    layer = fake.blob(CONTENT * 3)
    with client(fake) as registry:
        assert [len(piece) for piece in registry.blob(layer)] == [1 << 20] * 3


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
