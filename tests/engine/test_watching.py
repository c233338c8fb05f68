"""What one sees of containers that run, and can change: top, stats, pause, update, events, health.

RL08
"""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.waiting import wait_for

SPIN = "while :; do :; done"


@pytest.fixture
def start(minirun):
    """Containers in the background, by name."""
    names = []

    def start(name, *words):
        names.append(name)
        return minirun.ok("run", "-d", "--name", name, *words).strip()

    yield start
    minirun("rm", "-f", *names)


def inspect(minirun, name, what):
    return json.loads(minirun.ok("inspect", "-f", "{{json " + what + "}}", name))


def test_top_shows_the_processes_with_their_numbers_out_here(minirun, start):
    start("web", "tiny", "sh", "-c", "sleep 1000 & exec sleep 2000")
    title, *lines = minirun.ok("top", "web").splitlines()
    assert title.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert {line.split(None, 7)[7] for line in lines} == {"sleep 1000", "sleep 2000"}
    assert str(inspect(minirun, "web", ".State.Pid")) in [line.split()[1] for line in lines]
    assert minirun.ok("top", "web", "-o", "pid,comm").split()[:2] == ["PID", "COMMAND"]
    done = minirun("top", "web", "-o", "comm")
    assert (done.returncode, "PID" in done.stderr) == (125, True)
    assert minirun("top", "nope").returncode == 125


def test_stats_once(minirun, start):
    ident = start("web", "-m", "64m", "tiny", "sh", "-c", SPIN)
    title, line = minirun.ok("stats", "--no-stream").splitlines()
    assert title.split("  ")[0] == "CONTAINER ID"
    for word in ("NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"):
        assert f"   {word}" in title
    cells = line.split()
    assert cells[0] == ident[:12] and cells[1] == "web"
    assert 1 < float(cells[2].removesuffix("%")) < 150
    assert cells[5] == "64MiB"
    row = json.loads(minirun.ok("stats", "--no-stream", "--format", "json", "web"))
    assert row["Container"] == "web" and row["ID"] == ident and int(row["PIDs"]) == 1
    assert set(row) == {"BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name",
                        "NetIO", "PIDs"}


def test_stats_of_what_does_not_run(minirun, start):
    start("web", "tiny", "true")
    minirun.ok("wait", "web")
    assert minirun.ok("stats", "--no-stream", "--format", "{{.Name}}") == ""
    form = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}"
    assert minirun.ok("stats", "-a", "--no-stream", "--format", form) == "web 0.00% 0B / 0B 0\n"
    assert minirun("stats", "--no-stream", "nope").returncode == 125


def test_stats_goes_on_until_nobody_wants_it(minirun, start):
    start("web", "tiny", "sleep", "1000")
    stats = minirun.start("stats", "--format", "{{.Name}}")
    assert [stats.stdout.readline() for _ in range(2)] == ["web\n", "web\n"]
    stats.send_signal(signal.SIGINT)
    stats.communicate(timeout=20)
    assert stats.returncode == 130


def test_paused_nothing_runs_and_unpaused_it_goes_on(minirun, start):
    start("web", "tiny", "sh", "-c", "while :; do echo tick; sleep 0.02; done")
    assert minirun.ok("pause", "web") == "web\n"
    assert minirun.ok("ps", "--format", "{{.Status}}").endswith("(Paused)\n")
    assert inspect(minirun, "web", ".State.Paused") is True
    before = minirun.ok("logs", "web")
    time.sleep(0.3)
    assert minirun.ok("logs", "web") == before
    done = minirun("pause", "web")
    assert (done.returncode, done.stderr) == (125, "error: container web is already paused\n")
    assert minirun.ok("unpause", "web") == "web\n"
    wait_for(lambda: len(minirun.ok("logs", "web")) > len(before))
    assert minirun("unpause", "web").returncode == 125
    assert inspect(minirun, "web", ".State.Status") == "running"


def test_a_paused_container_can_be_removed(minirun, start, residue):
    start("web", "tiny", "sleep", "1000")
    minirun.ok("pause", "web")
    minirun.ok("rm", "-f", "web")
    assert minirun.ok("ps", "-aq") == ""


