"""A cgroup with processes in it: limits that change, pauses, ends, counts. v1, v2 or both."""

import errno
import os
import select
import signal
import threading
import time

import pytest

from minirun import linux
from minirun.errors import Error, SpecError
from minirun.runtime import cgroup
from minirun.runtime.cgroup import Cgroup, devices, files
from minirun.runtime.cgroup.stats import OutOfMemory, stats
from tests.runtime.cgroups import Child, fact, needs

MIB = 1 << 20
DENY_ALL = {"allow": False, "access": "rwm"}
KMSG = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}

# --- update ---------------------------------------------------------------------------------


def test_what_is_not_named_stays(group):
    needs(group, "memory")
    now = {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "pids": {"limit": 9}}
    group.apply(now)
    then = group.update(now, {"memory": {"reservation": 16 * MIB}, "cpu": {}, "blockIO": None})
    assert then["pids"] == {"limit": 9}
    assert then["memory"] == {"limit": 64 * MIB, "swap": 64 * MIB, "reservation": 16 * MIB}
    assert group.memory_limit() == 64 * MIB
    assert fact(group, ("pids", "pids.max"), ("pids", "pids.max")) == "9"


@pytest.mark.parametrize(
    ("wanted", "memory", "both"),
    [
        ({"limit": 48 * MIB}, 48, 96),
        ({"swap": 80 * MIB}, 64, 80),
        ({"limit": 128 * MIB, "swap": 256 * MIB}, 128, 256),
        ({"limit": 16 * MIB, "swap": 16 * MIB}, 16, 16),
        ({"limit": 0, "swap": 0}, 64, 96),  # says nothing
    ],
)
def test_swap_counts_memory_too_whichever_of_the_two_is_given(group, wanted, memory, both):
    """v1 limits both together, v2 swap alone: so the limit that was not given must be known."""
    needs(group, "memory")
    now = {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}
    group.apply(now)
    group.update(now, {"memory": wanted})
    assert group.memory_limit() == memory * MIB
    directory = group.directory("memory")
    if group.version("memory") == 1:
        assert int(files.read(f"{directory}/memory.memsw.limit_in_bytes")) == both * MIB
    elif os.path.exists(f"{directory}/memory.swap.max"):
        assert int(files.read(f"{directory}/memory.swap.max")) == (both - memory) * MIB


def test_a_limit_above_the_one_of_both_is_refused(group):
    needs(group, "memory")
    now = {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}
    group.apply(now)
    with pytest.raises(Error, match=r"memory\.(limit|swap)"):
        group.update(now, {"memory": {"limit": 128 * MIB}})
    assert group.memory_limit() == 64 * MIB
    assert group.update(now, {"memory": {"limit": -1}})
    assert group.memory_limit() is None


@pytest.mark.parametrize(
    ("wanted", "quota", "period"),
    [
        ({"quota": 30000}, 30000, 50000),
        ({"period": 80000}, 20000, 80000),
        ({"quota": -1}, -1, 50000),
    ],
)
def test_quota_and_period_are_kept_for_each_other(group, wanted, quota, period):
    needs(group, "cpu")
    now = {"cpu": {"quota": 20000, "period": 50000}}
    group.apply(now)
    group.update(now, {"cpu": wanted})
    if group.version("cpu") == 1:
        read = fact(group, ("cpu", "cpu.cfs_quota_us"), ("", ""))
        assert (read, fact(group, ("cpu", "cpu.cfs_period_us"), ("", ""))) == (
            str(quota), str(period))  # fmt: skip
    else:
        text = fact(group, ("", ""), ("cpu", "cpu.max"))
        assert text == f"{quota if quota > 0 else 'max'} {period}"


def test_burst_and_quota_can_go_down_and_up_together(group):
    """A burst must not be above the quota, at any moment."""
    needs(group, "cpu")
    now = {"cpu": {"quota": 50000, "period": 100000, "burst": 40000}}
    group.apply(now)
    now = group.update(now, {"cpu": {"quota": 20000, "burst": 10000}})
    now = group.update(now, {"cpu": {"quota": 90000, "burst": 80000}})
    assert fact(group, ("cpu", "cpu.cfs_burst_us"), ("cpu", "cpu.max.burst")) == "80000"


def test_idle_can_be_switched_on_and_off(group):
    needs(group, "cpu")
    now = {"cpu": {"shares": 512}}
    group.apply(now)
    if not os.path.exists(f"{group.directory('cpu')}/cpu.idle"):
        pytest.skip("this kernel has no cpu.idle")
    now = group.update(now, {"cpu": {"idle": 1, "shares": 300}})
    assert fact(group, ("cpu", "cpu.idle"), ("cpu", "cpu.idle")) == "1"
    now = group.update(now, {"cpu": {"idle": 0, "shares": 2048}})
    assert fact(group, ("cpu", "cpu.shares"), ("cpu", "cpu.weight")) in ("2048", "174")
    assert now["cpu"]["idle"] == 0


