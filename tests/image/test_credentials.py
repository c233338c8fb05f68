"""The user's passwords, found where docker and podman keep them, and shown nowhere (RG12)."""

import base64
import json

import pytest

from minirun.errors import AuthError
from minirun.image.credentials import Credential, lookup


def auth(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, so that the machine's own passwords play no part."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def write(path, config):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def docker_config(home, config):
    return write(home / ".docker/config.json", config)


def helper(home, monkeypatch, name, script):
    """A credential helper on PATH; it notes what it was asked."""
    path = home / "bin" / f"docker-credential-{name}"
    write(path, f"#!/bin/sh\necho \"$1 $(cat)\" >> {home}/asked\n{script}\n").chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return home / "asked"


def test_nothing_is_known_at_first():
    assert lookup("docker.io/library/centos") is None


def test_files_in_the_order_of_podman_and_docker(home, monkeypatch):
    config = {"auths": {"r.example": auth("docker", "p")}}
    docker_config(home, config)
    assert lookup("r.example/app").username == "docker"
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "elsewhere"))
    assert lookup("r.example/app") is None
    write(home / "elsewhere/config.json", {"auths": {"r.example": auth("elsewhere", "p")}})
    assert lookup("r.example/app").username == "elsewhere"
    write(home / ".config/containers/auth.json", {"auths": {"r.example": auth("podman", "p")}})
    assert lookup("r.example/app").username == "podman"
    write(home / "run/containers/auth.json", {"auths": {"r.example": auth("runtime", "p")}})
    assert lookup("r.example/app").username == "runtime"
    only = write(home / "only.json", {"auths": {"other.example": auth("only", "p")}})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(only))
    assert lookup("r.example/app") is None
    assert lookup("other.example").username == "only"


def test_a_file_without_the_name_leaves_it_to_the_next(home):
    docker_config(home, {"auths": {"r.example": auth("docker", "p")}})
    write(home / ".config/containers/auth.json", {"auths": {"q.example": auth("podman", "p")}})
    assert lookup("r.example/app").username == "docker"


def test_a_named_file_that_is_missing_is_an_error(home, monkeypatch):
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "nope"))
    with pytest.raises(AuthError, match="nope"):
        lookup("r.example/app")


def test_the_longest_name_wins(home):
    docker_config(home, {"auths": {
        "quay.io": auth("host", "p"), "quay.io/team": auth("team", "p"),
        "quay.io/team/app": auth("app", "p"), "quay.io/tea": auth("wrong", "p")}})
    assert lookup("quay.io/team/app").username == "app"
    assert lookup("quay.io/team/other/deep").username == "team"
    assert lookup("quay.io/x").username == "host"
    assert lookup("quay.io:443/x") is None
    assert lookup("evil-quay.io/team/app") is None


@pytest.mark.parametrize("key", [
    "https://index.docker.io/v1/", "index.docker.io", "docker.io", "https://registry-1.docker.io/v2/",
])
def test_docker_hub_by_any_of_its_names(home, key):
    docker_config(home, {"auths": {key: auth("alice", "s3cret:with:colons")}})
    assert lookup("docker.io/library/centos") == Credential("alice", "s3cret:with:colons")
    assert lookup("registry.example/library/centos") is None


def test_urls_of_old_versions(home):
    docker_config(home, {"auths": {"https://r.example:5000/v2/": auth("alice", "p")}})
    assert lookup("r.example:5000/app").username == "alice"


def test_identity_token_and_plain_fields(home):
    docker_config(home, {"auths": {
        "a.example": {"identitytoken": "refresh", **auth("<token>", "")},
        "b.example": {"username": "bob", "password": "p"},
        "c.example": auth("carol", "padded\0\0"),
        "empty.example": {}}})
    assert lookup("a.example/x").identity_token == "refresh"
    assert lookup("b.example/x") == Credential("bob", "p")
    assert lookup("c.example/x") == Credential("carol", "padded")
    assert lookup("empty.example/x") is None


@pytest.mark.parametrize("config", [
    "{", "[]", "null", "{}" + "x", "[" * 100000, "\xff", '{"auths":{"r.example":{"auth":"***"}}}',
    '{"auths":{"r.example":{"auth":7}}}', '{"auths":{"r.example":{"username":7}}}',
    '{"auths":{"r.example":{"auth":"/////w=="}}}', '{"credsStore":"../../bin/sh"}',
    '{"credsStore":7}', '{"credHelpers":{"r.example":"a/b"}}', '{"credsStore":"missing-one"}',
])
def test_a_broken_file_is_an_error_that_names_it(home, config):
    path = docker_config(home, config)
    with pytest.raises(AuthError) as caught:
        lookup("r.example/app")
    assert str(path) in caught.value.message


@pytest.mark.parametrize("config", [
    '{"auths":null}', '{"auths":[]}', '{"auths":{"r.example":null}}', '{"auths":{"r.example":[]}}',
    '{"credHelpers":null}', '{"credsStore":null}', '{"credsStore":""}', "{}",
])
def test_an_empty_file_is_none(home, config):
    docker_config(home, config)
    assert lookup("r.example/app") is None


def test_a_hosts_own_helper_comes_first(home, monkeypatch):
    asked = helper(home, monkeypatch, "test", 'echo \'{"Username":"helped","Secret":"s"}\'')
    docker_config(home, {"credHelpers": {"r.example": "test"},
                         "auths": {"r.example": auth("alice", "p"), "q.example": auth("bob", "p")}})
    assert lookup("r.example/app") == Credential("helped", "s")
    assert lookup("q.example/app").username == "bob"
    assert asked.read_text() == "get r.example\n"


def test_the_general_helper_comes_last_and_knows_docker_hub_by_its_url(home, monkeypatch):
    asked = helper(home, monkeypatch, "test", 'echo \'{"Username":"<token>","Secret":"refresh"}\'')
    docker_config(home, {"credsStore": "test", "auths": {"docker.io": {}}})
    assert lookup("docker.io/library/centos") == Credential("", "", "refresh")
    assert asked.read_text() == "get https://index.docker.io/v1/\n"


def test_a_helper_that_knows_nothing(home, monkeypatch):
    helper(home, monkeypatch, "test", "echo credentials not found in native keychain; exit 1")
    docker_config(home, {"credsStore": "test"})
    assert lookup("r.example/app") is None


@pytest.mark.parametrize("script", [
    "echo locked >&2; exit 1", "echo nonsense", "echo '{}'", "echo '[1]'", "exit 0",
    "echo '{\"Username\":1,\"Secret\":\"x\"}'",
])
def test_a_helper_that_fails_is_an_error_that_names_it(home, monkeypatch, script):
    helper(home, monkeypatch, "test", script)
    docker_config(home, {"credsStore": "test"})
    with pytest.raises(AuthError, match="docker-credential-test"):
        lookup("r.example/app")


def test_rg12_a_credential_shows_no_secret():
    credential = Credential("alice", "s3cret", "refresh-token")
    for text in (repr(credential), str(credential), f"{credential}", f"{[credential]}"):
        assert "s3cret" not in text
        assert "refresh-token" not in text
