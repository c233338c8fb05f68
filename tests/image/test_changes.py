"""What a container's own layer changes in those below it."""

import os
import stat

import pytest

from minirun.image import changes, tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts need root")


@pytest.fixture
def layers(tmp_path):
    """An upper directory and two layers below it: paths, nearest first."""
    paths = [tmp_path / name for name in ("upper", "middle", "lowest")]
    for path in paths:
        path.mkdir()
    return paths


def found(layers, mounted=None):
    fds = [tree.open_directory(str(path)) for path in layers]
    try:
        omit = changes.stubs(fds[0], fds[1:], mounted) if mounted else ()
        return [f"{kind} /{os.fsdecode(path)}"
                for kind, path in changes.changes(fds[0], fds[1:], omit)]
    finally:
        for fd in fds:
            os.close(fd)


def fill(top, *names):
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text("x")


def hide(path):
    os.mknod(path, stat.S_IFCHR, 0)


def test_added_changed_and_deleted(layers):
    upper, middle, lowest = layers
    fill(lowest, "etc/passwd", "etc/motd", "srv/old/f", "srv/x")
    fill(middle, "etc/motd", "opt/tool")
    fill(upper, "etc/motd", "etc/new", "home/ada/.profile", "opt/")
    hide(upper / "etc/passwd")
    (upper / "srv").mkdir()
    hide(upper / "srv/old")
    assert found(layers) == [
        "C /etc", "C /etc/motd", "A /etc/new", "D /etc/passwd", "A /home", "A /home/ada",
        "A /home/ada/.profile", "C /opt", "C /srv", "D /srv/old",
    ]  # fmt: skip


def test_what_a_layer_below_has_deleted_is_new_again(layers):
    upper, middle, lowest = layers
    fill(lowest, "f", "d/x")
    hide(middle / "f")
    fill(middle, "d/")
    os.setxattr(middle / "d", "trusted.overlay.opaque", b"y")
    fill(upper, "f", "d/x")
    assert found(layers) == ["C /d", "A /d/x", "A /f"]


def test_a_whiteout_of_nothing_is_no_change(layers):
    hide(layers[0] / "never-there")
    assert found(layers) == []


def test_a_directory_that_was_made_anew_tells_what_is_gone(layers):
    """rm -r d; mkdir d"""
    upper, middle, lowest = layers
    fill(lowest, "d/one", "d/two", "d/deep/three")
    fill(middle, "d/four")
    hide(middle / "d/one")
    fill(upper, "d/two", "d/new")
    os.setxattr(upper / "d", "trusted.overlay.opaque", b"y")
    assert found(layers) == ["C /d", "D /d/deep", "D /d/four", "A /d/new", "C /d/two"]


def test_a_file_in_place_of_a_directory(layers):
    upper, _, lowest = layers
    fill(lowest, "d/one")
    fill(upper, "d")
    assert found(layers) == ["C /d"]


def test_places_to_mount_on_are_nobodys_work(layers):
    upper, _, lowest = layers
    fill(lowest, "etc/passwd", "sbin/x")
    (upper / "etc").mkdir()
    (upper / "etc/hosts").touch()
    fill(upper, "dev/", "sbin/mine", "proc/")
    (upper / "sbin/docker-init").touch()
    mounted = [b"etc/hosts", b"etc/hostname", b"dev", b"proc", b"sbin/docker-init", b"sys/x"]
    assert found(layers, mounted) == ["C /sbin", "A /sbin/mine"]


def test_a_place_that_somebody_has_filled_is_a_change(layers):
    """Or has changed: its permissions are no accident."""
    upper, _, lowest = layers
    fill(lowest, "etc/passwd", "run/x")
    fill(upper, "etc/hosts", "dev/x")
    (upper / "run/lock").mkdir(parents=True)
    (upper / "run").chmod(0o700)
    mounted = [b"etc/hosts", b"dev", b"run/lock"]
    assert found(layers, mounted) == [
        "A /dev", "A /dev/x", "C /etc", "A /etc/hosts", "C /run",
    ]  # fmt: skip


def test_links_in_a_layer_lead_nowhere(layers):
    """A container chooses what stands where we look for places to mount on."""
    (layers[0] / "etc").symlink_to("/etc")
    assert found(layers, [b"etc/hosts"]) == ["A /etc"]
