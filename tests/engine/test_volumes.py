"""Volumes and mounts in real containers: what is there, what stays, what goes."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from minirun import linux
from minirun.engine import selinux
from tests import images

OFF = ("--network", "none")


@pytest.fixture
def engine(minirun):
    """``engine.sh(SCRIPT, FLAG…)``: the output of a shell in a new container, which is removed."""

    def sh(script, *flags, image="tiny"):
        return minirun.ok("run", "--rm", *OFF, *flags, image, "sh", "-ec", script)

    minirun.sh = sh
    return minirun


def volume(minirun, name):
    return Path(minirun.root, "lib/volumes", name, "_data")


def volumes(minirun):
    return minirun.ok("volume", "ls", "-q").split()


def make_image(minirun, tmp_path, name, entries, *changes):
    """An image with some files in it, besides busybox."""
    tar = tmp_path / f"{name}.tar"
    images.write_tar(tar, [*images.busybox_entries(images.machine()), *entries])
    words = [word for change in changes for word in ("-c", change)]
    minirun.ok("import", *words, "-c", "ENV PATH=/bin", tar, name)
    return name


# --- one after the other ------------------------------------------------------------------------


def test_a_named_volume_outlives_its_containers(engine, residue):
    engine.sh("echo kept > /data/f", "-v", "data:/data")
    assert volumes(engine) == ["data"]
    assert engine.sh("cat /elsewhere/f", "-v", "data:/elsewhere:ro") == "kept\n"
    assert engine("volume", "rm", "data").stdout == "data\n"
    assert volumes(engine) == []


def test_nameless_volumes_go_with_rm(engine):
    engine.sh("echo > /data/f", "-v", "/data")
    assert volumes(engine) == []
    for flags, left in (("-v",), 0), ((), 1):
        engine.ok("create", "--name", "box", *OFF, "-v", "/data", "-v", "named:/n", "tiny", "true")
        assert len(volumes(engine)) == 2 + left - (not flags and 1)
        engine.ok("rm", *flags, "box")
        assert len(volumes(engine)) == 1 + left
    engine.ok("volume", "prune", "-f")
    assert volumes(engine) == ["named"]
    engine.ok("volume", "prune", "-af")
    assert volumes(engine) == []


def test_a_volume_in_use_is_not_removed(engine):
    engine.ok("create", "--name", "box", *OFF, "-v", "data:/data", "tiny", "true")
    done = engine("volume", "rm", "data")
    ident = engine.ok("inspect", "-f", "{{.Id}}", "box").strip()
    assert done.returncode == 125 and f"volume data is in use - [{ident}]" in done.stderr
    engine.ok("volume", "prune", "-af")
    assert volumes(engine) == ["data"]
    engine.ok("rm", "box")
    engine.ok("volume", "rm", "data")
    assert engine("volume", "rm", "data").returncode == 125
    assert engine("volume", "rm", "-f", "data").returncode == 0


@pytest.mark.parametrize(
    "name", ["../x", ".", "..", "a/b", "-x", "a b", "a\n", "x" * 300, "x", "ä"]
)
def test_rt37_names_that_are_paths_or_worse(engine, name):
    for words in (("volume", "create", "--", name), ("volume", "rm", "--", name),
                  ("volume", "inspect", "--", name)):  # fmt: skip
        done = engine(*words)
        assert done.returncode == 125 and "is not a name of a volume" in done.stderr
    assert os.listdir(engine.root / "lib/volumes") == []


def test_create_and_inspect(engine, tmp_path):
    assert engine.ok("volume", "create", "--label", "a=1", "data") == "data\n"
    assert engine.ok("volume", "create", "data") == "data\n"
    (found,) = json.loads(engine.ok("volume", "inspect", "data"))
    assert found["Labels"] == {"a": "1"} and found["Mountpoint"] == str(volume(engine, "data"))
    assert len(engine.ok("volume", "create").strip()) == 64
    assert engine.ok("volume", "ls", "-q", "-f", "label=a") == "data\n"
    assert engine("volume", "create", "-d", "nfs", "x1").returncode == 125
    assert engine("volume", "create", "-o", "type=nfs", "x1").returncode == 125
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}")
    engine.ok("volume", "create", *options, "here")
    engine.sh("echo bound > /x/from-inside", "-v", "here:/x")
    assert (tmp_path / "from-inside").read_text() == "bound\n"
    assert engine("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/",
                  "here").returncode == 125  # it is there, and it is another
    engine.ok("volume", "rm", "here")
    assert (tmp_path / "from-inside").exists()


# --- first use ----------------------------------------------------------------------------------


@pytest.fixture
def stocked(engine, tmp_path):
    """An image with files at /srv, which is ada's and a VOLUME, and a link to it."""
    entries = [
        images.directory("srv", 0o750, 1000), images.directory("srv/sub", 0o700),
        images.file("srv/f", "stock"), images.file("srv/sub/g", "more", 0o4755),
        images.symlink("srv/link", "/etc/passwd"), images.symlink("to-srv", "srv"),
    ]  # fmt: skip
    return make_image(engine, tmp_path, "stocked", entries, "VOLUME /srv")


