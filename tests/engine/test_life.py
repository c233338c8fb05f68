"""The life of a container in the background: created, started, stopped, restarted, found again."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.waiting import wait_for

FOREVER = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def life(minirun):
    """The commands; containers are removed at the end. None of them needs a network."""
    yield minirun
    if names := minirun.ok("ps", "-aq").split():
        minirun.ok("rm", "-f", *names)
    for folder in ("lib/containers", "lib/names", "run/live", "run/attach", "run/oci"):
        assert list((minirun.root / folder).iterdir()) == [], folder


def run(minirun, *words):
    """A container in the background, once it says that it is ready; its id."""
    ident = minirun.ok("run", "-d", "--network", "none", *words).strip()
    wait_for(lambda: "ready" in minirun.ok("logs", ident))
    return ident


def files(minirun, name):
    """The record and the state of a container."""
    ident = minirun.ok("inspect", "-f", "{{.Id}}", name).strip()
    folder = minirun.root / "lib/containers" / ident
    return [json.loads((folder / f"{n}.json").read_text()) for n in ("container", "state")]


def status(minirun, name):
    return minirun.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name).strip()


def monitor_of(minirun, name):
    """The process that attends to a container: the parent of its first process."""
    pid = files(minirun, name)[1]["pid"]
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("PPid:")))


def test_run_d_prints_the_id_and_leaves_the_container_running(life):
    done = life("run", "-d", "--network", "none", "--name", "web", "tiny", "sh", "-c", FOREVER)
    ident = done.stdout.strip()
    assert len(ident) == 64 and done.stderr == ""
    assert life.ok("ps", "-q", "--no-trunc").strip() == ident
    assert status(life, "web") == "running 0"
    assert life.ok("stop", "web") == "web\n"
    assert status(life, "web") == "exited 5"


@pytest.mark.parametrize(("words", "code", "text"), [
    (["nope"], 127, "executable file not found"),
    (["/etc/passwd"], 126, "not executable"),
])  # fmt: skip
def test_what_cannot_begin_is_told_and_stays_created(life, words, code, text):
    done = life("run", "-d", "--network", "none", "--name", "web", "tiny", *words)
    assert done.returncode == code and text in done.stderr
    assert "Created" in life.ok("ps", "-a")


def test_created_started_ended_started_again(life):
    ident = life.ok("create", "--network", "none", "--name", "web", "tiny", "sh", "-c",
                    "echo x >> /file; cat /file; exit 3").strip()  # fmt: skip
    assert status(life, "web") == "created 0" and len(ident) == 64
    assert life.ok("start", "web") == "web\n"
    assert life.ok("wait", "web") == "3\n"
    assert life("start", "-a", "web").stdout == "x\nx\n"  # what it wrote is still there
    assert life("start", "-a", "web").returncode == 3
    assert life.ok("logs", "web") == "x\nx\nx\nx\nx\nx\n"


def test_start_of_one_that_runs_changes_nothing(life):
    run(life, "--name", "web", "tiny", "sh", "-c", FOREVER)
    before = files(life, "web")[1]["pid"]
    assert life.ok("start", "web") == "web\n"
    assert files(life, "web")[1]["pid"] == before


def test_rl04_stop_asks_and_then_kills(life):
    run(life, "--name", "web", "tiny", "sh", "-c", DEAF)
    begin = time.monotonic()
    life.ok("stop", "-t", "1", "web")
    assert 1 <= time.monotonic() - begin < 8
    assert status(life, "web") == "exited 137"
    assert life.ok("stop", "web") == "web\n"  # it is stopped already


def test_the_signal_that_stops_is_the_containers(life):
    line = "trap 'exit 7' USR1; trap 'exit 8' USR2; echo ready; while :; do sleep 0.05; done"
    run(life, "--name", "web", "--stop-signal", "USR1", "tiny", "sh", "-c", line)
    life.ok("stop", "web")
    assert status(life, "web") == "exited 7"
    life.ok("start", "web")
    wait_for(lambda: life.ok("logs", "web").count("ready") == 2)
    life.ok("stop", "-s", "SIGUSR2", "web")
    assert status(life, "web") == "exited 8"


def test_kill_sends_what_it_is_told_and_else_kills(life):
    line = "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done"
    run(life, "--name", "web", "tiny", "sh", "-c", line)
    life.ok("kill", "-s", "HUP", "web")
    wait_for(lambda: "hup" in life.ok("logs", "web"))
    assert life.ok("kill", "web") == "web\n"
    wait_for(lambda: status(life, "web") == "exited 137")
    refused = life("kill", "web")
    assert refused.returncode == 125 and "is not running" in refused.stderr


def test_restart_ends_it_and_starts_it(life):
    run(life, "--name", "web", "tiny", "sh", "-c", FOREVER)
    before = files(life, "web")[1]["pid"]
    assert life.ok("restart", "web") == "web\n"
    wait_for(lambda: life.ok("logs", "web") == "ready\nbye\nready\n")
    assert files(life, "web")[1]["pid"] != before


@pytest.mark.parametrize(("policy", "code", "starts"), [
    ("on-failure:2", 3, 3), ("on-failure", 0, 1), ("no", 3, 1),
])  # fmt: skip
def test_rl07_how_often_it_is_started(life, policy, code, starts):
    line = f"echo ready; exit {code}"
    ident = run(life, "--restart", policy, "--name", "web", "tiny", "sh", "-c", line)
    wait_for(lambda: not (life.root / "run/live" / ident).exists())
    assert life.ok("logs", "web") == "ready\n" * starts
    assert status(life, "web") == f"exited {code}"
    assert files(life, "web")[1].get("restarts", 0) == starts - 1


def test_rl07_always_until_somebody_stops_it(life):
    run(life, "--restart", "always", "--name", "web", "tiny", "sh", "-c", "echo ready; exit 0")
    wait_for(lambda: life.ok("logs", "web").count("ready") >= 3)
    life.ok("stop", "web")
    seen = life.ok("logs", "web")
    assert status(life, "web").startswith("exited")
    time.sleep(0.5)
    assert life.ok("logs", "web") == seen


def test_rl07_killed_by_a_user_it_stays_dead(life):
    run(life, "--restart", "always", "--name", "web", "tiny", "sh", "-c", "echo ready; sleep 100")
    life.ok("kill", "web")
    wait_for(lambda: status(life, "web") == "exited 137")
    assert files(life, "web")[1].get("restarts", 0) == 0


def test_rm_refuses_what_runs_and_by_force_kills_it(life):
    run(life, "--name", "web", "tiny", "sh", "-c", DEAF)
    refused = life("rm", "web")
    assert refused.returncode == 125 and "rm -f" in refused.stderr
    assert life.ok("rm", "-f", "web") == "web\n"
    assert life.ok("ps", "-aq") == ""
    assert life("rm", "web").returncode == 125
    assert life("rm", "-f", "web").returncode == 0  # as Docker


def test_d_and_rm_leave_nothing(life):
    run(life, "--rm", "--name", "web", "tiny", "sh", "-c", FOREVER)
    life.ok("stop", "web")
    assert life.ok("ps", "-aq") == ""


def test_rename(life):
    run(life, "--name", "web", "tiny", "sh", "-c", FOREVER)
    life.ok("create", "--network", "none", "--name", "other", "tiny")
    assert life("rename", "web", "other").returncode == 125
    life.ok("rename", "web", "site")
    assert status(life, "site").startswith("running")
    assert life("inspect", "web").returncode == 125
    life.ok("create", "--network", "none", "--name", "web", "tiny")


def test_cidfile_and_pidfile(life, tmp_path):
    cid, pid = tmp_path / "cid", tmp_path / "pid"
    line = ["--cidfile", cid, "tiny", "sh", "-c", FOREVER]
    ident = run(life, "--pidfile", pid, *line)
    assert cid.read_text() == ident
    assert int(pid.read_text()) == files(life, ident)[1]["pid"]
    again = life("run", "-d", "--network", "none", *line)
    assert again.returncode == 125 and "is there already" in again.stderr
    assert len(life.ok("ps", "-aq").split()) == 1


def test_wait_for_several_and_for_one_that_has_ended(life):
    for code in (3, 4):
        life.ok("run", "-d", "--network", "none", "--name", f"c{code}", "tiny",
                "sh", "-c", f"sleep 0.3; exit {code}")  # fmt: skip
    assert life.ok("wait", "c3", "c4", "c3") == "3\n4\n3\n"


# --- attached and detached ------------------------------------------------------------------------


def test_i_without_a_reader_stays_open_and_attach_feeds_it(life):
    life.ok("run", "-d", "-i", "--network", "none", "--name", "cat", "tiny", "cat")
    attached = life.start("attach", "cat", stdin=subprocess.PIPE)
    attached.stdin.write("hello\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == "hello\n"
    attached.kill()
    attached.wait()
    assert status(life, "cat") == "running 0"


def test_two_who_are_attached_see_the_same(life):
    life.ok("run", "-d", "-i", "--network", "none", "--name", "cat", "tiny", "cat")
    both = [life.start("attach", "cat", stdin=subprocess.PIPE) for _ in range(2)]
    for text in ("one\n", "two\n"):
        wait_for(lambda: life.ok("events", "--since", "1m", "--until", "0s").count("attach") >= 2)
        time.sleep(0.3)
        both[0].stdin.write(text)
        both[0].stdin.flush()
        assert [one.stdout.readline() for one in both] == [text, text]
    life.ok("kill", "cat")
    assert [one.wait(20) for one in both] == [137, 137]


def test_signals_of_who_is_attached_arrive_or_do_not(life):
    run(life, "--name", "web", "tiny", "sh", "-c", "trap 'echo usr1' USR1; " + FOREVER)
    attached = life.start("attach", "web")
    wait_for(lambda: "attach" in life.ok("events", "--since", "1m", "--until", "0s"))
    time.sleep(0.3)
    attached.send_signal(signal.SIGUSR1)
    assert attached.stdout.readline() == "usr1\n"
    attached.send_signal(signal.SIGTERM)
    assert attached.stdout.readline() == "bye\n"
    assert attached.wait(20) == 5


def test_an_output_of_a_hundred_megabytes_is_whole_and_its_log_rotates(life):
    script = "head -c 100m /dev/zero; echo end >&2"
    line = [*life.command(), "run", "--network", "none", "--name", "big", "tiny", "sh", "-c"]
    done = subprocess.run([*line, script], env=life.env, capture_output=True, check=True)
    assert len(done.stdout) == 100 << 20 and done.stderr == b"end\n"
    folder = next((life.root / "lib/containers").iterdir())
    sizes = {path.name: path.stat().st_size for path in folder.glob("log*")}
    assert set(sizes) == {"log", "log.1", "log.2"}
    assert all(size < 11 << 20 for size in sizes.values())


def test_sig_proxy_false_keeps_signals_here(life):
    one = life.start("run", "--sig-proxy=false", "--network", "none", "--name", "web", "tiny", "sh",
                     "-c", FOREVER)  # fmt: skip
    assert one.stdout.readline() == "ready\n"
    one.send_signal(signal.SIGTERM)
    assert one.wait(20) == -signal.SIGTERM
    assert status(life, "web") == "running 0"


def test_a_full_disk_takes_the_log_and_not_the_container(life):
    """RL07. What is printed still comes through, and so does the exit code."""
    life.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", life.root], check=True)
    try:
        life.ok("run", "--rm", "--network", "none", "tiny", "true")
        line = [*life.command(), "run", "--rm", "--network", "none", "tiny", "sh", "-c",
                "head -c 30m /dev/zero; exit 3"]  # fmt: skip
        done = subprocess.run(line, env=life.env, capture_output=True, check=False)
        assert (len(done.stdout), done.returncode) == (30 << 20, 3), done.stderr
        assert life.ok("ps", "-aq") == ""
    finally:
        subprocess.run(["umount", "-R", life.root], check=True)
        for folder in ("lib/containers", "lib/names", "run/live", "run/attach", "run/oci"):
            (life.root / folder).mkdir(parents=True)


# --- what may happen to the monitor, and to the machine -------------------------------------------


def test_cr01_a_lost_monitor_is_noticed_by_the_next_command(life):
    ident = run(life, "--name", "web", "tiny", "sh", "-c", FOREVER)
    pid = files(life, "web")[1]["pid"]
    os.kill(monitor_of(life, "web"), signal.SIGKILL)
    wait_for(lambda: status(life, "web") == "exited 137")
    assert not Path(f"/proc/{pid}").exists()
    assert not os.path.ismount(life.root / "lib/containers" / ident / "rootfs")
    life.ok("start", "web")
    assert status(life, "web") == "running 0"


def test_cr01_who_is_attached_to_a_lost_monitor_is_told_and_cleans_up(life):
    attached = life.start("run", "--rm", "--network", "none", "--name", "web", "tiny", "sh", "-c",
                          FOREVER)  # fmt: skip
    assert attached.stdout.readline() == "ready\n"
    os.kill(monitor_of(life, "web"), signal.SIGKILL)
    assert attached.wait(20) == 125
    assert "monitor has died" in attached.stderr.read()
    assert life.ok("ps", "-aq") == ""


def test_cr10_killed_with_its_monitor_and_its_command_line_it_is_gone_and_known(life):
    run = life.start("run", "--network", "none", "--name", "web", "tiny", "sh", "-c", FOREVER)
    assert run.stdout.readline() == "ready\n"
    monitor, pid = monitor_of(life, "web"), files(life, "web")[1]["pid"]
    for process in (run.pid, monitor, pid):
        os.kill(process, signal.SIGKILL)
    run.wait()
    wait_for(lambda: status(life, "web") == "exited 137")
    assert life.ok("rm", "web") == "web\n"


def test_cr13_after_a_restart_of_the_machine_all_is_known_and_nothing_runs(life):
    """The run directory is wiped, and no process and no mount is left."""
    for name, policy in (("a", "always"), ("u", "unless-stopped"), ("n", "no")):
        run(life, "--restart", policy, "--name", name, "tiny", "sh", "-c", FOREVER)
    run(life, "--restart", "unless-stopped", "--name", "s", "tiny", "sh", "-c", FOREVER)
    life.ok("stop", "s")
    power_cut(life, "a", "u", "n")
    assert life.ok("ps", "-q") == ""
    assert [status(life, name) for name in "aun"] == ["exited 255"] * 3
    life.ok("system", "start")
    running = life.ok("ps", "--format", "{{.Names}}").split()
    assert sorted(running) == ["a", "u"]


def power_cut(minirun, *names):
    """Nothing of the containers is left, and nobody has noticed."""
    known = [(monitor_of(minirun, name), *files(minirun, name)) for name in names]
    for monitor, record, state in known:
        os.kill(monitor, signal.SIGKILL)
        minirun.oci("delete", "--force", record["id"])
        wait_for(lambda pid=state["pid"]: not Path(f"/proc/{pid}").exists())
        rootfs = minirun.root / "lib/containers" / record["id"] / "rootfs"
        subprocess.run(["umount", rootfs], check=True)
    subprocess.run(["rm", "-r", minirun.root / "run"], check=True)
