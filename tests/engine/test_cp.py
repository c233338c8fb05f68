"""minirun cp, both ways: what goes where, and that nothing gets out while somebody swaps links."""

import doctest
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from minirun.engine import copying
from minirun.engine.paths import Paths
from minirun.engine.state import State
from minirun.errors import Error
from tests.conftest import Minirun
from tests.waiting import wait_for

LAYOUT = """
    cd /; rm -rf /d /full /to-d /to-sub /loop /dangling /climbs /nowhere /new /in*
    mkdir -p /d/sub /d/empty /full; echo one > /d/f; echo two > /d/sub/g; ln /d/f /d/sub/hard
    ln -s f /d/relative; ln -s /d/f /d/absolute; ln -s /d /to-d; ln -s /d/sub /to-sub
    ln -s loop /loop; ln -s nowhere /dangling; ln -s ../../../../d/f /climbs; echo old > /full/f
    chmod 4755 /d/f; chown 1000:1000 /d/sub
"""


@pytest.fixture(scope="module")
def one_box(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    minirun = Minirun(tmp_path_factory.mktemp("box"))
    minirun.ok("run", "-d", "--network", "none", "--name", "box", "tiny", "sleep", "9999")
    yield minirun
    minirun.ok("rm", "-f", "box")


@pytest.fixture
def box(one_box):
    """A running container called box, with some files: the same one for all tests."""
    one_box("start", "box")
    one_box.ok("exec", "box", "sh", "-ec", LAYOUT)
    return one_box


@pytest.fixture(params=["running", "stopped"])
def either(request, box):
    """The same box, running or not: cp does not mind."""
    if request.param == "stopped":
        box.ok("stop", "-t", "0", "box")
    return box


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def names(tar: bytes | str) -> list[str]:
    data = tar.encode("latin-1") if isinstance(tar, str) else tar
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return sorted(member.name for member in archive)


def to_stdout(minirun, source):
    done = subprocess.run([*minirun.command(), "cp", source, "-"], env=minirun.env,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(copying).failed == 0


D = {"f", "sub", "sub/g", "sub/hard", "empty", "relative", "absolute"}


@pytest.mark.parametrize(
    ("source", "destination", "found"),
    [
        ("/d/f", "new", {"new"}),
        ("/d/f", ".", {"f"}),
        ("/d/f", "there", {"there", "there/f"}),
        ("/d", "new", {"new", *(f"new/{name}" for name in D)}),
        ("/d/", "new", {"new", *(f"new/{name}" for name in D)}),
        ("/d/.", "new", {"new", *(f"new/{name}" for name in D)}),
        ("/d", "there", {"there", "there/d", *(f"there/d/{name}" for name in D)}),
        ("/d/.", "there", {"there", *(f"there/{name}" for name in D)}),
        ("/to-sub/.", ".", {"g", "hard"}),
        ("/to-d/sub", ".", {"sub", "sub/g", "sub/hard"}),
        ("d/sub/../f", ".", {"f"}),
        ("/../../d/f", ".", {"f"}),
        ("/climbs", ".", {"climbs"}),
        ("/dangling", ".", {"dangling"}),
    ],
)
def test_out_of_a_container(box, tmp_path, source, destination, found):
    place = tmp_path / "place"
    place.mkdir()
    if destination == "there":
        (place / "there").mkdir()
    box.ok("cp", f"box:{source}", destination, cwd=place)
    assert tree(place) == found


def test_what_is_copied_out_belongs_to_who_copies_and_has_no_power(either, tmp_path):
    either.ok("cp", "box:/d", tmp_path / "d")
    either.ok("cp", "-a", "box:/d", tmp_path / "a")
    assert (tmp_path / "d/f").read_text() == "one\n"
    assert (tmp_path / "d/f").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "a/f").stat().st_mode & 0o7777 == 0o4755
    assert (tmp_path / "d/sub").stat().st_uid == 0 and (tmp_path / "a/sub").stat().st_uid == 1000
    assert os.readlink(tmp_path / "d/absolute") == "/d/f"
    assert (tmp_path / "d/f").samefile(tmp_path / "d/sub/hard")


def test_follow_link_is_about_the_source_only(box, tmp_path):
    box.ok("cp", "-L", "box:/climbs", tmp_path)
    assert (tmp_path / "climbs").read_text() == "one\n" and not (tmp_path / "climbs").is_symlink()
    box.ok("cp", "-L", "box:/to-d", tmp_path)
    assert (tmp_path / "to-d").is_dir() and (tmp_path / "to-d/relative").is_symlink()


@pytest.mark.parametrize(
    ("source", "destination", "found"),
    [
        ("f", "/new", ["/new"]),
        ("f", "/d", ["/d/f"]),
        ("f", "/to-d", ["/d/f"]),
        ("f", "/d/relative", ["/d/f"]),
        ("f", "/climbs", ["/d/f"]),
        ("f", "/dangling", ["/nowhere"]),
        ("tree", "/new", ["/new/f", "/new/deep/g"]),
        ("tree/.", "/new", ["/new/f", "/new/deep/g"]),
        ("tree", "/to-sub", ["/d/sub/tree/f", "/d/sub/tree/deep/g"]),
        ("tree/.", "/to-sub", ["/d/sub/f", "/d/sub/deep/g"]),
        ("tree/.", "/../full/", ["/full/f"]),
        ("f", "full", ["/full/f"]),
    ],
)
def test_into_a_container(box, tmp_path, source, destination, found):
    (tmp_path / "tree/deep").mkdir(parents=True)
    for file in ("f", "tree/f", "tree/deep/g"):
        (tmp_path / file).write_text("copied\n")
    box.ok("cp", source, f"box:{destination}", cwd=tmp_path)
    for path in found:
        assert box.ok("exec", "box", "cat", path) == "copied\n"


@pytest.mark.parametrize(
    ("source", "destination", "message"),
    [
        ("box:/nope", ".", "could not find the file /nope in container box"),
        ("box:/loop/x", ".", "/loop/x in container box: Too many levels of symbolic links"),
        ("box:/d/f/", ".", "/d/f/ in container box: Not a directory"),
        ("box:/proc/1/root/etc/passwd", ".", "Too many levels of symbolic links"),
        ("nope", "box:/", "could not find the file"),
        ("f", "box:/nope/", "no such directory: /nope/"),
        ("f", "box:/nope/x", "could not find the directory of /nope/x in container box"),
        ("f", "box:/loop", "too many levels of symbolic links"),
        ("f", "box:/d/f/x", "could not find the directory of /d/f/x"),
        ("tree", "box:/d/f", "cannot copy a directory to the file /d/f"),
        ("tree", "box:/full", "cannot overwrite what is none with a directory"),
        ("tree/f", "box:/d/", "cannot overwrite a directory with what is none"),
        ("f", "nope:/x", "no such container: nope"),
        ("box:/d", "box:/e", "only one"),
        ("f", "g", "only one"),
        ("-", "box:/d/f", "not a directory"),
    ],
)
def test_rt20_what_cannot_be_copied_is_refused(box, tmp_path, source, destination, message):
    (tmp_path / "f").write_text("x")
    (tmp_path / "tree/f/x").mkdir(parents=True)
    if destination == "box:/full":
        box.ok("exec", "box", "sh", "-c", "mkdir /full/tree; echo > /full/tree/f")
    if destination == "box:/d/":
        box.ok("exec", "box", "sh", "-c", "rm /d/f; mkdir /d/f")
        (tmp_path / "tree/f/x").rmdir()
        (tmp_path / "tree/f").rmdir()
        (tmp_path / "tree/f").write_text("x")
    done = box("cp", source, destination, cwd=tmp_path)
    assert done.returncode == 125 and message in done.stderr


def test_streams(either, tmp_path):
    assert names(to_stdout(either, "box:/d/sub")) == ["sub", "sub/g", "sub/hard"]
    assert names(to_stdout(either, "box:/d/f")) == ["f"]
    assert names(to_stdout(either, "box:/d/sub/.")) == [".", "./g", "./hard"]
    tar = tmp_path / "t.tar.gz"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x").write_text("streamed")
    subprocess.run(["tar", "-czf", tar, "-C", tmp_path, "in"], check=True)
    with tar.open("rb") as stream:
        either.ok("cp", "-", "box:/to-d", stdin=stream)
    assert names(to_stdout(either, "box:/d/in")) == ["in", "in/x"]


def test_rt20_names_in_a_tar_do_not_lead_out(box, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    tar = tmp_path / "t.tar"
    inside = {"../../x": None, "/abs": "/in1/abs", "to-host/x": f"{tmp_path}/x", "a/../../y": None}
    for number, (name, there) in enumerate(inside.items()):
        with tarfile.open(tar, "w") as archive:
            link = tarfile.TarInfo("to-host")
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
            archive.addfile(link)
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
        box.ok("exec", "box", "mkdir", f"/in{number}")
        with tar.open("rb") as stream:
            done = box("cp", "-", f"box:/in{number}", stdin=stream)
        assert done.returncode == (0 if there else 125), done.stderr
        if there:
            assert box.ok("exec", "box", "cat", there) == "x"
    assert canary.read_text() == "untouched" and tree(tmp_path) >= {"canary", "t.tar"}
    assert not (tmp_path / "x").exists() and not Path("/abs").exists() and not Path("/x").exists()


def test_rt20_a_link_in_a_volume_does_not_lead_to_a_read_only_root(minirun, tmp_path, residue):
    (tmp_path / "f").write_text("x")
    minirun.ok("create", "--network", "none", "--name", "box", "--read-only", "-v", "data:/data",
               "tiny", "sh", "-c", "ln -s /etc /data/etc; sleep 999")
    for _ in ("before the first start", "while it runs"):
        for place in ("/data/etc/x", "/etc/x", "/"):
            done = minirun("cp", tmp_path / "f", f"box:{place}")
            if place != "/data/etc/x" or _ == "while it runs":
                assert done.returncode == 125 and "Read-only file system" in done.stderr
        minirun.ok("cp", tmp_path / "f", "box:/data/x")
        minirun.ok("start", "box")
        wait_for(lambda: minirun("exec", "box", "test", "-e", "/data/etc").returncode == 0)
    minirun.ok("rm", "-f", "box")


def test_devices_do_not_get_out_and_sockets_are_no_files(box, tmp_path):
    done = box("cp", "box:/dev", tmp_path / "dev")
    assert done.returncode == 0 and "a device, left out" in done.stderr
    assert not [p for p in (tmp_path / "dev").rglob("*") if stat.S_ISCHR(p.lstat().st_mode)]


def test_a_copy_into_a_stopped_container_is_there_at_its_next_start(minirun, tmp_path, residue):
    (tmp_path / "page").write_text("hello\n")
    minirun.ok("create", "--network", "none", "--name", "box", "-v", "data:/data", "tiny",
               "cat", "/page", "/data/page")
    minirun.ok("cp", tmp_path / "page", "box:/page")
    minirun.ok("cp", tmp_path / "page", "box:/data")
    assert minirun.ok("start", "-a", "box") == "hello\nhello\n"
    minirun.ok("rm", "box")


def test_holes_stay_holes(box, tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"end of the first hole")
    box.ok("cp", tmp_path / "sparse", "box:/d/sparse")
    box.ok("cp", "box:/d/sparse", tmp_path / "back")
    status = (tmp_path / "back").stat()
    assert status.st_size == 1 << 40 and status.st_blocks * 512 < 1 << 20
    with (tmp_path / "back").open("rb") as file:
        file.seek(1 << 30)
        assert file.read(21) == b"end of the first hole"


SWAPPING = "while :; do mv /d /e; ln -s CAN /d; rm /d; mv /e /d; done"
ROUNDS = 500


def test_rt19_swapped_links_lead_nowhere(minirun, tmp_path):
    """CVE-2018-15664: the container exchanges /d with a link to a directory that only we have."""
    secret = tmp_path / "can"
    secret.mkdir()
    (secret / "f").write_text("secret")
    (tmp_path / "new").write_text("planted")
    script = f"mkdir /d; echo > /d/f; {SWAPPING.replace('CAN', str(secret))}"
    minirun.ok("run", "-d", "--network", "none", "--name", "box", "tiny", "sh", "-c", script)
    state = State(Paths(str(minirun.root)))
    box = state.containers.find("box")

    def attempt(what, *arguments):
        try:
            getattr(copying.Copy(state), what)(*arguments)
        except (Error, OSError):
            return False
        return True

    out, planted = 0, 0
    try:
        for number in range(ROUNDS):
            copy = tmp_path / f"out{number}"
            out += attempt("out", box, ("/d/f", "/d")[number % 2], str(copy))
            planted += attempt("into", str(tmp_path / "new"), box, ("/d/", "/d/g")[number % 2])
            if not copy.is_symlink():  # of the link itself there may be a copy
                found = [path for path in (copy, copy / "f") if path.is_file()]
                assert all(path.read_text() != "secret" for path in found)
            assert tree(secret) == {"f"} and (secret / "f").read_text() == "secret"
    finally:
        minirun.ok("rm", "-f", "box")
    assert 0 < out < ROUNDS and 0 < planted < ROUNDS  # else nobody was swapping
