"""The scheduler, disk priority, processors, memory nodes and personality of a container's process.

What the kernel says of the process is read from outside, for the tools inside may be anything.
"""

import ctypes
import errno
import os
import re
import struct
from pathlib import Path

import pytest

from minirun.errors import SpecError, StepError
from minirun.runtime import scheduling

libc = ctypes.CDLL(None, use_errno=True)
GETATTR, IOPRIO_GET = (315, 252) if os.uname().machine == "x86_64" else (275, 31)
CPUS = sorted(os.sched_getaffinity(0))


def attributes(pid: int) -> dict[str, int]:
    """sched_getattr(2)"""
    buffer = ctypes.create_string_buffer(48)
    assert libc.syscall(GETATTR, pid, buffer, 48, 0) == 0, os.strerror(ctypes.get_errno())
    names = "size policy flags nice priority runtime deadline period".split()
    return dict(zip(names, struct.unpack("=IIQiIQQQ", buffer.raw), strict=True))


def old(bundle, *, runc: bool = False) -> None:
    """Skip where the peer of this machine is older than the field."""
    if bundle.runtime == "crun" or (runc and bundle.runtime == "runc"):
        pytest.skip(f"{bundle.runtime} of Debian 12 does not know this field yet")


def with_real_time(bundle) -> None:
    """cgroup v1 gives a group no time for real-time processes unless it is asked to."""
    top = Path("/sys/fs/cgroup/cpu")
    if (top / "cpu.rt_runtime_us").exists():
        given = sum(int(path.read_text()) for path in top.glob("*/cpu.rt_runtime_us"))
        if int((top / "cpu.rt_runtime_us").read_text()) - given < 1000:
            pytest.skip("other cgroups have all the time that there is for real-time processes")
        bundle.linux["cgroupsPath"] = f"/minirun-test-{bundle.id}"
        bundle.linux["resources"]["cpu"] = {"realtimeRuntime": 1000}


@pytest.mark.parametrize("scheduler, expected", [
    ({"policy": "SCHED_OTHER", "nice": 7}, {"policy": 0, "nice": 7}),
    ({"policy": "SCHED_BATCH"}, {"policy": 3, "nice": 0}),
    ({"policy": "SCHED_IDLE"}, {"policy": 5}),
    ({"policy": "SCHED_FIFO", "priority": 9}, {"policy": 1, "priority": 9}),
    ({"policy": "SCHED_RR", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
     {"policy": 2, "priority": 3, "flags": 1}),
    ({"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**7, "period": 10**8},
     {"policy": 6, "runtime": 10**6, "deadline": 10**7, "period": 10**8}),
])  # fmt: skip
def test_the_scheduler_is_as_asked(bundle, scheduler, expected):
    old(bundle, runc=True)
    bundle.process["scheduler"] = scheduler
    if scheduler["policy"] in ("SCHED_FIFO", "SCHED_RR"):
        with_real_time(bundle)
    bundle.create("sleep", "60")
    bundle.oci("start", bundle.id, check=True)
    found = attributes(bundle.pid())
    assert {name: found[name] for name in expected} == expected


def test_a_scheduler_that_the_kernel_refuses_is_named(ours):
    ours.process["scheduler"] = {"policy": "SCHED_ISO"}  # a number that no kernel has used yet
    assert "process.scheduler: SCHED_ISO: Invalid argument" in ours.refused()
    ours.process["scheduler"] = {"policy": "SCHED_FIFO", "priority": 100}
    assert "process.scheduler: SCHED_FIFO: Invalid argument" in ours.refused()


def test_also_where_a_user_namespace_has_no_power_over_it(ours):
    ours.linux["namespaces"].append({"type": "user"})
    ours.linux["uidMappings"] = [{"containerID": 0, "hostID": 100_000, "size": 1000}]
    ours.linux["gidMappings"] = ours.linux["uidMappings"]
    os.chmod(ours.directory, 0o755)
    for parent in ours.directory.parents:
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            os.chmod(parent, 0o755)
    ours.process["scheduler"] = {"policy": "SCHED_RR", "priority": 2}
    with_real_time(ours)
    ours.create("sleep", "60")
    ours.oci("start", ours.id, check=True)
    assert attributes(ours.pid())["policy"] == 2


@pytest.mark.parametrize("name, number", scheduling.IO_CLASSES.items())
def test_disk_priority(bundle, name, number):
    old(bundle, runc=True)
    bundle.process["ioPriority"] = {"class": name, "priority": 5}
    bundle.create("sleep", "60")
    bundle.oci("start", bundle.id, check=True)
    priority = libc.syscall(IOPRIO_GET, 1, bundle.pid())
    assert (priority >> 13, priority & 7) == (number, 5)


@pytest.mark.parametrize("domain, machine", [("LINUX", os.uname().machine), ("LINUX32", None)])
def test_personality(bundle, domain, machine):
    if bundle.runtime == "runc":
        pytest.skip("runc 1.1 does not know personality yet")
    bundle.linux["personality"] = {"domain": domain}
    said = bundle.run("uname", "-m").stdout.strip()
    assert said == machine if machine else said in ("i686", "armv8l")


def numa_policy(pid: int) -> set[str]:
    """The policies of all its mappings: proc_pid_numa_maps(5)"""
    with open(f"/proc/{pid}/numa_maps") as file:
        return {line.split()[1] for line in file}


@pytest.mark.parametrize("policy, shown", [
    ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
    ({"mode": "MPOL_INTERLEAVE", "nodes": "0-0", "flags": ["MPOL_F_STATIC_NODES"]},
     "interleave=static:0"),
    ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]},
     "prefer=relative:0"),
    ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
    ({"mode": "MPOL_LOCAL"}, "local"),
    ({"mode": "MPOL_DEFAULT"}, "default"),
])  # fmt: skip
def test_memory_policy(bundle, policy, shown):
    """It outlives execve(2), as set_mempolicy(2) says."""
    old(bundle, runc=True)
    bundle.linux["memoryPolicy"] = policy
    bundle.create("sleep", "60")
    bundle.oci("start", bundle.id, check=True)
    bundle.wait_for("running")
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("a kernel without CONFIG_NUMA")
    assert shown.split()[0] in numa_policy(bundle.pid())


