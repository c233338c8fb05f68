"""Namespaces of the host and of other containers in a config.json."""

import os

import pytest

from minirun import defaults
from minirun.engine import edits, sharing
from minirun.engine.container import Container
from minirun.errors import StateError, UsageError


def applied(**options):
    spec = defaults.config()
    edits.apply(spec, options)
    return spec


def namespaces(spec):
    return {entry["type"]: entry.get("path") for entry in spec["linux"]["namespaces"]}


FLAGS = {"pid": "pid", "ipc": "ipc", "uts": "uts", "cgroupns": "cgroup"}


@pytest.mark.parametrize(("flag", "kind"), FLAGS.items())
def test_of_the_host_of_another_and_its_own(flag, kind):
    plain = namespaces(applied())
    assert namespaces(applied(**{flag: "private"})) == plain
    assert plain.keys() - namespaces(applied(**{flag: "host"})).keys() == {kind}
    joined = namespaces(applied(**{flag: "container:web"}))
    assert joined == {**plain, kind: f"/proc/container:web/ns/{kind}"}


def test_a_network_of_another_container():
    found = namespaces(applied(network=("container:web",)))
    assert found["network"] == "/proc/container:web/ns/net"


@pytest.mark.parametrize("text", ["nope", "container:", "container:../x", "container:a/b", "hosts"])
@pytest.mark.parametrize("flag", FLAGS)
def test_what_is_no_namespace(flag, text):
    with pytest.raises(UsageError):
        applied(**{flag: text})


def test_a_shared_uts_namespace_has_a_name_already():
    assert "hostname" not in applied(uts="host")
    with pytest.raises(UsageError):
        applied(uts="host", hostname="mine")


def test_user_namespaces_are_the_machines_or_refused():
    assert applied(userns="host") == applied()
    with pytest.raises(UsageError):
        applied(userns="keep-id")


def shm(spec):
    return [mount for mount in spec["mounts"] if mount["destination"] == "/dev/shm"]


def test_shared_memory_goes_with_ipc():
    assert shm(applied(ipc="none")) == []
    assert shm(applied(ipc="shareable")) == shm(applied())
    assert [mount["source"] for mount in shm(applied(ipc="host"))] == ["/dev/shm"]
    assert "size=1048576" in shm(applied(shm_size="1m"))[0]["options"]


def test_the_process_is_found_at_the_start():
    spec = applied(pid="container:a", uts="container:b", network=("container:a",))
    found = {"a": Container("/a", {}, {"pid": 10}), "b": Container("/b", {}, {"pid": 20})}
    sharing.share(spec, found.__getitem__)
    paths = namespaces(spec)
    assert paths["pid"] == "/proc/10/ns/pid" and paths["network"] == "/proc/10/ns/net"
    assert paths["uts"] == "/proc/20/ns/uts" and paths["ipc"] is None


def test_shared_memory_that_is_not_offered_is_refused(tmp_path):
    """What is mounted in another container only, nobody else can mount."""
    spec = applied(ipc="container:a")
    other = Container(str(tmp_path), {"name": "a"}, {"pid": 10})
    for _ in "no directory", "no mount":
        with pytest.raises(StateError, match="a keeps its shared memory for itself"):
            sharing.share(spec, lambda _: other)
        (tmp_path / "shm").mkdir(exist_ok=True)


def test_whoever_is_not_asked_shares_nothing():
    """A start that forgets share() ends with an error: no such path can exist."""
    path = namespaces(applied(pid="container:a"))["pid"]
    assert not os.path.exists(path) and not path.split("/")[2].isdecimal()
