"""linux.devices, the default devices, the links of /dev, and /dev/console."""

import os
import stat

import pytest

from tests.runtime.bundles import Bundle, bind, only_root_of
from tests.runtime.test_rootfs import DEV_MOUNTS, without

MKNOD = "CAP_MKNOD"


def device(path: str, kind: str = "c", major: int = 1, minor: int = 5, **more: int) -> dict:
    return {"path": path, "type": kind, "major": major, "minor": minor, **more}


def allow_all(bundle: Bundle) -> None:
    bundle.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]


def test_all_types(bundle):
    """b and c are block and character devices, u is c without a buffer, p is a FIFO."""
    bundle.linux["devices"] = [
        device("/dev/b", "b", 7, 200, fileMode=0o600), device("/dev/c", "c", 10, 229),
        device("/dev/u", "c" if bundle.runtime == "crun" else "u", fileMode=0o640, uid=3, gid=4),
        {"path": "/srv/deep/p", "type": "p", "fileMode": 0o622},
    ]  # fmt: skip
    shown = bundle.sh("stat -c '%t:%T %a %u %g %F' /dev/b /dev/c /dev/u /srv/deep/p").splitlines()
    assert shown[0] == "7:c8 600 0 0 block special file"
    assert shown[1].startswith("a:e5 ") and shown[1].endswith("character special file")
    assert shown[2:] == ["1:5 640 3 4 character special file", "0:0 622 0 0 fifo"]


def test_a_device_without_a_mode_can_be_used_by_all(ours):
    ours.linux["devices"] = [device("/dev/c")]
    assert ours.sh("stat -c %a /dev/c") == "666\n"


def test_the_devices_work(bundle):
    """HD04"""
    allow_all(bundle)
    bundle.linux["devices"] = [device("/dev/nil")]
    shown = bundle.sh(
        "head -c 3 /dev/nil | wc -c; head -c 5 /dev/urandom | wc -c; head -c 2 /dev/random | wc -c;"
        "echo x > /dev/null; ( echo x > /dev/full ) 2>&1 | grep -c space;"
        "( : < /dev/tty ) 2>&1 | grep -c 'No such device'; ls -d /dev/fd/0; echo out >> /dev/stdout"
    )
    assert shown.split() == ["3", "5", "2", "1", "1", "/dev/fd/0", "out"]


def test_links(bundle):
    shown = bundle.sh("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done")
    assert [line.removeprefix("/dev/") for line in shown.splitlines()] == [
        "/proc/self/fd", *(f"/proc/self/fd/{fd}" for fd in range(3)), "pts/ptmx"
    ]  # fmt: skip


def test_ptmx_is_the_link_whatever_is_listed(bundle):
    """Docker lists all devices of the host for a privileged container; its ptmx is the host's."""
    bundle.linux["devices"] = [device("/dev/ptmx", "c", 5, 2), device("/dev/./tty", "c", 5, 0)]
    assert bundle.sh("readlink /dev/ptmx") in ("pts/ptmx\n", "/dev/pts/ptmx\n")


@pytest.mark.parametrize("there", ["file", "link", "other device", "directory", "fifo"])
def test_another_file_in_the_place_of_a_device_is_refused(ours, there):
    """config-linux.md: if it does not match the requested device, an error; RT15, RT16"""
    place = ours.rootfs / "srv/device"
    place.parent.mkdir()
    match there:
        case "file":
            place.touch()
        case "link":
            place.symlink_to("/dev/zero")
        case "directory":
            place.mkdir()
        case "fifo":
            os.mkfifo(place)
        case _:
            os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    ours.linux["devices"] = [device("/srv/device")]
    said = ours.refused()
    assert "/srv/device in the image is not the device c 1:5" in said


def test_the_same_device_is_kept(bundle):
    (bundle.rootfs / "srv").mkdir()
    os.mknod(bundle.rootfs / "srv/zero", stat.S_IFCHR | 0o604, os.makedev(1, 5))
    bundle.linux["devices"] = [device("/srv/zero", fileMode=0o604)]
    assert bundle.sh("stat -c '%a %t:%T' /srv/zero") == "604 1:5\n"


def test_parents_through_links_stay_inside(ours, tmp_path):
    """RT14"""
    (tmp_path / "canary").mkdir()
    (ours.rootfs / "srv").symlink_to(tmp_path / "canary")
    ours.linux["devices"] = [device("/srv/zero")]
    ours.sh("test -c /srv/zero")
    assert not [*(tmp_path / "canary").iterdir()]


@pytest.mark.parametrize("wrong, words", [
    ({"path": "/x", "type": "c"}, "major and minor are required"),
    (device("/x", minor=1 << 20), "minor"),
    (device("/x", major=-1), "major"), (device("x"), "path"), (device("/x", "d"), "type"),
    (device("/"), "linux.devices"), (device("/bin/busybox/x"), "/bin/busybox/x"),
    (device("/proc/x"), "/proc/x"),
])  # fmt: skip
def test_impossible_devices_are_named(ours, wrong, words):
    ours.linux["devices"] = [wrong]
    assert words in ours.refused()


def test_a_dev_of_the_hosts_is_left_alone(bundle):
    """A bound /dev gets neither devices nor links."""
    without(bundle, *DEV_MOUNTS)
    dev = bundle.directory / "dev"
    dev.mkdir()
    (dev / "mine").touch()
    os.mknod(dev / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))  # runc and crun look for it
    bundle.config["mounts"].append(bind(dev, "/dev"))
    bundle.linux["devices"] = []
    assert bundle.sh("ls /dev") == "mine\nnull\n"
    assert {entry.name for entry in dev.iterdir()} == {"mine", "null"}


# in a user namespace mknod(2) is refused


def test_devices_of_the_host_in_a_user_namespace(bundle):
    only_root_of(bundle, 100_000)
    bundle.linux["namespaces"].append({"type": "user"})
    allow_all(bundle)
    bundle.linux["devices"] = [device("/dev/loop-control", "c", 10, 237)]
    if not os.path.exists("/dev/loop-control"):
        bundle.linux["devices"] = [device("/dev/kmsg", "c", 1, 11)]
    path = bundle.linux["devices"][0]["path"]
    shown = bundle.sh(f"echo > /dev/null; head -c 3 /dev/zero | wc -c; stat -c %F {path} /dev/tty")
    assert shown.splitlines() == ["3", *["character special file"] * 2]


def test_what_the_host_has_there_must_be_the_device(ours):
    """Without the check any file of the host could be had by its path."""
    only_root_of(ours, 100_000)
    ours.linux["namespaces"].append({"type": "user"})
    for path in ("/etc/passwd", "/dev/null"):
        ours.linux["devices"] = [device(path)]
        assert f"{path} " in ours.refused()
