"""Namespaces of the host and of other containers in a config.json."""

import os
import subprocess

import pytest

from minirun import defaults
from minirun.engine import edits, sharing
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
    sharing.share(spec, {"a": 10, "b": 20}.__getitem__)
    found = namespaces(spec)
    assert found["pid"] == "/proc/10/ns/pid" and found["network"] == "/proc/10/ns/net"
    assert found["uts"] == "/proc/20/ns/uts" and found["ipc"] is None


def test_whoever_is_not_asked_shares_nothing():
    """A start that forgets share() ends with an error: no such path can exist."""
    path = namespaces(applied(pid="container:a"))["pid"]
    assert not os.path.exists(path) and not path.split("/")[2].isdecimal()


MAKE = {
    "mounted": "mount -t tmpfs x dev && mkdir dev/shm && mount -t tmpfs x dev/shm",
    "no mount": "mkdir dev/shm",
    "a link": "mkdir elsewhere && mount -t tmpfs x elsewhere && ln -s ../elsewhere dev/shm",
    "the host's": "rmdir dev && ln -s / dev",
}


@pytest.mark.parametrize("name", MAKE)
def test_a_shm_that_could_lead_elsewhere_is_refused(tmp_path, name):
    """The other container's files are its own to change, but not what is mounted there."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "dev").mkdir()
    script = f"cd {tmp_path} && {MAKE[name]} && echo made && exec chroot . /bin/cat"
    for part in ("bin", "lib", "lib64", "usr"):
        if os.path.lexists(f"/{part}"):
            (tmp_path / part).mkdir()
            script = f"mount --bind /{part} {tmp_path}/{part} && {script}"
    other = subprocess.Popen(["unshare", "-m", "sh", "-c", script], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert other.stdout.readline() == "made\n"
        spec = applied(ipc="container:x")
        while os.readlink(f"/proc/{other.pid}/root") == "/":
            assert other.poll() is None
        if name == "mounted":
            sharing.share(spec, lambda _: other.pid)
            assert shm(spec)[0]["source"] == f"/proc/{other.pid}/root/dev/shm"
        else:
            with pytest.raises(StateError):
                sharing.share(spec, lambda _: other.pid)
    finally:
        other.communicate()