def test_an_empty_volume_begins_with_what_the_image_has(engine, stocked):
    script = "cd /srv; stat -c '%a %u %n' . sub f sub/g; readlink link; echo mine > f"
    seen = engine.sh(script, "-v", "data:/srv", image=stocked)
    assert seen == "750 1000 .\n700 0 sub\n644 0 f\n4755 0 sub/g\n/etc/passwd\n"
    assert engine.sh("cat /srv/f", "-v", "data:/srv", image=stocked) == "mine\n"
    assert engine.sh("cat /to-srv/f", "-v", "other:/to-srv", image=stocked) == "stock"
    for words in (("-v", "empty1:/srv:nocopy"),
                  ("--mount", "source=empty2,target=/srv,volume-nocopy")):  # fmt: skip
        assert engine.sh("ls /srv", *words, image=stocked) == ""


def test_a_created_container_has_its_volumes_filled(engine, stocked):
    engine.ok("create", "--name", "box", *OFF, stocked, "true")
    assert engine.sh("cat /srv/f", "--volumes-from", "box") == "stock"
    engine.ok("rm", "-v", "box")
    assert volumes(engine) == []


def test_a_filling_that_was_broken_off_is_done_again(engine, stocked):
    engine.ok("volume", "create", "data")
    (volume(engine, "data") / "half").write_text("of it")
    (volume(engine, "data").parent / "filling").touch()
    assert engine.sh("ls /srv", "-v", "data:/srv", image=stocked) == "f\nlink\nsub\n"
    (volume(engine, "data").parent / "filling").touch()
    assert engine.sh("ls /data", "-v", "data:/data") == ""  # this image has nothing to offer


def test_two_at_once_fill_a_volume_once(engine, stocked):
    seen = []

    def use():
        seen.append(engine.sh("ls /srv", "-v", "data:/srv", image=stocked))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["f\nlink\nsub\n"] * 4


