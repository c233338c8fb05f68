"""list, ps, pause, resume, update, events, spec: the commands beside a container's life."""

import json
import os
import random
import re
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from minirun.runtime.commands import update
from tests.runtime.bundles import Bundle

MIB = 1 << 20


@pytest.fixture
def running(bundle: Bundle) -> Bundle:
    """A container of two processes, limited to 64 MiB and 50 processes."""
    bundle.linux["resources"] |= {"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}}
    bundle.run("sh", "-c", "sleep 61 & exec sleep 62", options=("-d",))
    return bundle


def limit(bundle: Bundle, controller: str, v1: str, v2: str) -> str:
    """A limit of the container, as the kernel says it."""
    lines = Path(f"/proc/{bundle.pid()}/cgroup").read_text().splitlines()
    rows = [line.split(":", 2) for line in lines]
    for _, controllers, path in rows:
        if controller in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}/{v1}").read_text().strip()
    return Path(f"/sys/fs/cgroup{rows[-1][2]}/{v2}").read_text().strip()


def memory_limit(bundle: Bundle) -> int:
    return int(limit(bundle, "memory", "memory.limit_in_bytes", "memory.max"))


def pids_limit(bundle: Bundle) -> int:
    return int(limit(bundle, "pids", "pids.max", "pids.max"))


def listed(bundle: Bundle) -> list[dict]:
    return json.loads(bundle.oci("list", "--format", "json", check=True).stdout) or []


# list, state, ps


def test_list(bundle):
    before = time.time()
    bundle.config["annotations"] = {"a": "b"}
    bundle.create("sleep", "60")
    table = bundle.oci("list", check=True).stdout.splitlines()
    assert table[0].split()[0].lower() in ("id", "name")
    assert bundle.id in table[1]
    assert bundle.oci("list", "--quiet", check=True).stdout.split() == [bundle.id]
    (entry,) = listed(bundle)
    assert (entry["id"], entry["status"], entry["pid"]) == (bundle.id, "created", bundle.pid())
    assert entry["bundle"] == str(bundle.directory)
    created = datetime.fromisoformat(re.sub(r"\.\d+", "", entry["created"]))
    assert before - 2 < created.timestamp() < time.time() + 1
    if bundle.runtime != "crun":
        assert entry["rootfs"] == str(bundle.rootfs)
        assert (entry["owner"], entry["annotations"]["a"]) == ("root", "b")


def test_state_says_what_list_says(ours):
    ours.create("sleep", "60")
    (entry,) = listed(ours)
    assert ours.state() == entry
    os.kill(ours.pid(), signal.SIGKILL)
    ours.wait_for("stopped")
    assert ours.state()["pid"] == 0  # as runc prints it


def test_list_of_nothing(ours):
    assert ours.oci("list").returncode == 125  # no such --root
    ours.state_root.mkdir()
    assert listed(ours) == []
    assert ours.oci("list", "--format", "xml").returncode == 125


def test_a_container_whose_create_was_killed_is_listed(ours):
    """CR12: nothing but its directory was there yet."""
    (ours.state_root / "half").mkdir(parents=True)
    (entry,) = listed(ours)
    assert (entry["id"], entry["status"], entry["bundle"]) == ("half", "stopped", "")
    ours.oci("delete", "half", check=True)
    assert listed(ours) == []


def test_ps(running):
    pids = json.loads(running.oci("ps", "--format", "json", running.id, check=True).stdout)
    assert running.pid() in pids
    assert len(pids) == 2
    if subprocess.run(["ps", "-ef"], capture_output=True, check=False).returncode:
        pytest.skip("no ps(1) that works on this kernel")
    text = running.oci("ps", running.id, check=True).stdout
    assert all(str(pid) in text for pid in pids)
    if running.runtime != "crun":  # which prints the numbers only
        text = running.oci("ps", running.id, "-o", "pid,args", check=True).stdout
        assert [line.split()[1] for line in text.splitlines()[1:]] == ["sleep", "sleep"]
        assert running.oci("ps", running.id, "-o", "args").returncode != 0


# pause, resume


def test_pause_and_resume(bundle):
    bundle.run("sh", "-c", "while :; do echo x >> /tmp/x; sleep 0.01; done", options=("-d",))
    bundle.oci("pause", bundle.id, check=True)
    assert bundle.state()["status"] == "paused"
    size = (bundle.rootfs / "tmp/x").stat().st_size
    time.sleep(0.1)
    assert (bundle.rootfs / "tmp/x").stat().st_size == size
    bundle.oci("resume", bundle.id, check=True)
    assert bundle.state()["status"] == "running"
    time.sleep(0.1)
    assert (bundle.rootfs / "tmp/x").stat().st_size > size