@pytest.mark.parametrize("delay", [0.02, 0.04, 0.06, 0.08, 0.1, 0.15])
def test_a_pause_that_is_killed_leaves_what_can_be_ended(minirun, start, delay):
    start("web", "tiny", "sleep", "1000")
    pause = minirun.start("pause", "web")
    time.sleep(delay)
    pause.kill()
    pause.communicate()
    minirun("unpause", "web")
    minirun.ok("exec", "web", "true")
    minirun.ok("stop", "-t", "0", "web")
    minirun.ok("rm", "web")
    assert minirun.ok("ps", "-aq") == ""


def limit(minirun, name, v1, v2):
    pid = inspect(minirun, name, ".State.Pid")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if v1.partition("/")[0] in controllers.split(","):
            return Path(f"/sys/fs/cgroup/{v1.partition('/')[0]}{path}/{v1.partition('/')[2]}"
                        ).read_text().strip()
    return Path(f"/sys/fs/cgroup{path}/{v2}").read_text().strip()


def test_update_changes_what_the_kernel_enforces_and_what_the_next_start_gets(minirun, start):
    start("web", "-m", "64m", "--pids-limit", "100", "tiny", "sleep", "1000")
    assert minirun.ok("update", "-m", "32m", "web", "--pids-limit", "50") == "web\n"

    def holds():
        assert limit(minirun, "web", "memory/memory.limit_in_bytes", "memory.max") == str(32 << 20)
        assert limit(minirun, "web", "pids/pids.max", "pids.max") == "50"

    holds()
    assert inspect(minirun, "web", ".HostConfig.Memory") == 32 << 20
    minirun.ok("restart", "-t", "0", "web")
    holds()
    minirun.ok("update", "--cpus", "0.5", "web")
    holds()


def test_update_refuses_what_does_not_go_together(minirun, start):
    start("web", "-m", "64m", "tiny", "sleep", "1000")
    assert minirun("update", "web").returncode == 125
    assert minirun("update", "--restart", "sometimes", "web").returncode == 125
    assert minirun("update", "-m", "1k", "web").returncode == 125
    assert minirun("update", "--memory-swap", "32m", "web").returncode == 125
    assert limit(minirun, "web", "memory/memory.limit_in_bytes", "memory.max") == str(64 << 20)


def test_another_restart_policy(minirun, start):
    start("web", "tiny", "sleep", "1000")
    minirun.ok("update", "--restart", "always", "web")
    pid = inspect(minirun, "web", ".State.Pid")
    os.kill(pid, 9)
    wait_for(lambda: inspect(minirun, "web", ".State.Pid") not in (0, pid))
    minirun.ok("update", "--restart", "no", "web")
    minirun.ok("stop", "-t", "0", "web")
    assert inspect(minirun, "web", ".State.Status") == "exited"


def test_events_of_one_life(minirun):
    minirun.ok("run", "--rm", "--name", "web", "--label", "team=os", "tiny", "true")
    out = minirun.ok("events", "--since", "1h", "--until", "0s", "--filter", "label=team=os",
                     "--format", "{{.Action}} {{.Actor.Attributes.name}}")
    assert out.splitlines() == [f"{word} web" for word in ("create", "start", "die", "destroy")]
    (line,) = minirun.ok("events", "--since", "1h", "--until", "0s", "-f", "event=die").splitlines()
    assert " container die " in line and "(exitCode=0, image=tiny, name=web, " in line
    event = json.loads(minirun.ok("events", "--since", "1h", "--until", "0s", "-f", "event=create",
                                  "--format", "json"))
    assert event["Type"] == "container" and event["from"] == "tiny"


def test_events_of_images_networks_and_volumes(minirun):
    minirun.ok("tag", "tiny", "other")
    minirun.ok("rmi", "other")
    for kind in ("volume", "network"):
        minirun.ok(kind, "create", "mine")
        minirun.ok(kind, "rm", "mine")
    form = "{{.Type}} {{.Action}}"
    out = minirun.ok("events", "--since", "1h", "--until", "0s", "--format", form)
    assert out.splitlines() == ["image tag", "image untag", "volume create", "volume destroy",
                                "network create", "network destroy"]


