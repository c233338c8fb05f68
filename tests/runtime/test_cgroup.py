"""Cgroups on the kernel of this machine, whichever version it has: v1, v2 or both.

vagrant/uml.sh runs the same tests on a kernel with v2 only.
"""

import json
import os
import signal
import time

import pytest

from minirun.errors import Error, SpecError, StateError
from minirun.runtime import cgroup
from minirun.runtime.cgroup import Cgroup, hierarchy, limits
from tests.runtime.cgroups import Child, fact, needs

MIB = 1 << 20

HYBRID = """\
23 1 254:1 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/a,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
50 31 0:29 /x /var/lib/c/rootfs/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
51 31 0:29 /x /sys/fs/cgroupx rw - cgroup cgroup rw,memory
"""


def test_trees_are_found_in_mountinfo_v1_first():
    assert hierarchy.parse(HYBRID) == [
        (1, "/sys/fs/cgroup/cpu,cpuacct", frozenset({"cpu", "cpuacct"})),
        (1, "/sys/fs/cgroup/systemd", frozenset({"name=systemd"})),
        (2, "/sys/fs/cgroup/unified", frozenset()),
    ]
    v2_only = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
    assert hierarchy.parse(v2_only) == [(2, "/sys/fs/cgroup", frozenset())]
    assert hierarchy.parse(HYBRID + HYBRID) == hierarchy.parse(HYBRID)  # the same, mounted over it
    assert hierarchy.parse("") == []


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/a/b", "/a/b"),
        ("a/b", "/a/b"),
        ("//a///b/", "/a/b"),
        ("/system.slice:x:y", "/system.slice:x:y"),
    ],
)
def test_paths_are_below_the_top(path, normal):
    assert cgroup.normal_path(path) == normal


@pytest.mark.parametrize("path", ["/", "//", "..", "/a/../b", "a/./b", "/a\nb", "/a/\0", "/a/.."])
def test_paths_that_lead_elsewhere_are_refused(path):
    """RT38"""
    with pytest.raises(SpecError, match="cgroupsPath"):
        cgroup.prepare(path, "x", {})


# from here on in the kernel


def test_entering_is_in_every_tree(group):
    child = Child(group)
    with open(f"/proc/{child.pid}/cgroup") as file:
        lines = [line.strip().split(":", 2) for line in file]
    joined = [controllers for _, controllers, path in lines if path == group.path]
    assert len(joined) == len(group.trees)
    assert group.pids() == {child.pid}
    group.kill()
    assert child.wait() == -signal.SIGKILL


def test_the_record_is_enough_to_end_it(group):
    child = Child(group)
    record = json.loads(json.dumps(group.to_json()))
    again = Cgroup.from_json(record)
    assert again.pids() == {child.pid}
    again.kill()
    child.wait()
    again.delete()
    again.delete()
    again.kill()
    assert not any(os.path.exists(directory) for directory in group.directories())


def test_a_cgroup_that_is_in_use_is_refused(group):
    child = Child(group)
    with pytest.raises(StateError, match=f"{child.pid}"):
        cgroup.prepare(group.path, "another", {})


def test_an_empty_one_is_taken_over(group):
    again = cgroup.prepare(group.path, "another", {})
    again.make()
    assert again.directories() == group.directories()


@pytest.mark.parametrize("limit", [64 * MIB, 128 * MIB, 64 * MIB])
def test_memory_limits_can_be_raised_and_lowered(group, limit):
    """On v1 the limit of memory must not be above the one of memory and swap, at any moment."""
    needs(group, "memory")
    for each in (32 * MIB, limit, 16 * MIB):
        group.apply({"memory": {"limit": each, "swap": each}})
        assert group.memory_limit() == each
    group.apply({"memory": {"limit": -1}})
    assert group.memory_limit() is None


