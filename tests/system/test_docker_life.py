"""A container's life under dockerd with our runtime: exec, signals, stop and restart, pause,
update, what Docker tells of it, many at once, and compose.
"""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.components import require
from tests.residue import CGROUPS
from tests.screen import Screen
from tests.waiting import wait_for

ALONE = ("--network", "none")
CAP_SYS_ADMIN = 21  # capabilities(7)
# a shell that says which signals it gets, and ends at TERM
LISTENER = "trap 'echo USR1' USR1; trap 'echo TERM; exit 7' TERM; echo ready; " \
           "while :; do sleep 0.1; done"


def inspect(docker, container, template):
    return docker("inspect", "--format", template, container).strip()


@pytest.fixture
def box(docker, start):
    """A container that waits for what is done to it."""
    return start(*ALONE, "--init", "busybox", "sleep", "1000")


@pytest.fixture
def listener(docker, start):
    container = start(*ALONE, "busybox", "sh", "-c", LISTENER)
    wait_for(lambda: "ready" in docker("logs", container))
    return container


# --- exec -----------------------------------------------------------------------------------


def test_exec(docker, box):
    """Exit codes, user, directory, environment, standard input; all in one container."""
    def exec_(*words, **options):
        done = docker.attempt("exec", *words, **options)
        return done.returncode, done.stdout

    assert exec_(box, "sh", "-c", "echo out; exit 3") == (3, "out\n")
    assert exec_(box, "no-such-command")[0] in (126, 127)  # dockerd 20.10 says 126, newer ones 127
    assert exec_(box, "/etc/passwd")[0] == 126
    assert exec_("-i", box, "cat", stdin=None, input="typed") == (0, "typed")
    options = ("-u", "ada", "-w", "/tmp", "-e", "A=b c")
    assert exec_(*options, box, "sh", "-c", 'id -un; id -G; pwd; echo "$A" $HOME') == (
        0, "ada\n1000 2000\n/tmp\nb c /home/ada\n")
    assert exec_(box, "hostname") == (0, f"{box[:12]}\n")
    assert exec_(box, "ps", "-o", "comm")[1].split() == ["COMMAND", "docker-init", "sleep", "ps"]


def test_exec_is_as_limited_as_the_container(docker, box):
    """Capabilities, seccomp and cgroups are the container's, unless --privileged."""
    script = "grep -E 'Cap|NoNew|Seccomp:' /proc/$$/status; cat /proc/$$/cgroup"
    first = docker("exec", box, "sh", "-c", script.replace("$$", "1"))
    assert docker("exec", box, "sh", "-c", script) == first
    assert not int(first.split("CapEff:")[1].split()[0], 16) & 1 << CAP_SYS_ADMIN
    everything = docker.attempt("exec", "--privileged", box, "sh", "-c", script)
    if "unable to apply caps" in everything.stdout or "capset: " in everything.stdout:
        pytest.skip("runc and crun fail where root itself lacks a capability")
    assert int(everything.stdout.split("CapEff:")[1].split()[0], 16) & 1 << CAP_SYS_ADMIN


def test_exec_detached(docker, box):
    docker("exec", "--detach", box, "sh", "-c", "sleep 0.2; echo late > /tmp/late; sleep 1000")
    wait_for(lambda: docker.attempt("exec", box, "cat", "/tmp/late").stdout == "late\n")
    assert docker("exec", box, "ps", "-o", "comm").split().count("sleep") == 2


def test_exec_at_a_terminal(docker, box):
    with Screen([*docker.command, "exec", "-it", box, "sh"], size=(30, 100)) as shell:
        shell.expect("/ # ")
        shell.type("until stty size | grep -x '30 100'; do sleep .1; done; echo size-$?\r")
        shell.expect("size-0")
        shell.type("tty; sleep 100; echo ended-$?\r")
        shell.expect("/dev/pts/")
        time.sleep(0.3)  # sleep(1) is to be what the key meets
        shell.type("\x03")
        shell.expect("/ # ")
        shell.type("exit 9\r")
        assert shell.finish() == 9


