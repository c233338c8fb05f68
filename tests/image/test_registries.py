"""Mirrors and rules of registries.conf; and that names lead to no surprising host (RG13)."""

import doctest

import pytest

from minirun.errors import RegistryError, UsageError
from minirun.image import registries
from minirun.image.reference import parse
from minirun.image.registries import Endpoint, endpoints, is_loopback

DIGEST = "sha256:" + "f" * 64


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """Write the one file that is read."""
    path = tmp_path / "registries.conf"
    monkeypatch.setenv("MINIRUN_REGISTRIES_CONF", str(path))

    def write(text):
        path.write_text(text)
        return path

    write("")
    return write


def names(text, **options):
    return [place.name for place in endpoints(parse(text), **options)]


def test_doctest():
    assert doctest.testmod(registries).failed == 0


def test_without_rules_a_name_is_its_own_place(conf):
    assert endpoints(parse("centos:8")) == [Endpoint("docker.io", "library/centos")]
    assert endpoints(parse("centos:8"))[0].host == "registry-1.docker.io"
    assert endpoints(parse("localhost:5000/app"))[0].host == "localhost:5000"


@pytest.mark.parametrize(("host", "near"), [
    ("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True), ("127.9.9.9", True),
    ("[::1]", True), ("[::1]:5000", True), ("127.0.0.1.evil.example", False),
    ("127.evil.example", False), ("localhost.evil.example", False), ("evil-localhost", False),
    ("10.0.0.1:5000", False), ("[::2]", False), ("registry-1.docker.io", False), ("", False),
    ("127.0.0.1:5000\n", False), ("xn--localhost-x", False),
])
def test_rg13_plain_http_is_for_loopback_alone(host, near):
    assert is_loopback(host) is near
    assert Endpoint(host, "app").allows_http is near
    assert Endpoint(host, "app", insecure=True).allows_http


def test_no_tls_verify_holds_for_every_place(conf):
    conf('[[registry]]\nprefix="docker.io"\n[[registry.mirror]]\nlocation="m.example"')
    assert [each.insecure for each in endpoints(parse("a"))] == [False, False]
    assert [each.insecure for each in endpoints(parse("a"), tls_verify=False)] == [True, True]


def test_a_location_replaces_the_prefix(conf):
    conf('[[registry]]\nprefix="docker.io"\nlocation="127.0.0.1:5001"')
    assert names("centos:8") == ["127.0.0.1:5001/library/centos"]
    conf('[[registry]]\nprefix="docker.io/library"\nlocation="r.example/hub/official/"')
    assert names("centos:8") == ["r.example/hub/official/centos"]
    assert names("user/app") == ["docker.io/user/app"]


def test_mirrors_come_first_in_their_order(conf):
    conf('[[registry]]\nlocation="docker.io"\n'
         '[[registry.mirror]]\nlocation="m1.example/hub"\n'
         '[[registry.mirror]]\nlocation="m2.example"\ninsecure=true')
    places = endpoints(parse("centos:8"))
    assert [place.name for place in places] == [
        "m1.example/hub/library/centos", "m2.example/library/centos", "docker.io/library/centos"]
    assert [place.insecure for place in places] == [False, True, False]


@pytest.mark.parametrize(("rule", "by_tag", "by_digest"), [
    ('pull-from-mirror="all"', True, True),
    ('pull-from-mirror="digest-only"', False, True),
    ('pull-from-mirror="tag-only"', True, False),
])
def test_mirrors_for_tags_or_digests(conf, rule, by_tag, by_digest):
    conf(f'[[registry]]\nprefix="r.example"\n[[registry.mirror]]\nlocation="m.example"\n{rule}')
    assert ("m.example/a" in names("r.example/a:1")) is by_tag
    assert ("m.example/a" in names(f"r.example/a@{DIGEST}")) is by_digest


def test_mirror_by_digest_only(conf):
    conf('[[registry]]\nprefix="r.example"\nmirror-by-digest-only=true\n'
         '[[registry.mirror]]\nlocation="m.example"')
    assert names("r.example/a:1") == ["r.example/a"]
    assert names(f"r.example/a:1@{DIGEST}") == ["m.example/a", "r.example/a"]


@pytest.mark.parametrize(("prefix", "name", "fits"), [
    ("r.example", "r.example/a", True),
    ("r.example", "r.example:5000/a", False),
    ("r.example", "r.example.evil/a", False),
    ("r.example/te", "r.example/team/a", False),
    ("r.example/team", "r.example/team/a", True),
    ("r.example/team/a", "r.example/team/a:1", True),
    ("r.example/team/a:1", "r.example/team/a:1", True),
    ("r.example/team/a:1", "r.example/team/a:12", False),
    ("*.example", "r.example/a", True),
    ("*.example", "deep.r.example/a", True),
    ("*.example", "example/a", False),
    ("*.example", "evilexample/a", False),
])
def test_what_a_prefix_fits(conf, prefix, name, fits):
    conf(f'[[registry]]\nprefix="{prefix}"\nblocked=true')
    if fits:
        with pytest.raises(RegistryError, match="blocked"):
            names(name)
    else:
        assert names(name)


def test_the_longest_prefix_decides(conf):
    conf('[[registry]]\nprefix="r.example"\nblocked=true\n'
         '[[registry]]\nprefix="r.example/good"\ninsecure=true')
    assert endpoints(parse("r.example/good/a")) == [Endpoint("r.example", "good/a", True)]
    with pytest.raises(RegistryError, match=r"r\.example/bad:latest: blocked by .*registries.conf"):
        names("r.example/bad")


def test_a_wildcard_renames_the_host_if_it_has_a_location(conf):
    conf('[[registry]]\nprefix="*.example"')
    assert names("r.example/a") == ["r.example/a"]
    conf('[[registry]]\nprefix="*.example"\nlocation="other.test/x"')
    assert names("r.example/a") == ["other.test/x/a"]


@pytest.mark.parametrize("text", [
    "[[registry]", "registry = 7", "registry = [7]", '[registries.search]\nregistries=["a"]',
    '[[registry]]\nprefix=7', '[[registry]]\nprefix="docker.io"\nblocked="yes"',
    '[[registry]]\nprefix="docker.io"\nlocation="https://m.example"',
    '[[registry]]\nprefix="docker.io"\nlocation="m.example/UPPER"',
    '[[registry]]\nprefix="docker.io"\nlocation="m.example/../x"',
    '[[registry]]\nprefix="docker.io"\nlocation="user@m.example"',
    '[[registry]]\nprefix="docker.io"\nmirror="m.example"',
    '[[registry]]\nprefix="docker.io"\n[[registry.mirror]]\nlocation="m"\npull-from-mirror="x"',
    "\xff\xfe",
])
def test_a_broken_file_is_an_error_that_names_it(conf, text):
    path = conf("")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"registries\.conf"):
        names("centos:8")


