"""What a container is told about itself, and the directory it starts in."""

import os

import pytest

from minirun.engine import files
from minirun.errors import ImageError


def test_a_directory_is_made_inside_the_root_whatever_links_the_image_has(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "srv").symlink_to(outside)  # an absolute link: inside, it leads to root + that path
    (root / "up").symlink_to("../../../../..")
    files.make_directory(str(root), "/a/b/c")
    assert (root / "a/b/c").is_dir()
    files.make_directory(str(root), "/up/x")
    assert (root / "x").is_dir()
    with pytest.raises(ImageError):
        files.make_directory(str(root), "/srv/x")  # where it leads to is not there
    assert list(outside.iterdir()) == []
    assert set(os.listdir(tmp_path)) == {"root", "outside"}


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="/file"):
        files.make_directory(str(tmp_path), "/file/x")


def test_the_container_knows_its_name_everywhere(minirun):
    line = "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c web-1 /etc/hosts"
    seen = minirun.ok("run", "--rm", "-h", "web-1", "tiny", "sh", "-c", line)
    assert seen == "web-1\nweb-1\nweb-1\n1\n"
    name = minirun.ok("run", "--rm", "tiny", "hostname").strip()
    assert len(name) == 12 and set(name) <= set("0123456789abcdef")


def test_host_network_has_the_hosts_files_and_name(minirun):
    with open("/etc/resolv.conf") as file:
        resolvers = file.read()
    words = ["run", "--rm", "--network", "host", "tiny"]
    assert minirun.ok(*words, "cat", "/etc/resolv.conf") == resolvers
    assert minirun.ok(*words, "hostname").strip() == os.uname().nodename


def test_a_volume_for_one_of_the_files_wins(minirun, tmp_path):
    (tmp_path / "hosts").write_text("127.0.0.1 mine\n")
    seen = minirun.ok(
        "run", "--rm", "-v", f"{tmp_path}/hosts:/etc/hosts", "tiny", "cat", "/etc/hosts"
    )
    assert seen == "127.0.0.1 mine\n"


def test_w_is_made_when_it_is_missing(minirun):
    assert minirun.ok("run", "--rm", "-w", "/new/place", "tiny", "pwd") == "/new/place\n"
