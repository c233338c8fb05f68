"""cgroup v2 with systemd: the runtime's tests in a virtual machine (vagrant/vm.sh), without KVM.

The same tests as on this machine, on another kernel, with and without systemd making the cgroups;
and what only systemd shows: that both agree about limits, and containers of ordinary users.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components import require
from tests.daemons import minirun_oci
from tests.system.test_vagrant import box

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

# All but the slow ones take half an hour on a processor that is computed: so these the second time.
ALL = "tests/runtime"
CGROUPS = ("tests/runtime/test_cgroup_containers.py", "tests/runtime/test_lifecycle.py",
           "tests/runtime/test_run.py", "tests/runtime/test_exec.py")


def in_machine(*command: object, sees: Path, **environment: str) -> str:
    """What a command said in the machine, where it must succeed; it sees the folder ``sees``."""
    require("mmdebstrap", "qemu-img", "qemu-system-x86_64")
    places = {"SEES": f"{sys.prefix}:{sees}", "LIMIT": "3600", "MEM": "3G"}
    done = subprocess.run([PROJECT / "vagrant/vm.sh", box(), *map(str, command)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          cwd=PROJECT, env=os.environ | places | environment)
    print(done.stdout)
    assert done.returncode == 0
    return done.stdout


def test_systemd_and_we_agree(tmp_path):
    """Scopes, limits that a reload does not undo, podman, users: see systemd.sh."""
    said = in_machine("tests/system/systemd.sh", minirun_oci(tmp_path), sees=tmp_path)
    assert "FAILED" not in said


@pytest.mark.parametrize(("options", "tests"), [("", (ALL,)), (" --systemd-cgroup", CGROUPS)],
                         ids=["cgroupfs", "systemd"])
def test_the_tests_of_the_runtime_pass(tmp_path, options, tests):
    runtime = f"{minirun_oci(tmp_path)}{options}"
    in_machine("env", f"OCI_RUNTIME={runtime}", sys.executable, "-m", "pytest", "-q", "--color=no",
               "-p", "no:cacheprovider", "-m", "not slow", *tests, sees=tmp_path)
