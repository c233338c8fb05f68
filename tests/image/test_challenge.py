"""What a registry's 401 asks for, and where its realm may be (RG01, RG11, FZ04)."""

import doctest
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.image import challenge
from minirun.image.challenge import Challenge, parse, same_domain, url


def test_doctest():
    assert doctest.testmod(challenge).failed == 0


HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push"'


@pytest.mark.parametrize(("header", "challenges"), [
    ("", []),
    (HUB, [Challenge("bearer", {"realm": "https://auth.docker.io/token",
                                "service": "registry.docker.io", "scope": "a:b:pull,push"})]),
    ("Basic realm=simple", [Challenge("basic", {"realm": "simple"})]),
    ("BASIC  REALM = \"A b\" ,", [Challenge("basic", {"realm": "A b"})]),
    (r'Basic realm="a \"quoted\" \\ one"', [Challenge("basic", {"realm": r'a "quoted" \ one'})]),
    ('Basic realm="a", Bearer realm="b",service="c"',
     [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b", "service": "c"})]),
    ("Negotiate", [Challenge("negotiate", {})]),
    ("Negotiate YII+/w==, Basic realm=x",
     [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
    ("Basic realm=\"\", , Bearer", [Challenge("basic", {"realm": ""}), Challenge("bearer", {})]),
])
def test_challenges(header, challenges):
    assert parse(header) == challenges


@pytest.mark.parametrize("header", [
    'Bearer realm="a" service="b"', 'Bearer realm="unended', "realm=x",
    'Bearer realm="a",realm="b"', 'Bearer realm="a",REALM="b"', "\x00", "Bearer =x",
    'Bearer "x"',
    "Bearer realm=a b=c d", "@",
])
def test_rg11_challenges_that_make_no_sense(header):
    with pytest.raises(ValueError, match="makes no sense"):
        parse(header)


def test_rg11_a_long_challenge_is_refused():
    with pytest.raises(ValueError, match="too long"):
        parse("Bearer realm=" + "x" * 20000)


@pytest.mark.parametrize("unit", ["a ", "a=", "a=b,", '"', "\\", ", ", "a" * 8, "a=\"\\", "a b=c,"])
def test_rg11_time_is_linear(unit):
    header = "Bearer " + unit * (16000 // len(unit))
    began = time.monotonic()
    try:
        parse(header)
    except ValueError:
        pass
    assert time.monotonic() - began < 0.5


@given(st.text(alphabet=' ,="\\aB:/', max_size=40) | st.text(max_size=40))
def test_fz04_parsing_ends_well_or_with_valueerror(header):
    try:
        challenges = parse(header)
    except ValueError:
        return
    assert all(each.scheme == each.scheme.lower() for each in challenges)


@pytest.mark.parametrize("text", [
    "", "token", "//host/token", "ftp://host/", "file:///etc/passwd", "gopher://host/", "https://",
    "https:///token", "https://user@host/", "https://user:pw@host/", "https://a@b@c/", "https://:@h/",
    "https://host:0/", "https://host:99999/", "https://host:port/", "https://[::1/", "https://[x]/",
    "https://a\\@evil/", "https://host/a b", "https://host/\r\nHost: evil", "https://host/\x00",
    "https://hosté/", "javascript:alert(1)", " https://host/", "https://host/\t",
])
def test_rg01_urls_that_are_not_followed(text):
    with pytest.raises(ValueError, match="makes no sense"):
        url(text, secure=False)


def test_rg01_no_step_down_from_https():
    with pytest.raises(ValueError, match="plain http"):
        url("http://host/token", secure=True)
    assert url("http://host/token", secure=False).hostname == "host"
    assert url("https://host:5/token?a=b", secure=True).geturl() == "https://host:5/token?a=b"


@pytest.mark.parametrize(("registry", "other", "same"), [
    ("registry-1.docker.io", "auth.docker.io", True),
    ("registry.gitlab.com", "gitlab.com", True),
    ("registry.gitlab.com", "GITLAB.com", True),
    ("quay.io", "quay.io", True),
    ("quay.io", "auth.quay.io", True),
    ("quay.io", "evil.io", False),
    ("ghcr.io", "io", False),
    ("registry-1.docker.io", "auth.docker.io.evil.com", False),
    ("registry-1.docker.io", "evildocker.io", False),
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "126.0.0.1", False),
    ("10.0.0.1", "0.0.1", False),
    ("fd00::1.2.3.4", "x.2.3.4", False),
    ("localhost", "localhost", True),
    ("localhost", "evil", False),
])
def test_rg01_who_is_of_the_registrys_domain(registry, other, same):
    assert same_domain(registry, other) is same
