"""linux.netDevices: interfaces that move. The host's network is a namespace made for the test."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.runtime.bundles import Bundle, only_root_of

HOST = """set -e; ip link add v0 type veth peer name v1; ip link add v2 type veth peer name v3
ip address add 192.0.2.7/24 broadcast 192.0.2.255 dev v0; ip address add 192.0.2.8/24 dev v0
ip address add 198.51.100.1 peer 198.51.100.2/32 dev v0; ip address add 192.0.2.9/24 dev v2
ip address add 169.254.1.1/16 scope link dev v0; ip -6 address add 2001:db8::7/64 nodad dev v0
ip address add 192.0.2.66/24 valid_lft 600 preferred_lft 600 dev v0
ip link set v0 mtu 1400 address 02:00:00:00:00:07; ip link set v0 up; ip link set v1 up
echo ready; exec sleep 600"""


@pytest.fixture
def host(ours: Bundle) -> Iterator[Bundle]:
    """A runtime on a host with two pairs of virtual interfaces."""
    words = ["unshare", "--net", "sh", "-c", HOST]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as holder:
        try:
            if holder.stdout.readline() != b"ready\n":
                pytest.skip("no veth in this kernel")
            ours.command = ["nsenter", "--net", "--target", str(holder.pid), *ours.command]
            yield ours
        finally:
            holder.kill()


def interfaces(bundle: Bundle, devices: dict) -> dict[str, dict]:
    """{name: what ip(8) shows of it} in the container, by its process's namespace."""
    bundle.linux["netDevices"] = devices
    bundle.process["args"] = ["sleep", "60"]
    bundle.run(options=("-d",))
    show = ["nsenter", "--net", "--target", str(bundle.pid()), "ip", "-json", "address"]
    shown = json.loads(subprocess.run(show, check=True, capture_output=True).stdout)
    return {entry["ifname"]: entry for entry in shown if entry["ifname"] != "lo"}


def test_an_interface_keeps_what_it_has(host):
    """Its name, MTU and hardware address; of its addresses those that are permanent and global."""
    found = interfaces(host, {"v0": {}})
    assert {*found} == {"v0"}
    shown = found["v0"]
    assert (shown["mtu"], shown["address"]) == (1400, "02:00:00:00:00:07")
    assert "UP" in shown["flags"]
    addresses = {(entry["local"], entry["prefixlen"]) for entry in shown["addr_info"]
                 if entry["scope"] != "link"}  # fmt: skip
    assert addresses == {
        ("192.0.2.7", 24), ("192.0.2.8", 24), ("198.51.100.1", 32), ("2001:db8::7", 64)
    }  # fmt: skip
    by_address = {entry["local"]: entry for entry in shown["addr_info"]}
    assert by_address["192.0.2.7"]["broadcast"] == "192.0.2.255"
    assert by_address["198.51.100.1"]["address"] == "198.51.100.2"
    assert "169.254.1.1" not in by_address


def test_new_names(host):
    found = interfaces(host, {"v0": {"name": "net7"}, "v2": {}})
    assert {*found} == {"net7", "v2"}
    assert [entry["local"] for entry in found["v2"]["addr_info"]] == ["192.0.2.9"]


def test_a_template_for_names(host):
    """The kernel puts the first free number for %d."""
    found = interfaces(host, {"v0": {"name": "net%d"}, "v2": {"name": "net%d"}})
    assert {*found} == {"net0", "net1"}
    assert found["net0"]["mtu"] == 1400 and "UP" in found["net1"]["flags"]


@pytest.mark.parametrize("devices, words", [
    ({"nope": {}}, "nope"), ({"v0": {"name": "lo"}}, "File exists"),
    ({"v0": {"name": "x"}, "v2": {"name": "x"}}, "v2: File exists"), ({"lo": {"name": "x"}}, "lo"),
    ({"v0": {"name": "a/b"}}, "name"), ({"v" * 16: {}}, "name"),
])  # fmt: skip
def test_what_cannot_be_moved_is_named(host, devices, words):
    host.linux["netDevices"] = devices
    said = host.refused()
    assert "linux.netDevices" in said and words in said


def test_there_must_be_a_namespace_to_go_to(host):
    listed = host.linux["namespaces"]
    host.linux["netDevices"] = {"v0": {}}
    network = next(entry for entry in listed if entry["type"] == "network")
    network["path"] = "/proc/self/ns/net"
    assert "linux.netDevices: there is no" in host.refused()
    listed.remove(network)
    assert "linux.netDevices: there is no" in host.refused()


def test_the_runtime_goes_on_in_the_hosts_namespace(host):
    """Hooks for the host run there: the rest of the interfaces is in their sight."""
    log = host.directory / "log"
    script = f"ip -o link | cut -d: -f2 > {log}"
    host.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script],
                           "env": [f"PATH={os.environ['PATH']}"]}]
    }  # fmt: skip
    host.linux["netDevices"] = {"v0": {}}
    host.run("true")
    assert "v2" in log.read_text() and "v0@" not in log.read_text().replace("v1@v0", "")


def test_a_user_namespace_is_no_obstacle(host):
    only_root_of(host, 100_000)
    host.linux["namespaces"].append({"type": "user"})
    assert {*interfaces(host, {"v0": {"name": "x"}})} == {"x"}