def test_attach_and_detach_from_a_terminal(docker, start):
    container = start(*ALONE, "-it", "busybox", "sh")
    with Screen([*docker.command, "attach", container]) as shell:
        shell.type("\recho 4$((1+1))\r")
        shell.expect("42")
        shell.type("\x10\x11")  # ctrl-P ctrl-Q
        shell.finish()
    assert inspect(docker, container, "{{.State.Status}}") == "running"


# --- signals, stop, restart -----------------------------------------------------------------


def test_stop_is_heard_and_the_exit_code_kept(docker, listener):
    docker("kill", "--signal", "USR1", listener)
    wait_for(lambda: "USR1" in docker("logs", listener))
    docker("stop", "--time", "10", listener)
    assert docker("logs", listener).split() == ["ready", "USR1", "TERM"]
    assert inspect(docker, listener, "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"


def test_stop_kills_what_does_not_hear(docker, start):
    container = start(*ALONE, "busybox", "sleep", "1000")  # process 1 without a handler: no TERM
    begun = time.monotonic()
    docker("stop", "--time", "1", container)
    assert 1 <= time.monotonic() - begun < 6
    assert inspect(docker, container, "{{.State.ExitCode}}") == "137"


def test_restart_start_and_files_that_stay(docker, box):
    docker("exec", box, "touch", "/kept")
    pid = inspect(docker, box, "{{.State.Pid}}")
    docker("restart", box)
    assert inspect(docker, box, "{{.State.Pid}}") != pid
    docker("stop", box)
    assert inspect(docker, box, "{{.State.ExitCode}}") == "143"  # what docker-init passes on
    docker("start", box)
    docker("exec", box, "test", "-e", "/kept")


def test_remove_by_force(docker, start):
    container = start(*ALONE, "busybox", "sleep", "1000")
    assert cgroups(container)
    pid = inspect(docker, container, "{{.State.Pid}}")
    docker("rm", "--force", container)
    inside = subprocess.run([*docker.within, "test", "-e", f"/proc/{pid}"], check=False)
    assert inside.returncode == 1
    assert not cgroups(container)


def cgroups(container):
    return [path for tree in (".", "*") for path in CGROUPS.glob(f"{tree}/docker/{container}")]


def test_a_restart_policy(docker, start):
    container = start(*ALONE, "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 5")
    wait_for(lambda: inspect(docker, container, "{{.RestartCount}} {{.State.Status}}")
             == "2 exited")
    assert inspect(docker, container, "{{.State.ExitCode}}") == "5"


# --- pause, update, what Docker tells -------------------------------------------------------


def test_pause(docker, start):
    """Nothing moves while it is paused; afterwards it goes on, and can be killed while paused."""
    count = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/count; done"
    container = start(*ALONE, "busybox", "sh", "-c", count)
    root = f"/proc/{inspect(docker, container, '{{.State.Pid}}')}/root"

    def counted():
        return subprocess.run([*docker.within, "cat", f"{root}/dev/shm/count"], check=True,
                              capture_output=True, text=True).stdout

    docker("pause", container)
    assert inspect(docker, container, "{{.State.Status}}") == "paused"
    assert docker.attempt("exec", container, "true").returncode != 0
    before = counted()
    time.sleep(0.2)
    assert counted() == before
    docker("unpause", container)
    wait_for(lambda: counted() != before)
    docker("pause", container)
    docker("rm", "--force", container)


@pytest.mark.skipif(not (CGROUPS / "memory").exists(), reason="reads files of cgroup v1")
def test_update(docker, start):
    container = start(*ALONE, "--memory", "64m", "--memory-swap", "64m", "--init",
                      "busybox", "sleep", "100")
    docker("update", "--memory", "32m", "--memory-swap", "48m", "--cpus", "0.5",
           "--cpu-shares", "300", "--pids-limit", "30", "--cpuset-cpus", "0",
           "--memory-reservation", "16m", container)
    files = ("memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes",
             "memory/memory.soft_limit_in_bytes", "cpu/cpu.cfs_quota_us", "cpu/cpu.shares",
             "pids/pids.max", "cpuset/cpuset.cpus")
    said = docker("exec", "--workdir", "/sys/fs/cgroup", container, "cat", *files).split()
    megabyte = 1 << 20
    assert said == [str(number) for number in (
        32 * megabyte, 48 * megabyte, 16 * megabyte, 50000, 300, 30, 0)]
    refused = docker.attempt("update", "--cpuset-cpus", "999", container)
    assert refused.returncode == 1


def test_top_stats_and_logs(docker, box):
    docker("exec", "--detach", box, "sleep", "77")
    wait_for(lambda: "sleep 77" in docker("top", box))
    said = docker("top", box, "-o", "pid,args")
    assert [line.split(maxsplit=1)[1] for line in said.splitlines()[1:]] == [
        "/sbin/docker-init -- sleep 1000", "sleep 1000", "sleep 77"]
    stats = docker("stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", box)
    assert stats.split()[0] == "3"
    assert not stats.split()[1].startswith("0B")


def test_files_in_and_out_and_what_changed(docker, box, tmp_path):
    (tmp_path / "sent").write_text("from outside\n")
    docker("cp", tmp_path / "sent", f"{box}:/root/received")
    docker("exec", box, "sh", "-c", "cat /root/received > /home/answer; rm /etc/os-release")
    docker("cp", f"{box}:/home/answer", tmp_path / "answer")
    assert (tmp_path / "answer").read_text() == "from outside\n"
    changed = docker("diff", box).splitlines()
    assert {"A /root/received", "A /home/answer", "D /etc/os-release"} <= set(changed)
    # and into an image, for which the container is paused meanwhile
    docker("commit", box, "committed")
    try:
        assert docker("run", "--rm", *ALONE, "committed", "cat", "/home/answer") == "from outside\n"
    finally:
        docker("rmi", "committed")


def test_health(docker, start):
    """The check is an exec, again and again."""
    container = start(*ALONE, "--init", "--health-cmd", "cat /tmp/well", "--health-interval",
                      "200ms", "--health-retries", "2", "busybox", "sleep", "100")

    def health():
        return inspect(docker, container, "{{.State.Health.Status}}")

    wait_for(lambda: health() == "unhealthy")
    docker("exec", container, "touch", "/tmp/well")
    wait_for(lambda: health() == "healthy")


# --- many, and more than one ----------------------------------------------------------------


def test_twenty_at_once(docker, start):
    """RL: each is as it was asked to be, and all go."""
    with ThreadPoolExecutor(20) as pool:
        containers = list(pool.map(
            lambda number: start(*ALONE, "--memory", f"{number + 10}m", "--env", f"N={number}",
                                 "busybox", "sh", "-c", "echo $N; exec sleep 1000"), range(20)))
        said = list(pool.map(lambda container: docker("logs", container), containers))
        assert said == [f"{number}\n" for number in range(20)]
        codes = list(pool.map(lambda container: docker.attempt(
            "exec", container, "sh", "-c", "exit $N").returncode, containers))
        assert codes == list(range(20))
        list(pool.map(lambda container: docker("kill", container), containers))
    assert {inspect(docker, c, "{{.State.ExitCode}}") for c in containers} == {"137"}


COMPOSE = {
    "version": "3",
    "services": {
        "server": {
            "image": "busybox", "stop_signal": "KILL",
            "command": ["sh", "-c", "mkdir /www; echo hello > /www/x; exec httpd -f -h /www"],
        },
        "client": {
            "image": "busybox", "depends_on": ["server"],
            "command": ["sh", "-c", "until wget -qO- http://server/x; do sleep 0.2; done; exit 4"],
        },
    },
}


def test_compose_of_two_services(docker, tmp_path):
    require("docker-compose")
    (tmp_path / "compose.json").write_text(json.dumps(COMPOSE))  # JSON is YAML too
    compose = ["docker-compose", "--host", docker.command[-1], "--project-name", "two",
               "--file", str(tmp_path / "compose.json")]

    def run(*words):
        return subprocess.run([*compose, *words], check=False, capture_output=True, text=True,
                              timeout=60)

    done = run("up", "--abort-on-container-exit", "--exit-code-from", "client", "--no-color")
    ended = run("down", "--volumes")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "hello" in done.stdout
    assert ended.returncode == 0, ended.stderr
