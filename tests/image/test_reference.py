"""Names of images: the grammar and the defaults of distribution/reference (IM22, IM32, FZ03)."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import InvalidReference
from minirun.image import reference
from minirun.image.reference import is_tag, parse, parse_digest

F64 = "f" * 64
DIGEST = f"sha256:{F64}"


def test_doctest():
    assert doctest.testmod(reference).failed == 0


@pytest.mark.parametrize(("text", "canonical", "familiar"), [
    ("centos:8", "docker.io/library/centos:8", "centos:8"),
    ("debian", "docker.io/library/debian:latest", "debian:latest"),
    ("user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
    ("index.docker.io/debian:9", "docker.io/library/debian:9", "debian:9"),
    ("index.docker.io/user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("library/foo/bar", "docker.io/library/foo/bar:latest", "library/foo/bar:latest"),
    ("other/library", "docker.io/other/library:latest", "other/library:latest"),
    ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
    ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
    ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
    ("127.0.0.1:8000/a/b:c", "127.0.0.1:8000/a/b:c", "127.0.0.1:8000/a/b:c"),
    ("192.168.1.1:5000", "docker.io/library/192.168.1.1:5000", "192.168.1.1:5000"),
    ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo:latest", "[2001:db8::1]:5000/repo:latest"),
    ("[::1]/repo:tag", "[::1]/repo:tag", "[::1]/repo:tag"),
    ("xn--n3h.com/my:xn--n3h.com", "xn--n3h.com/my:xn--n3h.com", "xn--n3h.com/my:xn--n3h.com"),
    ("b.gcr.io/test.example.com/my-app:test.example.com",) * 3,
    ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase", "lowercase:Uppercase"),
    ("LOCALDOMAIN/debian:1", "LOCALDOMAIN/debian:1", "LOCALDOMAIN/debian:1"),  # so upstream
    (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}"),
    (f"h:5/app:1@{DIGEST}",) * 3,
    (f"docker.io/{'1a' * 32}:x", f"docker.io/library/{'1a' * 32}:x", f"{'1a' * 32}:x"),
    ("a/" * 127 + "a:t", "docker.io/" + "a/" * 127 + "a:t", "a/" * 127 + "a:t"),
    ("dock__er/docker---rules", "docker.io/dock__er/docker---rules:latest",
     "dock__er/docker---rules:latest"),
])
def test_names_that_are_fine(text, canonical, familiar):
    assert parse(text).canonical == canonical
    assert parse(text).familiar == familiar
    assert parse(canonical) == parse(text) == parse(parse(text).familiar)


@pytest.mark.parametrize("text", [
    "", ":tag", f"@{DIGEST}", "Uppercase:tag", "test:5000/Uppercase/lowercase:tag", "docker/Docker",
    "https://github.com/docker/docker", "docker://alpine", "-docker", "-docker/docker",
    "docker-/docker", "-docker.io/docker/docker", "docker///docker", "docker/", "/docker",
    "____/____", "_docker/_docker", "dock..er/docker", "dock_.er/docker", "dock-.er/docker",
    "aa/asdf$$^/aa", "[fc00::1]", "[fc00::1]:5000", "fc00::1:5000/debian",
    "[fe80::1%eth0]:5000/debian", "[2001:db8:3:4::192.0.2.33]:5000/debian",
    "a/../b", "a/./b", "../a", "a/b/..", "a b", "a\nb", "a:b\n", "a:b c", "é", "a:é", "a\0b",
    "a:" + "t" * 129, "a:.dot", "a:-dash", "a:", "a::b", "h:/a", "h:0/a", "h:65536/a", "h:99999/a",
    "a/" * 128 + "a", "x" * 256, "y" * 300 + ".com/a", F64, "user@host/app", f"a@{DIGEST}@{DIGEST}",
    "a@", "a@sha256", "a@sha256:", "a@sha256:ffff", f"a@sha256:{'F' * 64}", f"a@md5:{'f' * 32}",
    f"a@SHA256:{F64}", f"a@sha256:{F64}f", f"a@sha256:{'f' * 63}g", "a@sha256:../../etc",
    f"a@sha512:{F64}", f"a@sha256:{'１' * 64}",
])
def test_im32_names_that_are_not(text):
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    assert caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(("text", "hint"), [
    ("Busybox:latest", "try busybox:latest"),
    ("localhost:5000/My/App", "try localhost:5000/my/app"),
    ("https://docker.io/a", "try docker.io/a"),
])
def test_hints(text, hint):
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize("text", [
    "sha256:../../etc", f"sha256:{'F' * 64}", "sha256:abc", f"md5:{'a' * 32}", "sha256:", "",
    "sha256", f":{F64}", f"sha256:{F64}\n", f"sha256:{'é' * 64}", f"sha256:{'٣' * 64}",
    f"sha256:{F64}/..",
])
def test_im22_digests_that_are_not(text):
    with pytest.raises(InvalidReference):
        parse_digest(text)


def test_digests():
    assert parse_digest(DIGEST) == ("sha256", F64)
    assert parse_digest(f"sha512:{F64 * 2}") == ("sha512", F64 * 2)


def test_what_is_asked_for():
    assert parse("a").target == "latest"
    assert parse("a:1").target == "1"
    assert parse(f"a:1@{DIGEST}").target == DIGEST


def test_tags_of_a_list():
    listed = ["8", "v1.0_x-y", "../x", "a/b", "a\n", "", "x" * 129]
    assert [tag for tag in listed if is_tag(tag)] == ["8", "v1.0_x-y"]


@given(st.text(alphabet="aA0-_./:@[]\n é", max_size=30) | st.text(max_size=30))
def test_fz03_parsing_is_total_and_canonical(text):
    try:
        found = parse(text)
    except InvalidReference:
        return
    assert parse(found.canonical) == found
    assert parse(found.familiar) == found
    assert found.name.isascii()
    assert ".." not in found.name.split("/")
