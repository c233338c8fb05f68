"""USER by name and number, from files that strangers wrote (RT25 to RT28)."""

import os
import resource
import time

import pytest

from minirun.errors import Error, ImageError, UsageError
from minirun.image import user

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1::/usr/sbin:/bin/false
web:x:1000:100:,,,:/home/web:/bin/sh
00:x:77:77::/trap:/bin/sh
broken line
short:x:5
"""
GROUP = """\
root:x:0:
daemon:x:1:
users:x:100:
www:x:2000:web,daemon
audio:x:2001:web
wheel:x:10:root
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups", "home"),
    [
        ("", 0, 0, [0, 10], "/root"),
        ("0", 0, 0, [0, 10], "/root"),
        ("web", 1000, 100, [100, 2000, 2001], "/home/web"),
        ("1000", 1000, 100, [100, 2000, 2001], "/home/web"),
        ("web:www", 1000, 2000, [2000], "/home/web"),
        ("web:7", 1000, 7, [7], "/home/web"),
        ("4242", 4242, 0, [0], "/"),
        ("4242:4243", 4242, 4243, [4243], "/"),
        ("2147483647", 2147483647, 0, [0], "/"),
        (
            "00",
            77,
            77,
            [77],
            "/trap",
        ),  # not a number as numbers are written, but a name of this image
    ],
)
def test_rt25_rt27_who_it_is(root, text, uid, gid, groups, home):
    found = user.resolve(text, str(root))
    assert (found.uid, found.gid, found.home) == (uid, gid, home)
    assert found.spec()["additionalGids"] == groups


@pytest.mark.parametrize(
    "text",
    [
        "+0",
        "-1",
        "1 ",
        " 1",
        "0x1",
        "1e3",
        "000",
        "01",
        "١",
        "1:",
        ":1",
        ":",
        "a:b:c",
        "1:1:1",
        "nobody",
        "web:nope",
        "0\n",
        "root ",
        "\0",
        "x" * 5000,
    ],
)
def test_rt25_what_is_no_user_is_refused_and_never_root(root, text):
    with pytest.raises(UsageError):
        user.resolve(text, str(root))


@pytest.mark.parametrize("number", [1 << 31, (1 << 32) - 1, 1 << 32, 1 << 64, 10**300])
def test_rt26_numbers_that_wrap_around(root, number):
    for text in (str(number), f"0:{number}"):
        with pytest.raises(UsageError):
            user.resolve(text, str(root))
    (root / "etc/passwd").write_text(f"evil:x:{number}:0::/:/bin/sh\n")
    with pytest.raises(Error):
        user.resolve("evil", str(root))


def test_without_files_only_numbers_are_known(tmp_path):
    assert user.resolve("", str(tmp_path)).uid == 0
    assert user.resolve("5:6", str(tmp_path)).gid == 6
    with pytest.raises(UsageError):
        user.resolve("root", str(tmp_path))


def test_rt28_a_link_is_followed_inside_the_root_only(root):
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("/etc/other")  # absolute: the host has none, the image has one
    (root / "etc/other").write_text("inner:x:5:5::/:/bin/sh\n")
    assert user.resolve("inner", str(root)).uid == 5
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("../../../../../../etc/hostname")
    with pytest.raises(UsageError):
        user.resolve("inner", str(root))


def fifo(path):
    os.mkfifo(path)


def device(path):
    if os.geteuid() != 0:
        pytest.skip("only root makes device nodes")
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))


def huge(path):
    with open(path, "wb") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize("make", [fifo, device, huge, os.mkdir])
def test_rt28_files_that_are_traps(root, make):
    (root / "etc/passwd").unlink()
    make(str(root / "etc/passwd"))
    started = time.monotonic()
    with pytest.raises(ImageError):
        user.resolve("web", str(root))
    assert time.monotonic() - started < 2


def test_rt28_a_million_groups_cost_little_memory(root):
    lines = "".join(f"g{n}:x:{n}:web\n" for n in range(600_000))
    (root / "etc/group").write_text(lines[: 10 << 20])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError):
        user.resolve("web", str(root))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB
