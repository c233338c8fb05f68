"""Containers and their cgroups, through the runtime's command line: whichever it is."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from minirun.runtime import cgroup
from minirun.runtime.cgroup import files, freezer
from minirun.runtime.cgroup.stats import stats
from tests.runtime.bundles import CAPABILITIES
from tests.runtime.cgroups import fact, group_of, needs

MIB = 1 << 20
HOG = 'x=$(head -c 100000000 /dev/zero | tr "\\0" x)'


def limit_memory(bundle, mebibytes: int) -> None:
    limit = mebibytes * MIB
    bundle.linux["resources"]["memory"] = {"limit": limit, "swap": limit}


def started(bundle, *command: str):
    """A running container; its cgroup."""
    if bundle.runtime == "runc":  # by itself, it takes each tree's cgroup of who calls it
        bundle.linux["cgroupsPath"] = f"/{bundle.id}"
    bundle.create(*(command or ("sleep", "1000")))
    group = group_of(bundle.pid())
    bundle.oci("start", bundle.id, check=True)
    bundle.wait_for("running")
    return group


# --- RL08: out of memory ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (f"exec sh -c '{HOG}'", 137),  # the first process
        (f"sh -c '{HOG}'; exit $?", 137),  # its child, of which it tells
        ("head -c 60000000 /dev/zero > /dev/shm/file; exit $?", 137),  # a file in memory
    ],
    ids=["init", "child", "tmpfs"],
)
def test_memory_beyond_the_limit_ends_with_137(bundle, tidy, script, code):
    """RL08"""
    limit_memory(bundle, 24)
    done = bundle.run("sh", "-c", script)
    assert done.returncode == code, done
    if bundle.runtime == "minirun-oci" and "--systemd-cgroup" not in bundle.command:
        assert "out-of-memory" in done.stderr  # systemd may have removed who counted


def listens(pid: int) -> bool:
    """Does a process wait for word of memory that runs out?"""
    directory = f"/proc/{pid}/fd"
    opened = []
    for fd in os.listdir(directory):
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.append(os.readlink(f"{directory}/{fd}"))
    return any(name.endswith(("[eventfd]", "inotify", "/memory.events")) for name in opened)


def test_one_kill_is_one_event_also_after_exec(bundle):
    """RL08: the container goes on, its exec ends with 137, and events tells it once."""
    if bundle.runtime == "crun":
        pytest.skip("crun has no events")
    if bundle.runtime == "runc":
        pytest.skip("runc 1.1.5 tells of this one twice")
    limit_memory(bundle, 24)
    started(bundle)
    with (bundle.directory / "events").open("w+") as output:
        command = bundle.arguments("events", "--interval", "1h", bundle.id)
        told = subprocess.Popen(command, stdout=output)
        deadline = time.monotonic() + 10
        while not listens(told.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = bundle.oci("exec", bundle.id, "sh", "-c", f"sh -c '{HOG}'")
        assert done.returncode == 137
        assert bundle.state()["status"] == "running"
        time.sleep(0.3)
        bundle.oci("delete", "--force", bundle.id, check=True)
        told.wait(10)
        output.seek(0)
        events = [json.loads(line) for line in output]
    assert [event["type"] for event in events] == ["oom"]
    assert events[0]["id"] == bundle.id


# --- update ----------------------------------------------------------------------------------


def test_limits_change_while_it_runs(bundle):
    limit_memory(bundle, 64)
    group = started(bundle)
    needs(group, "pids")
    bundle.oci("update", "--memory", "33554432", "--memory-swap", "33554432", "--pids-limit", "17",
               "--cpu-quota", "25000", "--cpu-period", "50000", bundle.id, check=True)  # fmt: skip
    assert group.memory_limit() == 32 * MIB
    assert fact(group, ("pids", "pids.max"), ("pids", "pids.max")) == "17"
    assert fact(group, ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.max")).split()[0] == "25000"


def test_limits_change_by_a_document(bundle):
    """As Docker and Kubernetes do it: all of linux.resources on standard input."""
    limit_memory(bundle, 64)
    group = started(bundle)
    wanted = {
        "memory": {"limit": 128 * MIB, "swap": 128 * MIB},
        "cpu": {"shares": 2048, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0},
    }
    bundle.oci("update", "--resources", "-", bundle.id, check=True, input=json.dumps(wanted),
               stdin=None)  # fmt: skip
    assert group.memory_limit() == 128 * MIB
    weight = fact(group, ("cpu", "cpu.shares"), ("cpu", "cpu.weight"))
    assert weight in ("2048", "174", "79")  # v2: new runtimes, and older ones


def test_an_update_that_fails_changes_nothing(ours):
    limit_memory(ours, 64)
    group = started(ours)
    less = ("--memory", "32m", "--memory-swap", "32m")
    done = ours.oci("update", *less, "--cpu-quota", "1", ours.id)
    assert (done.returncode, "cpu" in done.stderr) == (125, True), done
    assert group.memory_limit() == 64 * MIB


def test_an_update_of_devices_holds(ours):
    """RT32: what was not allowed is not allowed after it either, but what is asked for is."""
    for kind in ("bounding", "effective", "permitted"):
        ours.process["capabilities"][kind] = [*CAPABILITIES, "CAP_SYSLOG"]  # to read /dev/kmsg
    started(ours)
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"}
    deny = {"allow": False, "access": "rwm"}
    os.mknod(ours.rootfs / "kmsg", 0o20666, os.makedev(1, 11))
    os.mknod(ours.rootfs / "mem", 0o20666, os.makedev(1, 1))
    opens = "dd if=/{} count=0 2>&1"

    def works(name: str) -> bool:
        return ours.oci("exec", ours.id, "sh", "-c", opens.format(name)).returncode == 0

    assert (works("kmsg"), works("mem")) == (False, False)
    for rules, kmsg_works in (([deny, kmsg], True), ([deny], False)):
        wanted = json.dumps({"devices": rules})
        ours.oci("update", "--resources", "-", ours.id, check=True, input=wanted, stdin=None)
        assert (works("kmsg"), works("mem")) == (kmsg_works, False)


# --- RL16: paused ----------------------------------------------------------------------------


def test_what_is_paused_can_be_killed(bundle, tidy):
    """RL16"""
    if bundle.runtime == "crun" and cgroup.hierarchies()[0].version == 1:
        pytest.skip("crun lets what is frozen on v1 stay so")
    started(bundle)
    bundle.oci("pause", bundle.id, check=True)
    assert bundle.state()["status"] == "paused"
    bundle.oci("kill", bundle.id, "KILL", check=True)
    bundle.wait_for("stopped")
    bundle.oci("delete", bundle.id, check=True)


def test_what_is_paused_can_be_removed(bundle, tidy):
    """RL16; and nobody enters it meanwhile."""
    started(bundle)
    bundle.oci("pause", bundle.id, check=True)
    assert bundle.oci("exec", bundle.id, "true").returncode != 0
    bundle.oci("delete", "--force", bundle.id, check=True)
    assert bundle.listed() == []


def test_what_goes_on_goes_on(bundle):
    """RL16"""
    started(bundle, "sh", "-c", "while :; do echo; sleep 0.01; done > /tmp/ticks")
    bundle.oci("pause", bundle.id, check=True)
    ticks = bundle.rootfs / "tmp/ticks"
    before = ticks.stat().st_size
    time.sleep(0.1)
    assert ticks.stat().st_size == before
    bundle.oci("resume", bundle.id, check=True)
    deadline = time.monotonic() + 5
    while ticks.stat().st_size == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ticks.stat().st_size > before
    assert bundle.state()["status"] == "running"


def test_a_pause_that_died_half_way_does_not_hold_the_end_up(ours, tidy):
    """RL16: the freezer is told, but nobody waited for it."""
    group = started(ours, "sh", "-c", "while :; do sh -c : ; done")
    directory = group.directory("freezer") or group.directories()[0]
    file, word = ("freezer.state", "FROZEN") if group.version("freezer") == 1 else (
        "cgroup.freeze", "1")  # fmt: skip
    with open(f"{directory}/{file}", "w") as stream:
        stream.write(word)
    ours.oci("delete", "--force", ours.id, check=True)


# --- RL17: cgroups in the container ------------------------------------------------------------


@pytest.mark.parametrize("end", ["delete", "kill"])
def test_cgroups_of_its_own_making_go_with_it(bundle, tidy, end):
    """RL17"""
    for mount in bundle.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev"]
    v1 = cgroup.hierarchies()[0].version == 1
    top = "/sys/fs/cgroup/pids" if v1 else "/sys/fs/cgroup"
    script = f"""cd {top}; mkdir -p a/b/c d; sleep 1000 & echo $! > a/b/c/cgroup.procs
                 echo $$ > d/cgroup.procs; echo > /tmp/ready; exec sleep 1000"""
    group = started(bundle, "sh", "-ec", script)
    deadline = time.monotonic() + 5
    while not (bundle.rootfs / "tmp/ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    directory = group.directory("pids")
    assert len(list(files.walk(directory))) == 5
    if end == "kill":
        bundle.oci("kill", bundle.id, "KILL", check=True)
        bundle.wait_for("stopped")
        bundle.oci("delete", bundle.id, check=True)
    else:
        bundle.oci("delete", "--force", bundle.id, check=True)
    assert not os.path.exists(directory)


# --- RT30, RT31, RT38 --------------------------------------------------------------------------


@pytest.mark.parametrize("own_namespace", [True, False])
def test_no_file_of_a_cgroup_can_be_written(bundle, tidy, own_namespace):
    """RT31: with a cgroup namespace and without."""
    if not own_namespace:
        bundle.linux["namespaces"] = [
            each for each in bundle.linux["namespaces"] if each["type"] != "cgroup"
        ]
    script = """cd /sys/fs/cgroup; for file in * */* */*/*; do
        if [ -f $file ] && (: >> $file) 2>/dev/null; then echo $file; fi
        if [ -d $file ] && mkdir $file/mine 2>/dev/null; then echo $file; fi; done
        ls | head -n 1"""
    seen = bundle.sh(script).split()
    assert len(seen) == 1, seen


@pytest.mark.parametrize("path", ["/a/../../b", "..", "a/./b", "/a\nb"])
def test_a_path_that_leads_elsewhere_is_refused(ours, tidy, path):
    """RT38"""
    ours.linux["cgroupsPath"] = path
    assert "cgroupsPath" in ours.refused()


def test_systemd_is_asked_only_where_it_runs(ours, tidy):
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd runs here")
    done = ours.run("true", globals=("--systemd-cgroup",))
    assert (done.returncode, "systemd does not run here" in done.stderr) == (125, True), done


# --- RL10 ----------------------------------------------------------------------------------------


def test_shares_divide_a_processor(ours):
    """RL10: two that want all of it, one with three times the shares of the other."""
    if not any("cpuset" in tree.controllers for tree in cgroup.hierarchies()):
        pytest.skip("this machine has no controller cpuset")
    groups = []
    ours.linux["resources"]["cpu"] = {"shares": 3072, "cpus": "0"}
    groups.append(started(ours, "sh", "-c", "while :; do :; done"))
    first, ours.id = ours.id, ours.id + "b"
    ours.linux["resources"]["cpu"] = {"shares": 1024, "cpus": "0"}
    groups.append(started(ours, "sh", "-c", "while :; do :; done"))
    before = [stats(group)["cpu"]["usage"]["total"] for group in groups]
    time.sleep(4)
    used = [
        stats(group)["cpu"]["usage"]["total"] - old
        for group, old in zip(groups, before, strict=True)
    ]
    for each in (first, ours.id):
        ours.oci("kill", each, str(int(signal.SIGKILL)), check=True)
    expected = 3 if groups[0].version("cpu") == 1 else 2.4  # v2: see v2.cpu_weight
    assert used[0] / used[1] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("version", "forks"), [("1.2.1", True), ("1.3.0", False)])
def test_a_pids_limit_of_zero_is_none_until_version_1_3(ours, version, forks):
    ours.config["ociVersion"] = version
    ours.linux["resources"]["pids"] = {"limit": 0}
    done = ours.run("sh", "-c", "(true) && echo forked")
    assert (done.stdout == "forked\n") == forks


def test_without_a_cgroup(bundle):
    """--cgroup-manager disabled: Podman asks for it with --cgroups=disabled."""
    if bundle.runtime == "runc":
        pytest.skip("runc has no such option")
    manager = ("--cgroup-manager", "disabled")
    if bundle.runtime == "minirun-oci":
        assert "linux.resources: no limits for devices" in bundle.refused(globals=manager)
    bundle.linux.pop("resources")
    bundle.process["args"] = ["sleep", "1000"]
    bundle.write()
    bundle.oci(*manager, "create", bundle.id, check=True)
    with open(f"/proc/{bundle.pid()}/cgroup") as theirs, open("/proc/self/cgroup") as own:
        assert theirs.read() == own.read()
    bundle.oci("start", bundle.id, check=True)
    assert bundle.oci("exec", bundle.id, "true").returncode == 0


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_frozen_cgroup_is_refused(bundle, below):
    """What enters it would stand still, and whoever waits for it too."""
    if bundle.runtime == "crun" or (bundle.runtime == "runc" and below):
        pytest.skip("crun waits for ever, and so does runc below a frozen one")
    frozen = cgroup.prepare(f"/{bundle.id}", bundle.id, {})
    frozen.make()
    try:
        freezer.freeze(frozen)
        bundle.linux["cgroupsPath"] = f"{frozen.path}{below}"
        assert "frozen" in bundle.refused()
    finally:
        frozen.thaw()
        frozen.delete()
