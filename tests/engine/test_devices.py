"""--device and --device-cgroup-rule: a node, and leave to open it."""

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


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to("/dev/zero")
    node = applied(device=(f"{tmp_path}/link:/dev/one",))["linux"]["devices"][0]
    assert (node["path"], node["minor"]) == ("/dev/one", 5)


def test_a_directory_brings_its_devices():
    names = devices.nodes("/dev/net")
    if not names:
        pytest.skip("needs /dev/net/tun")
    assert applied(device=("/dev/net/",))["linux"]["devices"][0]["path"] in names
    found = applied(device=("/dev/net:/dev/all:rw",))["linux"]
    assert [node["path"] for node in found["devices"]] == [
        name.replace("/dev/net", "/dev/all") for name in names
    ]
    assert found["resources"]["devices"][-1]["access"] == "rw"


@pytest.mark.parametrize("path", ["/", "/etc", "/dev/..", "/dev"])
def test_a_directory_elsewhere_is_not_searched(path):
    with pytest.raises(UsageError, match="not a device"):
        applied(device=(path,))


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
