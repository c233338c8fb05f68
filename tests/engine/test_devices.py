"""--device and --device-cgroup-rule: a node, and leave to open it."""

import os

import pytest

from minirun import defaults
from minirun.engine import devices, edits
from minirun.errors import NotFound, UsageError


def applied(**options):
    spec = defaults.config()
    edits.apply(spec, options)
    return spec


def test_a_device_is_a_node_and_a_rule():
    spec = applied(device=("/dev/full:/dev/other:r",))
    (node,) = spec["linux"]["devices"]
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/other", "c", 1, 7)
    rule = {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "r"}
    assert spec["linux"]["resources"]["devices"][-1] == rule


def test_two_in_one_place_are_the_later_one():
    spec = applied(device=("/dev/full:/dev/x", "/dev/zero:/dev/x"))
    assert [node["minor"] for node in spec["linux"]["devices"]] == [5]


def test_a_link_is_followed_and_a_directory_brings_its_devices(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.mknod(tmp_path / "one", 0o020600, os.makedev(1, 5))
    (tmp_path / "below").mkdir()
    os.mknod(tmp_path / "below/two", 0o020600, os.makedev(1, 7))
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("one")
    found = applied(device=(f"{tmp_path}:/dev/all",))["linux"]["devices"]
    assert [node["path"] for node in found] == ["/dev/all/one", "/dev/all/below/two"]
    assert applied(device=(f"{tmp_path}/link:/dev/one",))["linux"]["devices"][0]["minor"] == 5


def test_a_rule_alone():
    spec = applied(device_cgroup_rule=("c 42:* rmw",))
    assert "devices" not in spec["linux"]
    assert spec["linux"]["resources"]["devices"][-1]["minor"] == -1


def test_what_is_no_device(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotFound):
        applied(device=("/dev/no-such-device",))
    with pytest.raises(UsageError):
        applied(device=(f"{tmp_path}/file",))


def test_privileged_has_all_but_what_every_container_has():
    own = {(kind, major, minor) for kind, major, minor in defaults.DEVICES}
    for node in devices.of_host():
        assert (node["type"], node["major"], node["minor"]) not in own
        assert not node["path"].startswith(("/dev/pts/", "/dev/shm/"))