def test_rt35_an_image_gets_nothing_of_the_host_into_its_volumes(engine, tmp_path):
    """CVE-2022-23648: VOLUME paths with "..", and such that lead through links of the image."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "secret").write_text("secret")
    entries = [images.directory("a"), images.symlink("link", str(canary)),
               images.symlink("up", "../../../../../../" + str(canary))]  # fmt: skip
    name = make_image(engine, tmp_path, "hostile", entries)
    places = [f"/../..{canary}", f"/a/../../../..{canary}", "/link", "/up", "/link/deeper"]
    engine.ok("create", "--name", "box", *OFF, name, "true")
    for place in places:
        engine.ok("commit", "-c", f'VOLUME ["{place}"]', "box", "wishing")
        looking = f"cat {place}/secret {canary}/secret /link/secret; find / -xdev -name secret"
        done = engine("run", "--name", "look", *OFF, "wishing", "sh", "-c", looking)
        assert "secret\n" not in done.stdout.replace(str(canary), "") and done.returncode < 125
        assert len(volumes(engine)) == 1
        assert not list(engine.root.glob("lib/volumes/*/_data/**/secret"))
        engine.ok("rm", "-fv", "look")
    assert (canary / "secret").read_text() == "secret" and len(os.listdir(canary)) == 1


def test_volumes_of_the_kernels_places_are_left_out(engine, tmp_path):
    name = make_image(engine, tmp_path, "kernel", [], 'VOLUME ["/proc/x", "/sys/fs/cgroup", "/d"]')
    done = engine("run", "--rm", *OFF, name, "sh", "-c", "mount | grep -c ' on /d '")
    assert done.stdout == "1\n" and "VOLUME /proc/x of the image is left out" in done.stderr


# --- what is mounted ----------------------------------------------------------------------------


def test_directories_of_the_host(engine, tmp_path):
    (tmp_path / "f").write_text("of the host\n")
    for flags in (("-v", "./:/x"), ("-v", f"{tmp_path}:/x"),
                  ("--mount", f"type=bind,src={tmp_path},dst=/x")):  # fmt: skip
        done = engine.ok("run", "--rm", *OFF, *flags, "tiny", "cat", "/x/f", cwd=tmp_path)
        assert done == "of the host\n"
    done = engine("run", "--rm", *OFF, "-v", f"{tmp_path}/typo:/x", "tiny", "true")
    assert done.returncode == 125 and f"hint: mkdir -p {tmp_path}/typo" in done.stderr
    assert engine.ok("ps", "-aq") == "" and os.listdir(tmp_path).count("typo") == 0


def test_read_only_is_read_only_below_too(engine, tmp_path):
    (tmp_path / "a/below").mkdir(parents=True)
    linux.mount("tmpfs", str(tmp_path / "a/below"), "tmpfs")
    try:
        script = "touch /x/f /x/below/f 2>&1 | grep -c 'Read-only'"
        assert engine.sh(script, "-v", f"{tmp_path}/a:/x:ro") == "2\n"
    finally:
        linux.umount2(str(tmp_path / "a/below"))


def test_tmpfs(engine):
    mount = engine.sh("grep ' /t ' /proc/mounts", "--tmpfs", "/t:size=1m,mode=700,exec")
    assert "noexec" not in mount and "size=1024k" in mount and "nosuid,nodev" in mount
    seen = engine.sh("stat -c %a /t", "--mount", "type=tmpfs,dst=/t,tmpfs-mode=0751")
    assert seen == "751\n"


def test_volumes_from(engine, tmp_path):
    engine.ok("create", "--name", "box", *OFF, "-v", "data:/data", "-v", f"{tmp_path}:/here",
              "-v", "/nameless", "tiny", "true")
    engine.sh("echo x > /data/f; echo y > /here/g; echo z > /nameless/h", "--volumes-from", "box")
    script = "cat /data/f /here/g /nameless/h; touch /data/f"
    done = engine("run", "--rm", *OFF, "--volumes-from", "box:ro", "tiny", "sh", "-c", script)
    assert done.stdout == "x\ny\nz\n" and "Read-only file system" in done.stderr
    assert len(volumes(engine)) == 2  # box has them still
    engine.ok("rm", "-v", "box")
    assert volumes(engine) == ["data"]


def test_propagation(engine, tmp_path):
    """What the host mounts later shows up in the container, or does not."""
    linux.mount("tmpfs", str(tmp_path), "tmpfs")
    linux.mount(None, str(tmp_path), None, linux.MS_SHARED)
    try:
        (tmp_path / "m").mkdir()
        for word, sees in (("rslave", True), ("rshared", True), ("rprivate", False)):
            engine.ok("run", "-d", "--name", word, *OFF, "-v", f"{tmp_path}:/x:{word}", "tiny",
                      "sleep", "999")
            linux.mount("tmpfs", str(tmp_path / "m"), "tmpfs")
            seen = engine("exec", word, "grep", "-q", " /x/m ", "/proc/mounts").returncode == 0
            linux.umount2(str(tmp_path / "m"))
            engine.ok("rm", "-f", word)
            assert seen is sees, word
    finally:
        linux.umount2(str(tmp_path))


def test_inspect_tells_of_mounts(engine, tmp_path):
    engine.ok("create", "--name", "box", *OFF, "-v", f"{tmp_path}:/here:ro", "-v", "data:/data",
              "tiny", "true")
    mounts = json.loads(engine.ok("inspect", "-f", "{{json .Mounts}}", "box"))
    here, data = sorted(mounts, key=lambda mount: mount["Type"])
    assert here == {"Type": "bind", "Source": str(tmp_path), "Destination": "/here", "Mode": "ro",
                    "RW": False, "Propagation": "rprivate"}
    assert data["Name"] == "data" and data["Source"] == str(volume(engine, "data"))
    assert data["Driver"] == "local" and data["RW"] is True


def test_a_vanished_source_stops_the_start(engine, tmp_path):
    (tmp_path / "d").mkdir()
    engine.ok("create", "--name", "box", *OFF, "-v", f"{tmp_path}/d:/d", "tiny", "true")
    (tmp_path / "d").rmdir()
    done = engine("start", "box")
    assert done.returncode == 125 and "no such file or directory to mount on /d" in done.stderr
    (tmp_path / "d").mkdir()
    engine.ok("start", "-a", "box")


def test_selinux_labels_go_to_all_files_and_through_no_link(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/f").touch()
    (tmp_path / "other").touch()
    (tmp_path / "d/link").symlink_to(tmp_path / "other")
    before = os.listxattr(tmp_path / "other")
    selinux.relabel(str(tmp_path / "d"))
    for name in ("d", "d/sub", "d/f", "d/link"):
        value = os.getxattr(tmp_path / name, selinux.ATTRIBUTE, follow_symlinks=False)
        assert value == selinux.LABEL
    assert os.listxattr(tmp_path / "other") == before


# --- kill -9 ------------------------------------------------------------------------------------

CALLS = "mkdir,mkdirat,rename,renameat,unlink,unlinkat,rmdir,flock,write,symlink"


@pytest.mark.slow
@pytest.mark.parametrize("words", [("create", "--label", "a=1", "new"), ("rm", "old"),
                                   ("prune", "-af")])  # fmt: skip
def test_cr02_killed_at_any_call(engine, words):
    """Whatever is left is a volume or nothing, and the next command goes on."""
    for number in range(1, 100):
        engine.ok("volume", "create", "old")
        (volume(engine, "old") / "f").write_text("x")
        command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}",
                   "-e", f"inject={CALLS}:signal=KILL:when={number}", *engine.command()]
        done = engine.run(command, "volume", *words)
        for name in volumes(engine):
            engine.ok("volume", "inspect", name)
        engine.sh("touch /data/f", "-v", "new:/data")
        engine.ok("volume", "prune", "-af")
        assert os.listdir(engine.root / "lib/volumes") == []
        if done.returncode != -signal.SIGKILL:
            assert number > 3  # else it was never killed
            return
    raise AssertionError("it never came to an end")


def test_what_a_kill_left_is_found_and_pruned(engine):
    engine.ok("volume", "create", "data")
    for name in (".gone-1", ".new-1"):
        (engine.root / "lib/volumes" / name / "_data").mkdir(parents=True)
        (engine.root / "lib/volumes" / name / "_data/f").write_text("x" * 1000)
    assert volumes(engine) == ["data"]
    done = engine("system", "check")
    assert "2.0" in done.stdout + done.stderr or "2kB" in done.stdout + done.stderr, done
    engine.ok("volume", "prune", "-f")
    assert os.listdir(engine.root / "lib/volumes") == ["data"]


# --- many at once -------------------------------------------------------------------------------

WORKER = """
import random, sys
from minirun.engine.paths import Paths
from minirun.engine.state import State
from minirun.engine.volumes import Volumes
from minirun.errors import NotFound

state = State(Paths(sys.argv[1]))
volumes, dice = Volumes(state), random.Random(int(sys.argv[2]))
for _ in range(60):
    name = dice.choice(("one", "two", ""))
    what = dice.choice(("create", "remove", "prune", "look"))
    try:
        if what == "create":
            volume = volumes.create(name)
        elif what == "remove":
            volumes.remove(name or "one")
        elif what == "prune":
            volumes.prune(lambda volume: dice.random() < 0.5)
        else:
            assert {v.name for v in volumes.all() if len(v.name) < 64} <= {"one", "two"}
    except NotFound:
        pass
"""


def test_cr15_many_at_once(engine):
    """No traceback, no deadlock, nothing half made."""
    engine.ok("volume", "ls")
    line = [sys.executable, "-c", WORKER, str(engine.root)]
    workers = [subprocess.Popen([*line, str(n)], stderr=subprocess.PIPE) for n in range(8)]
    for worker in workers:
        _, complaint = worker.communicate(timeout=60)
        assert worker.returncode == 0, complaint.decode()
    engine.ok("volume", "prune", "-af")
    assert os.listdir(engine.root / "lib/volumes") == []
