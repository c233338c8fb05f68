"""checkpoint and restore, where there is a CRIU that works: $CRIU, or criu on PATH."""

import json
import os
import shutil
import subprocess
import time

import pytest

from tests.runtime.bundles import Bundle, bind

CRIU = os.environ.get("CRIU") or shutil.which("criu") or ""
COUNT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; sleep 0.02; done"


@pytest.fixture
def counting(bundle: Bundle) -> Bundle:
    """A container that counts, and a runtime that checkpoints it."""
    if bundle.runtime == "crun":
        pytest.skip("Debian's crun has no CRIU")
    if not CRIU or subprocess.run([CRIU, "check"], capture_output=True, check=False).returncode:
        pytest.skip("no CRIU that works on this kernel")
    # a mount of the host's, which is to be there again
    (bundle.directory / "outside").mkdir()
    bundle.config["mounts"].append(bind(bundle.directory / "outside", "/mnt"))
    (bundle.rootfs / "mnt").mkdir()
    bundle.run("sh", "-c", COUNT, options=("-d",), stdout=subprocess.DEVNULL,
               stderr=subprocess.DEVNULL)  # fmt: skip
    time.sleep(0.2)
    return bundle


def count(bundle: Bundle) -> int:
    return int((bundle.rootfs / "tmp/count").read_text())


def criu(bundle: Bundle, verb: str, *words: str, **more) -> None:
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    done = bundle.oci("--criu", CRIU, verb, "--image-path", "images", "--work-path", "work",
                      *words, bundle.id, **(null | more))  # fmt: skip
    assert done.returncode == 0


def test_checkpoint_and_restore(counting):
    criu(counting, "checkpoint")
    assert counting.listed() == []
    reached = count(counting)
    criu(counting, "restore", "--detach", "--pid-file", "pid")
    time.sleep(0.3)
    state = counting.state()
    assert state["status"] == "running"
    assert (counting.directory / "pid").read_text() == str(state["pid"])
    assert count(counting) > reached  # and not from the beginning
    before = reached
    counting.oci("kill", counting.id, "KILL", check=True)
    counting.wait_for("stopped")
    assert count(counting) > before
    counting.oci("delete", counting.id, check=True)


def test_a_container_that_goes_on(counting):
    criu(counting, "checkpoint", "--leave-running")
    reached = count(counting)
    time.sleep(0.2)
    assert counting.state()["status"] == "running"
    assert count(counting) > reached


def test_restore_under_another_name(counting):
    if counting.runtime == "runc":
        pytest.skip("runc 1.1 restores into the old cgroup")
    criu(counting, "checkpoint")
    counting.id += "-again"
    criu(counting, "restore", "--detach")
    pids = json.loads(counting.oci("ps", "-f", "json", counting.id, check=True).stdout)
    assert counting.pid() in pids


def test_restore_in_the_foreground(counting):
    """It stays until the end, and then nothing is left."""
    criu(counting, "checkpoint")
    words = ["--criu", CRIU, "restore", "--image-path", "images", counting.id]
    restoring = subprocess.Popen(
        counting.arguments(*words), cwd=counting.directory, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 10
    while counting.oci("ps", "-f", "json", counting.id).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    counting.oci("kill", counting.id, "KILL", check=True)
    assert restoring.wait(10) == 137
    assert counting.listed() == []


@pytest.mark.parametrize("verb", ["checkpoint", "restore"])
def test_without_criu_there_is_a_hint(ours, verb):
    ours.run("sleep", "60", options=("-d",))
    if verb == "restore":
        ours.oci("delete", "--force", ours.id, check=True)
        (ours.directory / "checkpoint").mkdir()
        (ours.directory / "checkpoint/descriptors.json").write_text("[]")
    done = ours.oci("--criu", "/nowhere/criu", verb, ours.id)
    assert (done.returncode, "hint: " in done.stderr) == (125, True)
    done = ours.oci("--criu", "false", verb, ours.id)
    assert (done.returncode, "hint: " in done.stderr) == (125, True)
    if verb == "checkpoint":
        assert ours.state()["status"] == "running"
    else:
        assert ours.listed() == []


def test_what_has_no_processes_is_not_saved(ours):
    ours.create("sleep", "60")
    assert ours.oci("checkpoint", ours.id).returncode == 125