def test_a_named_file_must_exist(monkeypatch):
    monkeypatch.setenv("MINIRUN_REGISTRIES_CONF", "/nope/registries.conf")
    with pytest.raises(UsageError, match="nope"):
        names("a")


def test_which_files_are_read(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIRUN_REGISTRIES_CONF", raising=False)
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(registries, "SYSTEM_CONFIG", str(tmp_path / "etc"))

    def write(path, location):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[[registry]]\nprefix="r.example"\nlocation="{location}"')
        return str(path)

    assert names("r.example/a") == ["r.example/a"]
    write("etc/registries.conf", "system")
    assert names("r.example/a") == ["system/a"]
    write("home/containers/registries.conf", "own")
    assert names("r.example/a") == ["own/a"]
    write("etc/registries.conf.d/1.conf", "first")
    write("etc/registries.conf.d/2.conf", "second")
    write("etc/registries.conf.d/3.txt", "no")
    assert names("r.example/a") == ["second/a"]
    write("home/containers/registries.conf.d/0.conf", "last")
    assert names("r.example/a") == ["last/a"]
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", write("named", "named"))
    assert names("r.example/a") == ["named/a"]
    monkeypatch.setenv("MINIRUN_REGISTRIES_CONF", write("ours", "ours"))
    assert names("r.example/a") == ["ours/a"]