def test_what_a_paused_container_allows(bundle):
    """RT49, RL16: no start, no second pause, no exec, no plain delete."""
    bundle.run("sleep", "60", options=("-d",))
    assert bundle.oci("resume", bundle.id).returncode != 0 or bundle.runtime == "crun"
    bundle.oci("pause", bundle.id, check=True)
    assert bundle.oci("exec", bundle.id, "true").returncode != 0
    assert bundle.oci("start", bundle.id).returncode != 0
    assert bundle.oci("delete", bundle.id).returncode != 0
    assert bundle.state()["status"] == "paused"


@pytest.mark.parametrize("words", [("kill", "KILL"), ("kill", "--all", "KILL"), ("delete", "-f")])
def test_a_paused_container_is_ended(bundle, words):
    """RL16: what is frozen does not die on cgroup v1, so it is thawed."""
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8.1 leaves it frozen")
    bundle.run("sh", "-c", "sleep 61 & exec sleep 62", options=("-d",))
    bundle.oci("pause", bundle.id, check=True)
    verb, *rest = words
    arguments = [word for word in rest if word.startswith("-")] + [bundle.id]
    bundle.oci(verb, *arguments, *(word for word in rest if word.isalpha()), check=True)
    if verb == "kill":
        bundle.wait_for("stopped")
        bundle.oci("delete", bundle.id, check=True)
    assert bundle.listed() == []


def test_a_pause_that_was_killed_can_be_undone(ours):
    """RL16: at whatever moment; the state says what is to be done."""
    ours.run("sh", "-c", "while :; do echo x >> /tmp/x; sleep 0.01; done", options=("-d",))
    for delay in [random.random() * 0.06 for _ in range(15)]:
        pause = subprocess.Popen(ours.arguments("pause", ours.id), stdin=subprocess.DEVNULL)
        time.sleep(delay)
        pause.kill()
        pause.wait()
        if ours.state()["status"] == "paused":
            ours.oci("resume", ours.id, check=True)
        assert ours.state()["status"] == "running"
        size = (ours.rootfs / "tmp/x").stat().st_size
        deadline = time.monotonic() + 5
        while (ours.rootfs / "tmp/x").stat().st_size == size:
            assert time.monotonic() < deadline


def test_signals_wait_for_resume(bundle):
    bundle.run("sh", "-c", "trap 'exit 3' TERM; sleep 60 & wait", options=("-d",))
    time.sleep(0.1)
    bundle.oci("pause", bundle.id, check=True)
    bundle.oci("kill", bundle.id, "TERM", check=True)
    assert bundle.state()["status"] == "paused"
    bundle.oci("resume", bundle.id, check=True)
    bundle.wait_for("stopped")


def test_a_created_container_can_be_paused(ours):
    ours.create("sleep", "60")
    ours.oci("pause", ours.id, check=True)
    assert ours.state()["status"] == "paused"
    assert ours.oci("start", ours.id).returncode == 125
    ours.oci("resume", ours.id, check=True)
    assert ours.state()["status"] == "created"
    ours.oci("start", ours.id, check=True)


# update


def test_update_of_one_limit_leaves_the_others(running):
    running.oci("update", "--pids-limit", "33", running.id, check=True)
    assert (memory_limit(running), pids_limit(running)) == (64 * MIB, 33)
    running.oci("update", "--memory", str(32 * MIB), running.id, check=True)
    assert (memory_limit(running), pids_limit(running)) == (32 * MIB, 33)
    if running.runtime == "minirun-oci":
        now = json.loads((running.state_root / running.id / "resources.json").read_text())
        assert (now["memory"], now["pids"]) == ({"limit": 32 * MIB}, {"limit": 33})
        assert now["devices"] == running.linux["resources"]["devices"]


@pytest.mark.parametrize(
    ("text", "value"), [("32m", 32 * MIB), ("32MiB", 32 * MIB), ("1g", 1 << 30), ("-1", -1)]
)
def test_sizes_of_memory(text, value):
    assert update.number("memory", text) == value


@pytest.mark.parametrize("source", ["-", "file"])
def test_update_from_a_document(running, source):
    """As Docker calls it: 0 says nothing."""
    document = {"memory": {"limit": 128 * MIB, "reservation": 0}, "cpu": {"shares": 0, "quota": 0},
                "blockIO": {"weight": 0}, "pids": {"limit": 44}}  # fmt: skip
    (running.directory / "file").write_text(json.dumps(document))
    with (running.directory / "file").open() as stdin:
        running.oci("update", "--resources", source, running.id, check=True, stdin=stdin)
    assert (memory_limit(running), pids_limit(running)) == (128 * MIB, 44)


def test_update_of_a_quota_keeps_the_period(ours):
    ours.linux["resources"] |= {"cpu": {"quota": 20000, "period": 50000}}
    ours.run("sleep", "60", options=("-d",))
    ours.oci("update", "--cpu-quota", "30000", ours.id, check=True)
    quota = limit(ours, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0]
    period = limit(ours, "cpu", "cpu.cfs_period_us", "cpu.max").split()[-1]
    assert (quota, period) == ("30000", "50000")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--memory", "much"), ("--memory", "1x"), ("--pids-limit", "2k"), ("--pids-limit", "²"),
     ("--l3-cache-schema", "L3:0=f"), ("--cpuset-cpus", "a-b"), ("--cpu-share", "-5")],
)  # fmt: skip
def test_updates_that_make_no_sense(ours, option, value):
    ours.run("sleep", "60", options=("-d",))
    done = ours.oci("update", option, value, ours.id)
    assert (done.returncode, done.stderr[:7]) == (125, "error: ")


def test_a_limit_below_what_is_used_is_refused_if_that_was_asked_for(ours):
    """checkBeforeUpdate: cgroup v2 would take it, and kill."""
    ours.linux["resources"] |= {"memory": {"limit": 64 * MIB}}
    ours.run("sleep", "60", options=("-d",))
    resources = {"memory": {"limit": 4096, "checkBeforeUpdate": True}}
    (ours.directory / "file").write_text(json.dumps(resources))
    assert ours.oci("update", "--resources", "file", ours.id).returncode == 125
    assert memory_limit(ours) == 64 * MIB
    assert ours.state()["status"] == "running"


def test_update_of_what_has_stopped(bundle):
    bundle.run("true", options=("-d",))
    bundle.wait_for("stopped")
    done = bundle.oci("update", "--pids-limit", "33", bundle.id)
    assert done.returncode != 0 or bundle.runtime == "crun"  # which says nothing


# events


def test_stats(running):
    if running.runtime == "crun":
        pytest.skip("crun has no events")
    done = running.oci("events", "--stats", running.id, check=True)
    event = json.loads(done.stdout)
    assert (event["type"], event["id"]) == ("stats", running.id)
    data = event["data"]
    assert data["pids"] == {"current": 2, "limit": 50}
    assert data["memory"]["usage"]["limit"] == 64 * MIB
    assert 0 < data["memory"]["usage"]["usage"] < 64 * MIB
    assert 0 < data["cpu"]["usage"]["total"] < 60 * 10**9


def test_events_until_the_end(bundle):
    """A line at each interval, one when memory has run out, and the end with the container's."""
    if bundle.runtime == "crun":
        pytest.skip("crun has no events")
    bundle.linux["resources"] |= {"memory": {"limit": 8 * MIB}}
    script = "read x < /tmp/go; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
    os.mkfifo(bundle.rootfs / "tmp/go")
    bundle.run("sh", "-c", script, options=("-d",))
    events = subprocess.Popen(
        bundle.arguments("events", "--interval", "100ms", bundle.id),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert json.loads(events.stdout.readline())["type"] == "stats"
    (bundle.rootfs / "tmp/go").write_text("go\n")
    bundle.wait_for("stopped")
    bundle.oci("delete", bundle.id, check=True)  # for runc, which waits for the cgroup's end
    rest, _ = events.communicate(timeout=20)
    assert "oom" in [json.loads(line)["type"] for line in rest.splitlines()]
    assert events.returncode == 0


@pytest.mark.parametrize("interval", ["0s", "-1s", "5", "s", "1d", ""])
def test_intervals_that_are_none(ours, interval):
    assert ours.oci("events", f"--interval={interval}", "x").returncode == 125


# spec


def test_spec_is_a_container_that_runs(bundle):
    runs = {"args": ["echo", "hello"], "terminal": False}
    bundle.oci("spec", check=True)
    bundle.config = json.loads((bundle.directory / "config.json").read_text())
    bundle.process.update(runs)
    assert bundle.run().stdout == "hello\n"
    assert bundle.process["noNewPrivileges"]
    assert bundle.config["root"]["readonly"]
    if bundle.runtime == "minirun-oci":
        assert bundle.linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"


def test_spec_overwrites_nothing(bundle):
    (bundle.directory / "config.json").write_text("mine")
    assert bundle.oci("spec", "--bundle", bundle.directory).returncode != 0
    assert (bundle.directory / "config.json").read_text() == "mine"


def test_spec_for_a_user(bundle):
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8.1 keeps the network namespace, and maps nobody")
    bundle.oci("spec", "--rootless", check=True)
    config = json.loads((bundle.directory / "config.json").read_text())
    kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
    assert "user" in kinds
    assert "network" not in kinds
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 1}]
    assert not config["linux"].get("resources")
    assert "gid=5" not in str(config["mounts"])