def test_when_one_limit_fails_the_others_are_as_before(group):
    needs(group, "memory")
    needs(group, "cpu")
    now = {"memory": {"limit": 32 * MIB, "swap": 32 * MIB}, "pids": {"limit": 50}}
    group.apply(now)
    wanted = {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "pids": {"limit": 60},
              "cpu": {"quota": 1, "period": 100000}}  # fmt: skip
    with pytest.raises(Error, match="cpu"):
        group.update(now, wanted)
    assert group.memory_limit() == 32 * MIB
    assert fact(group, ("pids", "pids.max"), ("pids", "pids.max")) == "50"


def test_a_limit_below_what_is_used_is_refused_if_so_asked(group):
    needs(group, "memory")
    now = {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}
    group.apply(now)
    ready, told = os.pipe()

    def fill() -> None:
        data = bytearray(b"x") * (24 * MIB)
        os.write(told, b"x")
        signal.pause()
        del data

    child = Child(group, fill)
    assert os.read(ready, 1) == b"x"
    few = {"limit": 4 * MIB, "swap": 4 * MIB, "checkBeforeUpdate": True}
    with pytest.raises(Error, match="memory"):
        group.update(now, {"memory": few})
    assert group.memory_limit() == 64 * MIB
    assert group.pids() == {child.pid}
    os.close(ready)
    os.close(told)


def test_device_rules_are_replaced_and_not_added(group):
    """RT32: what an update allows is allowed, what it no longer names is not."""

    def opens(path: str) -> bool:
        child = Child(group, lambda: os._exit(trial(path)))
        return child.wait() == 0

    def trial(path: str) -> int:
        try:
            os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except PermissionError:
            return 1
        return 0

    now = {"devices": [DENY_ALL]}
    group.apply(now)
    assert (opens("/dev/null"), opens("/dev/kmsg")) == (True, False)
    now = group.update(now, {"devices": [DENY_ALL, KMSG]})
    assert (opens("/dev/null"), opens("/dev/kmsg")) == (True, True)
    now = group.update(now, {"devices": [DENY_ALL]})
    assert (opens("/dev/null"), opens("/dev/kmsg")) == (True, False)


def test_a_process_has_its_devices_while_the_rules_change(group):
    now = {"devices": [DENY_ALL]}
    group.apply(now)

    def open_and_open() -> None:
        while True:
            try:
                os.close(os.open("/dev/null", os.O_RDONLY))
            except PermissionError:
                os._exit(1)

    child = Child(group, open_and_open)
    for turn in range(200):
        now = group.update(now, {"devices": [DENY_ALL, KMSG][: 1 + turn % 2]})
    assert os.waitpid(child.pid, os.WNOHANG) == (0, 0)


def test_the_program_of_v2_is_replaced(residue):
    trees = [tree for tree in cgroup.hierarchies() if tree.version == 2]
    if not trees:
        pytest.skip("no cgroup v2 tree is mounted")
    group = Cgroup(f"/test-{os.getpid()}-replaced", trees)
    group.make()
    directory = group.directories()[0]
    fd = os.open(directory, os.O_RDONLY)
    try:
        ids = []
        for rules in ([DENY_ALL], [DENY_ALL, KMSG], [DENY_ALL]):
            devices.attach(directory, devices.v2_program(rules))
            ids.append(devices._attached(fd))
        assert [len(attached) for attached in ids] == [1, 1, 1]
        assert len({attached[0] for attached in ids}) == 3
    finally:
        os.close(fd)
        group.delete()


# --- pause, and the end ----------------------------------------------------------------------


def fork_and_fork() -> None:
    while True:
        if os.fork() == 0:
            os._exit(0)
        os.wait()


def test_what_forks_can_be_paused_and_goes_on(group):
    """RL16"""
    children = [Child(group, fork_and_fork) for _ in range(4)]
    for _ in range(20):
        group.freeze()
        assert group.is_frozen()
        group.thaw()
        assert not group.is_frozen()
    group.freeze()
    group.kill()
    assert [child.wait() for child in children] == [-signal.SIGKILL] * 4


def test_what_the_container_froze_itself_is_killed_too(group):
    """RL16, RL17"""
    below = Cgroup(group.path + "/below", group.trees)
    below.make()
    child = Child(below)
    below.freeze()
    group.kill()
    assert child.wait() == -signal.SIGKILL


