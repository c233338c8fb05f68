"""The main job: an image comes from a real registry, and a command runs in it."""

import json
import re

import pytest

from tests import images
from tests.components import run
from tests.images import machine

EXPECTED = (
    ("public/busybox:latest", 'NAME="busybox of the tests"'),
    ("public/busybox:docker", 'NAME="busybox of the tests"'),
    ("public/multi:latest", 'NAME="busybox of the tests"'),
    ("public/layers30:latest", 'NAME="busybox of the tests"'),
    ("public/debian:latest", "ID=debian"),
    ("public/debian:zstd", "ID=debian"),
)


@pytest.mark.parametrize("name, expected", EXPECTED, ids=[name for name, _ in EXPECTED])
def test_over_http(minirun, plain, name, expected, residue):
    """gzip and zstd; OCI, Docker schema 2 and an index; one layer and thirty."""
    image = f"{plain.host}/{name}"
    assert expected in minirun.ok("run", "--rm", image, "cat", "/etc/os-release")
    assert json.loads(minirun.ok("inspect", image))


def test_the_thirty_layers_are_stacked_in_order(minirun, plain):
    image = f"{plain.host}/public/layers30"
    seen = minirun.ok("run", "--rm", image, "sh", "-c", "ls /layers; cat /layers/latest").split()
    assert seen == ["29", "latest", "29"]


def test_over_tls_with_a_password(minirun, tls, residue):
    image = f"{tls.host}/public/busybox:latest"
    refused = minirun("pull", image, env={"DOCKER_CERT_PATH": ""})
    assert refused.returncode == 125
    assert "certificate" in refused.stderr and "hint: " in refused.stderr

    known = minirun.home / ".config/containers/certs.d" / tls.host
    known.mkdir(parents=True)
    (known / "ca.crt").write_bytes((tls.certificates / tls.host / "ca.crt").read_bytes())
    refused = minirun("pull", image)
    assert refused.returncode == 125
    assert "hint: " in refused.stderr

    env = {"REGISTRY_AUTH_FILE": str(tls.authfile())}
    assert "busybox" in minirun.ok("run", "--rm", image, "cat", "/etc/os-release", env=env)


def test_a_wrong_password_is_told_and_leaves_the_store_as_it_was(minirun, token, residue):
    before = minirun.ok("images")
    env = {"REGISTRY_AUTH_FILE": str(token.authfile(password="wrong"))}
    done = minirun("pull", f"{token.host}/private/busybox", env=env)
    assert done.returncode == 125
    assert "error: " in done.stderr and "hint: " in done.stderr
    assert "wrong" not in done.stderr.replace("wrong password", "")  # RG12: never shown
    assert minirun.ok("images") == before


def test_with_a_token_for_anyone(minirun, token, residue):
    token.token_server.asked.clear()
    assert minirun.ok("run", "--rm", f"{token.host}/public/busybox", "id", "-u") == "0\n"
    assert [request["user"] for request in token.token_server.asked] == [""]  # once a scope


def test_with_a_token_for_alice(minirun, token, residue):
    token.token_server.asked.clear()
    env = {"REGISTRY_AUTH_FILE": str(token.authfile())}
    image = f"{token.host}/private/busybox"
    assert minirun("pull", image).returncode == 125  # nobody may not
    assert minirun.ok("run", "--rm", image, "id", "-u", env=env) == "0\n"
    assert token.token_server.asked[-1]["user"] == "alice"


def test_centos_8_through_a_mirror(minirun, plain, residue):
    """docker.io is out of reach: registries.conf(5) names another place for it."""
    plain.push(images.layout("debian"), "library/centos:8")
    minirun.registries.write_text(f"""
        [[registry]]
        prefix = "docker.io"
        location = "docker.io"
        [[registry.mirror]]
        location = "{plain.host}"
        insecure = true
    """)
    done = minirun("run", "centos:8", "cat", "/etc/os-release")
    assert done.returncode == 0, done.stderr
    assert "ID=debian" in done.stdout
    assert "docker.io/library/centos:8" in done.stderr  # what the short name stands for is told


@pytest.mark.parametrize("wanted, chosen", [
    ("linux/arm64", "arm64"), ("linux/arm64/v8", "arm64"), ("linux/arm/v7", "arm"),
    (f"linux/{machine()}", machine()),
])
def test_the_platform_that_is_asked_for_comes(minirun, plain, tmp_path, wanted, chosen):
    image = f"{plain.host}/public/multi"
    minirun.ok("pull", "--platform", wanted, image)
    minirun.ok("bundle", image, tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/etc/architecture").read_text().strip() == chosen


def test_a_platform_that_is_not_there_names_those_that_are(minirun, plain):
    done = minirun("pull", "--platform", "linux/s390x", f"{plain.host}/public/multi")
    assert done.returncode == 125
    assert "linux/s390x" in done.stderr
    assert "linux/arm64" in done.stderr and "linux/arm/v7" in done.stderr


def test_no_such_tag_and_no_such_registry(minirun, plain):
    for name in (f"{plain.host}/public/busybox:nope", f"{plain.host}/nope", "127.0.0.1:1/x"):
        done = minirun("pull", name)
        assert done.returncode == 125, name
        assert re.match(r"(?s).*^error: .*", done.stderr, re.M), done.stderr
        assert name.split("/")[0] in done.stderr


def test_quiet_is_quiet_and_else_one_line_sums_up(minirun, plain):
    image = f"{plain.host}/public/busybox:latest"
    quiet = minirun("pull", "-q", image)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, f"{image}\n", "")
    minirun.ok("rmi", image)
    told = minirun("pull", image)
    assert "MB" in told.stderr and "\r" not in told.stderr and "\x1b" not in told.stderr


def test_explain_tells_the_conversation_in_order(minirun, token):
    told = minirun("pull", "--explain", f"{token.host}/public/multi").stderr
    words = ("token", "index", "platform", "manifest", "config", "layer")
    positions = [told.find(word) for word in words]
    assert -1 not in positions, told
    assert "why" in told


def test_two_pulls_at_once_fetch_each_blob_once(minirun, plain):
    image = f"{plain.host}/public/layers30"
    before = len(plain.requests())
    pulls = [minirun.start("pull", "-q", image) for _ in range(3)]
    assert [pull.communicate()[1] for pull in pulls] == ["", "", ""]
    assert [pull.returncode for pull in pulls] == [0, 0, 0]
    blobs = [path for path in plain.requests()[before:] if "/blobs/" in path]
    assert len(blobs) == len(set(blobs)) == 31


def test_skopeo_reads_the_store(minirun, plain):
    minirun.ok("pull", f"{plain.host}/public/layers30")
    store = minirun.root / "lib/images"
    seen = json.loads(run("skopeo", "inspect", f"oci:{store}:{plain.host}/public/layers30:latest"))
    assert len(seen["Layers"]) == 30


def test_the_embedded_image_is_there_whatever_came_first(minirun, plain):
    minirun.ok("pull", "-q", f"{plain.host}/public/busybox")
    assert minirun.ok("run", "--rm", "--pull", "never", "tiny", "echo", "here") == "here\n"
    assert "localhost/tiny" in minirun.ok("images")
    minirun.ok("rmi", "tiny")
    assert "tiny" not in minirun.ok("images")