def test_events_as_they_happen(minirun):
    events = minirun.start("events", "--format", "{{.Action}}", "--filter", "container=web")
    time.sleep(1)
    minirun.ok("run", "--rm", "--name", "web", "tiny", "true")
    minirun.ok("run", "--rm", "--name", "other", "tiny", "true")
    heard = [events.stdout.readline() for _ in range(4)]
    events.send_signal(signal.SIGINT)
    assert events.communicate(timeout=20)[0] == ""
    assert heard == ["create\n", "start\n", "die\n", "destroy\n"]


@pytest.mark.parametrize("line", ["exec tail /dev/zero", "tail /dev/zero; exit $?"])
def test_rl08_out_of_memory(minirun, start, line):
    """The first process, or one that it has started."""
    start("web", "-m", "16m", "tiny", "sh", "-c", line)
    assert minirun.ok("wait", "web") == "137\n"
    assert inspect(minirun, "web", ".State.OOMKilled") is True
    out = minirun.ok("events", "--since", "1h", "--until", "0s", "-f", "event=oom")
    assert len(out.splitlines()) == 1


def test_rl08_an_exec_that_runs_out_of_memory_says_so(minirun, start):
    start("web", "-m", "16m", "tiny", "sleep", "1000")
    done = minirun("exec", "web", "tail", "/dev/zero")
    assert done.returncode == 137
    assert "killed by the out-of-memory killer" in done.stderr
    assert inspect(minirun, "web", ".State.Running") is True


def test_rl08_killed_by_hand_is_not_out_of_memory(minirun, start):
    start("web", "-m", "16m", "tiny", "sleep", "1000")
    minirun.ok("kill", "web")
    assert minirun.ok("wait", "web") == "137\n"
    assert inspect(minirun, "web", ".State.OOMKilled") is False


def status(minirun) -> str:
    return inspect(minirun, "web", ".State.Health.Status")


def test_health_from_starting_to_healthy_to_unhealthy_and_back(minirun, start):
    start("web", "--health-cmd", "echo looked; test ! -e /ill", "--health-interval", "200ms",
          "--health-retries", "2", "tiny", "sleep", "1000")
    assert status(minirun) in ("starting", "healthy")
    wait_for(lambda: status(minirun) == "healthy")
    assert minirun.ok("ps", "--format", "{{.Status}}").endswith("(healthy)\n")
    minirun.ok("exec", "web", "touch", "/ill")
    wait_for(lambda: status(minirun) == "unhealthy")
    health = inspect(minirun, "web", ".State.Health")
    assert health["FailingStreak"] >= 2
    assert health["Log"][-1]["ExitCode"] == 1 and health["Log"][-1]["Output"] == "looked\n"
    minirun.ok("exec", "web", "rm", "/ill")
    wait_for(lambda: status(minirun) == "healthy")
    out = minirun.ok("events", "--since", "1h", "--until", "0s", "-f", "event=health_status",
                     "--format", "{{.Action}}")
    assert out.splitlines() == [f"health_status: {word}" for word in
                                ("healthy", "unhealthy", "healthy")]


def test_a_check_that_takes_too_long_is_ended(minirun, start):
    start("web", "--health-cmd", "exec sleep 1234", "--health-interval", "100ms",
          "--health-timeout", "300ms", "--health-retries", "1", "tiny", "sleep", "1000")
    wait_for(lambda: status(minirun) == "unhealthy")
    last = inspect(minirun, "web", ".State.Health.Log")[-1]
    assert last["ExitCode"] == -1 and "exceeded timeout (0.3s)" in last["Output"]
    assert minirun.ok("exec", "web", "ps").count("sleep 1234") <= 1


def test_without_a_check_there_is_no_health(minirun, start):
    start("web", "--no-healthcheck", "tiny", "sleep", "1000")
    assert "healthy" not in minirun.ok("ps", "--format", "{{.Status}}")
    done = minirun("run", "--no-healthcheck", "--health-cmd", "true", "tiny", "true")
    assert done.returncode == 125


def test_checks_stop_with_the_container(minirun, start, residue):
    start("web", "--health-cmd", "true", "--health-interval", "100ms", "tiny", "sleep", "1000")
    wait_for(lambda: status(minirun) == "healthy")
    minirun.ok("pause", "web")
    time.sleep(0.5)
    minirun.ok("unpause", "web")
    minirun.ok("stop", "-t", "0", "web")
    minirun.ok("rm", "web")
