"""The count of residue sees what it is there to see."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from minirun import linux
from tests.residue import CGROUPS, left, snapshot


@pytest.fixture
def before():
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return snapshot()


def seen(before, kind: str) -> set[str]:
    return left(before, patience=0).get(kind, set())


def test_a_mount(before, tmp_path):
    linux.mount("none", str(tmp_path), "tmpfs", 0, "")
    try:
        assert f"{tmp_path} (tmpfs)" in seen(before, "mounts")
    finally:
        linux.umount2(str(tmp_path), 0)
    assert f"{tmp_path} (tmpfs)" not in seen(before, "mounts")


def test_a_cgroup(before):
    top = next(path for path in [CGROUPS / "pids", CGROUPS] if (path / "cgroup.procs").exists())
    path = top / f"minirun-test-{uuid.uuid4().hex}"
    path.mkdir()
    try:
        assert str(path) in seen(before, "cgroups")
    finally:
        path.rmdir()


def test_a_process_whose_parent_is_gone(before):
    """It belongs to the process above the tests now."""
    command = "sleep 987 >/dev/null 2>&1 & echo $!"
    pid = int(subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout)
    try:
        assert f"{pid} sleep 987" in seen(before, "processes")
    finally:
        os.kill(pid, 9)


def test_a_file(before):
    path = Path("/dev/shm") / f"minirun-test-{uuid.uuid4().hex}"
    path.touch()
    try:
        assert str(path) in seen(before, "files")
    finally:
        path.unlink()


def test_a_keyring(before):
    """A session keyring lives as long as a process has it: keyrings(7)."""
    code = ("from minirun import linux; linux.keyctl(1, '_ses.minirun-test'); "
            "print(flush=True); input()")
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as process:
        process.stdout.readline()
        assert any("_ses.minirun-test" in keyring for keyring in seen(before, "keyrings"))
        process.communicate("\n")
