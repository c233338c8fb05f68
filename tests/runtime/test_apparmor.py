"""AppArmor: the command runs under the profile that is asked for, or not at all.

Most of it takes a kernel with AppArmor, such as the virtual machine's (vagrant/vm.sh).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from minirun.runtime import apparmor

PROFILE = "minirun-test"
# What it allows does not include all that we do before the command is executed, such as accept(2).
RULES = f"""profile {PROFILE} flags=(attach_disconnected) {{
  / r, /** rwlk, /bin/* rix, capability setuid,
  deny /etc/passwd r,
}}"""


def is_enabled() -> bool:
    try:
        with open(apparmor.ENABLED) as file:
            return file.read(1) == "Y"
    except FileNotFoundError:
        return False


@pytest.fixture
def loaded() -> Iterator[str]:
    """The name of a profile that the kernel has."""
    if not is_enabled():
        pytest.skip("this kernel runs without AppArmor")
    if not shutil.which("apparmor_parser"):
        pytest.skip("needs apparmor_parser (package apparmor)")
    subprocess.run(["apparmor_parser", "-Kr"], input=RULES, text=True, check=True)
    yield PROFILE
    subprocess.run(["apparmor_parser", "-R"], input=RULES, text=True, check=True)


def test_without_apparmor_a_profile_is_refused(bundle):
    if is_enabled():
        pytest.skip("this kernel has AppArmor")
    if bundle.runtime == "runc":
        pytest.skip("runc 1.1 finds no file to write to, and does not say why")
    bundle.process["apparmorProfile"] = "docker-default"
    words = bundle.refused()
    assert bundle.runtime != "minirun-oci" or "process.apparmorProfile: docker-default" in words


def test_unconfined_is_what_all_are_without_it(ours):
    ours.process["apparmorProfile"] = "unconfined"
    assert ours.run("true").returncode == 0
    ours.process["apparmorProfile"] = ""
    assert ours.run("true").returncode == 0


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_the_command_is_under_the_profile(bundle, loaded, no_new_privileges):
    bundle.process.update(apparmorProfile=loaded, noNewPrivileges=no_new_privileges)
    assert bundle.sh("cat /proc/self/attr/current") == f"{loaded} (enforce)\n"
    assert "Permission denied" in bundle.run("cat", "/etc/passwd").stderr
    assert bundle.sh("ls -l /proc/self/fd | wc -l") == "5\n"  # nothing of ours is left open


def test_also_as_another_user_with_hooks_and_seccomp(ours, loaded):
    ours.process.update(apparmorProfile=loaded, user={"uid": 1000, "gid": 1000})
    ours.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    denied = {"names": ["openat", "write"], "action": "SCMP_ACT_LOG"}
    ours.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied]}
    assert ours.sh("cat /proc/self/attr/current") == f"{loaded} (enforce)\n"


def test_exec_is_under_the_profile_too(bundle, loaded):
    bundle.process["apparmorProfile"] = loaded
    bundle.create("sleep", "60")
    bundle.oci("start", bundle.id, check=True)
    done = bundle.oci("exec", bundle.id, "cat", "/proc/self/attr/current", check=True)
    assert done.stdout == f"{loaded} (enforce)\n"


def test_a_profile_that_is_not_loaded_ends_the_container(ours):
    if not is_enabled():
        pytest.skip("this kernel runs without AppArmor")
    ours.process["apparmorProfile"] = "nobody-has-loaded-this"
    assert "process.apparmorProfile): No such file" in ours.refused("true")


def test_another_proc_in_the_container_is_not_written_to(ours, loaded):
    """The container's /proc is a plain directory, with a file of that name."""
    place = ours.rootfs / "proc/thread-self/attr/apparmor"
    place.mkdir(parents=True)
    (place / "exec").touch()
    ours.config["mounts"] = [m for m in ours.config["mounts"] if m["destination"] != "/proc"]
    for field in ("maskedPaths", "readonlyPaths"):
        ours.linux[field] = []
    ours.process["apparmorProfile"] = loaded
    ours.create("sleep", "60")
    ours.oci("start", ours.id, check=True)
    with open(f"/proc/{ours.pid()}/attr/current") as file:
        assert file.read() == f"{loaded} (enforce)\n"
    assert (place / "exec").read_text() == "" and os.path.isfile(place / "exec")