def test_a_cgroup_that_is_gone_is_not_frozen(group):
    group.delete()
    assert not group.is_frozen()
    group.thaw()
    group.kill()


def test_threads_have_cgroups_of_their_own_and_all_go(group):
    """RL17: v2's threaded cgroups do not list their processes; v1's tasks may be anywhere."""
    ready, told = os.pipe()

    def spread() -> None:
        def thread() -> None:
            file = "tasks" if group.trees[0].version == 1 else "cgroup.threads"
            linux.write_file(f"{below}/{file}", str(threading.get_native_id()))
            os.write(told, b"x")
            signal.pause()

        threading.Thread(target=thread).start()
        signal.pause()

    below = f"{group.directories()[0]}/threads"
    start, go = os.pipe()
    child = Child(group, lambda: (os.read(start, 1), spread()))
    os.mkdir(below)
    if group.trees[0].version == 2:
        linux.write_file(f"{below}/cgroup.type", "threaded")
    else:
        for file in ("cpuset.cpus", "cpuset.mems"):
            if os.path.exists(f"{below}/{file}"):
                linux.write_file(f"{below}/{file}", files.read(f"{below}/../{file}"))
    os.write(go, b"x")
    assert os.read(ready, 1) == b"x"
    assert group.pids() == {child.pid}
    group.kill()
    child.wait()
    group.delete()
    assert not os.path.exists(below)
    for fd in (ready, told, start, go):
        os.close(fd)


# --- counts -----------------------------------------------------------------------------------


def test_stats_tell_what_was_used(group):
    needs(group, "memory")
    group.apply({"memory": {"limit": 64 * MIB}, "pids": {"limit": 12}})

    def work() -> None:
        data = bytearray(b"x") * (8 * MIB)
        while time.process_time() < 0.2:
            pass
        os.write(told, b"x")
        signal.pause()
        del data

    ready, told = os.pipe()
    Child(group, work)
    os.read(ready, 1)
    used = stats(group)
    assert used["pids"] == {"current": 1, "limit": 12}
    assert used["memory"]["usage"]["limit"] == 64 * MIB
    assert 8 * MIB < used["memory"]["usage"]["usage"] <= 64 * MIB
    assert used["memory"]["usage"]["max"] >= 8 * MIB or group.version("memory") == 2
    assert used["memory"]["raw"]
    assert 100_000_000 < used["cpu"]["usage"]["total"] < 10_000_000_000
    assert used["cpu"]["usage"]["user"] > 0
    if group.directory("cpuset"):
        assert 0 in used["cpuset"]["mems"]
    os.close(ready)
    os.close(told)


def test_running_out_of_memory_is_told_once(group):
    """RL08: one event for one kill, and an end when the cgroup is gone."""
    needs(group, "memory")
    group.apply({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    events = OutOfMemory(group)
    poll = select.poll()
    poll.register(events.fd, events.mask)
    assert poll.poll(50) == []
    assert Child(group, lambda: bytearray(64 * MIB)).wait() == -signal.SIGKILL
    told = 0
    while poll.poll(200):
        told += events.happened()
    assert told == 1
    group.delete()
    poll.poll(500)
    assert not events.happened()


def test_limits_of_v2_beside_v1_are_honoured(residue):
    """linux.resources.unified: on a hybrid machine, of the controllers that v2 has there."""
    trees = cgroup.hierarchies()
    if {tree.version for tree in trees} != {1, 2}:
        pytest.skip("not a machine with both versions")
    v2 = next(tree for tree in trees if tree.version == 2)
    if "hugetlb" not in v2.controllers:
        pytest.skip("hugetlb is not in the v2 tree")
    resources = {"unified": {"hugetlb.2MB.max": "4194304"}}
    group = cgroup.prepare(None, f"test-{os.getpid()}-unified", resources)
    group.make()
    try:
        group.apply(resources)
        with open(f"{group.directory('hugetlb')}/hugetlb.2MB.max") as file:
            assert file.read() == "4194304\n"
        with pytest.raises(SpecError, match=r"memory\.high"):
            group.apply({"unified": {"memory.high": "1000"}})
    finally:
        group.delete()


def test_zero_processes_is_a_limit(group):
    """RL09: the spec's 0 is the kernel's 0: those that are there stay, none can be added."""
    needs(group, "pids")
    group.apply({"pids": {"limit": 0}})

    def fork() -> None:
        try:
            os.fork()
        except OSError as error:
            os._exit(0 if error.errno == errno.EAGAIN else 1)
        os._exit(2)

    assert Child(group, fork).wait() == 0
    group.apply({"pids": {"limit": -1}})
    assert Child(group, fork).wait() == 2
    while group.pids():
        time.sleep(0.01)