def test_a_process_that_takes_too_much_memory_is_killed_and_counted(group):
    """RL08"""
    needs(group, "memory")
    assert group.oom_kills() == 0
    group.apply({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    child = Child(group, lambda: bytearray(64 * MIB))
    assert child.wait() == -signal.SIGKILL
    assert group.oom_kills() == 1


def test_a_fork_bomb_stays_small_and_dies_at_once(group):
    """RL09"""
    needs(group, "pids")
    group.apply({"pids": {"limit": 20}})

    def bomb() -> None:
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(0.001)

    child = Child(group, bomb)
    deadline = time.monotonic() + 10
    while len(group.pids()) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(group.pids()) == 20
    begun = time.monotonic()
    group.kill()
    assert time.monotonic() - begun < 2
    child.wait()
    reap()


def reap() -> None:
    """What the tests' own subreaper inherited."""
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def test_cpu_quota_throttles(group):
    """RL10: at a fifth of a processor, a second of trying is a fifth of a second of running."""
    needs(group, "cpu")
    group.apply({"cpu": {"quota": 20000, "period": 100000, "shares": 512}})

    def burn() -> None:
        used, end = time.process_time(), time.monotonic() + 1
        while time.monotonic() < end:
            pass
        os._exit(0 if time.process_time() - used < 0.35 else 1)

    assert Child(group, burn).wait() == 0
    assert (
        "nr_throttled 0" not in fact(group, ("cpu", "cpu.stat"), ("cpu", "cpu.stat")).splitlines()
    )


def test_values_arrive_in_the_files_of_the_version(group):
    needs(group, "cpu")
    group.apply({"cpu": {"quota": 50000, "period": 100000, "burst": 10000}})
    assert fact(group, ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.max")).split()[0] == "50000"
    assert fact(group, ("cpu", "cpu.cfs_burst_us"), ("cpu", "cpu.max.burst")) == "10000"
    group.apply({"cpu": {"quota": -1}})


def test_cpusets_are_inherited_and_narrowed(group):
    needs(group, "cpuset")
    Child(group)  # v1 would refuse a process without this inheritance
    first = fact(group, ("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.cpus.effective")).split(",")[
        0
    ]
    one = first.split("-")[0]
    group.apply({"cpu": {"cpus": one}})
    assert fact(group, ("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.cpus")) == one


def test_huge_pages_are_limited(residue):
    """On a hybrid machine this controller may be in the v2 tree, which then is joined too."""
    resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    group = cgroup.prepare(None, f"test-{os.getpid()}-huge", resources)
    needs(group, "hugetlb")
    group.make()
    try:
        group.apply(resources)
        files = ("hugetlb", "hugetlb.2MB.limit_in_bytes"), ("hugetlb", "hugetlb.2MB.max")
        assert fact(group, *files) == "0"
        child = Child(group)
        assert group.pids() == {child.pid}
        group.kill()
        child.wait()
    finally:
        group.delete()


def test_a_value_that_the_kernel_refuses_is_named(group):
    needs(group, "cpu")
    with pytest.raises(Error, match=r"cpu\.(cfs_quota_us|max) to 1"):
        group.apply({"cpu": {"quota": 1, "period": 100000}})


def test_a_controller_that_is_not_there_is_named(group):
    if group.directory("rdma"):
        pytest.skip("this machine has rdma")
    with pytest.raises(Error, match="'rdma'"):
        group.apply({"rdma": {"mlx5_1": {"hcaHandles": 1}}})


def test_a_file_that_is_not_there_is_named(group):
    needs(group, "pids")
    with pytest.raises(Error, match=r"there is no such file"):
        limits._set(group, "pids", "pids.of_mine", "1")


def test_what_is_frozen_stands_still(group):
    """RL16, and what is frozen can be killed."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)

    def tick() -> None:
        while True:
            os.write(writer, b".")
            time.sleep(0.001)

    child = Child(group, tick)
    time.sleep(0.05)
    group.freeze()
    assert os.read(reader, 65536)
    time.sleep(0.05)
    with pytest.raises(BlockingIOError):
        os.read(reader, 65536)
    group.thaw()
    time.sleep(0.05)
    assert os.read(reader, 65536)
    group.freeze()
    group.kill()
    assert child.wait() == -signal.SIGKILL
    os.close(reader)
    os.close(writer)


def test_a_zombie_does_not_hold_up_the_end(group):
    child = Child(group, lambda: os._exit(3))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    group.kill()
    group.delete()
    assert child.wait() == 3


def test_cgroups_below_go_too_and_so_do_their_processes(group):
    """RL17; v2 allows processes in the leaves only, so they are in two of them."""
    leaves = [Cgroup(group.path + below, group.trees) for below in ("/deep/deeper", "/other")]
    for leaf in leaves:
        leaf.make()
    children = [Child(leaf) for leaf in leaves]
    assert group.pids() == {child.pid for child in children}
    group.kill()
    for child in children:
        child.wait()
    group.delete()


def test_the_shared_parent_survives_its_last_child_and_others(residue):
    """Containers that come and go at once neither trip over nor leave the directory they share."""
    trees, parent, workers = hierarchy.hierarchies(), os.getpid(), []
    for worker in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for _ in range(50):
                    group = Cgroup(f"/test-{parent}{cgroup.PARENT}/{worker}", trees)
                    group.make()
                    group.delete()
                code = 0
            except OSError as error:
                code = error.errno or 1
            finally:
                os._exit(code)
        workers.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
    Cgroup(f"/test-{parent}", trees).delete()
    assert codes == [0, 0, 0, 0]
