"""cgroup v2 without a virtual machine: our tests and our containers under User-Mode Linux.

The machines these tests run on often have cgroup v1 or both. vagrant/uml.sh boots a second kernel
with cgroup v2 only, on the files of this machine, and runs one command in it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components import require

PROJECT = Path(__file__).parents[2]


def under_uml(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    require("linux.uml", "busybox")
    return subprocess.run([PROJECT / "vagrant/uml.sh", *command], cwd=PROJECT, text=True,
                          capture_output=True, check=False, env=os.environ | environment)


def test_a_command_has_its_streams_its_status_and_cgroup_v2():
    script = "cd /sys/fs/cgroup; stat -fc %T .; cat cgroup.subtree_control; echo >&2 x; exit 7"
    done = under_uml("sh", "-c", f"pwd; {script}")
    assert done.stdout == f"{PROJECT}\ncgroup2fs\ncpu io memory pids\n"
    assert (done.stderr, done.returncode) == ("x\n", 7)


def test_the_machine_outside_cannot_be_written():
    paths = f"{PROJECT}/canary /usr/canary /etc/canary"
    done = under_uml("sh", "-c", f"touch {paths}; touch /tmp/canary")
    assert done.returncode == 0
    assert done.stderr.count("Read-only file system") == 3
    assert not Path("/tmp/canary").exists()


def test_a_command_that_does_not_end_is_ended():
    done = under_uml("sleep", "1000", LIMIT="4")
    assert done.returncode == 125
    assert "error: the command did not end (LIMIT=4 seconds" in done.stderr


@pytest.mark.parametrize("tests", ["test_cgroup.py", "test_cgroup_devices.py",
                                   "test_cgroup_running.py", "test_cgroup_containers.py"])
def test_the_cgroup_tests_pass(tests):
    """With limits that change, pauses, out of memory and exec, on v2."""
    done = under_uml(sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider",
                     f"tests/runtime/{tests}", LIMIT="400")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ordinary_users_have_limits_where_a_cgroup_was_given_to_them():
    done = under_uml(sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider",
                     "tests/runtime/test_rootless.py", "-k", "cgroup", LIMIT="200")
    assert done.returncode == 0, done.stdout + done.stderr


def test_containers_run_and_limits_bite():
    path = f"PATH=/usr/local/bin:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    done = under_uml("env", path, "tests/system/cgroup_v2.sh")
    assert done.returncode == 0, done.stdout + done.stderr