@pytest.mark.parametrize("policy", [
    {"mode": "MPOL_BIND", "nodes": "77"}, {"mode": "MPOL_BIND"},
    {"mode": "MPOL_DEFAULT", "nodes": "0"},
])  # fmt: skip
def test_a_memory_policy_that_the_kernel_refuses(ours, policy):
    ours.linux["memoryPolicy"] = policy
    assert "set_mempolicy: Invalid argument" in ours.refused()


def test_exec_runs_on_the_processors_that_it_is_told(bundle):
    old(bundle, runc=True)
    bundle.process["execCPUAffinity"] = {"initial": str(CPUS[0]), "final": str(CPUS[-1])}
    bundle.create("sh", "-c", "grep Cpus_allowed_list /proc/self/status; sleep 60")
    bundle.oci("start", bundle.id, check=True)
    status = bundle.oci("exec", bundle.id, "cat", "/proc/self/status", check=True).stdout
    assert re.search(r"Cpus_allowed_list:\t(.*)", status)[1] == str(CPUS[-1])
    assert sorted(os.sched_getaffinity(bundle.pid())) == CPUS  # the first process is not meant


def test_processors_that_are_not_there(ours):
    ours.process["execCPUAffinity"] = {"initial": "8000"}
    ours.create("sleep", "60")
    ours.oci("start", ours.id, check=True)
    done = ours.oci("exec", ours.id, "true")
    assert done.returncode == 125
    assert "process.execCPUAffinity.initial: 8000: Invalid argument" in done.stderr


def test_exec_has_what_the_first_process_has(ours):
    ours.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 3}
    ours.linux["personality"] = {"domain": "LINUX32"}
    ours.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0"}
    ours.create("sleep", "60")
    ours.oci("start", ours.id, check=True)
    pid_file = ours.directory / "pid"
    ours.oci("exec", "--detach", "--pid-file", pid_file, ours.id, "sleep", "61", check=True)
    pid = int(pid_file.read_text())
    assert attributes(pid)["policy"] == 3 and "bind:0" in numa_policy(pid)
    assert ours.oci("exec", ours.id, "uname", "-m").stdout in ("i686\n", "armv8l\n")


@pytest.mark.parametrize("text, members", [
    ("", []), ("0", [0]), ("0-3,7", [0, 1, 2, 3, 7]), (" 1 - 2 ,1", [1, 2]), ("3-1", []),
    (",,5", [5]),
])  # fmt: skip
def test_lists_of_numbers(text, members):
    assert list(scheduling.numbers(text, "x")) == members


@pytest.mark.parametrize("text", ["-1", "1-", "a", "1-2-3", "99999", "0-99999", "1.5", "0x1"])
def test_lists_that_are_none(text):
    with pytest.raises(SpecError, match=r"^x: not a list such as 0-3,7"):
        scheduling.numbers(text, "x")


def test_the_kernels_reason_is_told():
    with pytest.raises(StepError, match=os.strerror(errno.ESRCH)):
        scheduling.prioritise(2**22 + 1, {"scheduler": {"policy": "SCHED_OTHER"}})
