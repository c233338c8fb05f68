"""Podman with our runtime in place of crun, as root: containers, pods and builds.

Podman has no daemon: conmon(8) stands above each container and calls the runtime, without --root
and --log, and reads standard error. Rootless podman is in test_podman_rootless.py.
"""

import json

import pytest

from tests import images
from tests.components import private_network
from tests.daemons import Engine, other_runtimes, show_limit
from tests.daemons import podman as podman_in
from tests.screen import Screen
from tests.waiting import grows, wait_for

IMAGE = "busybox:test"
SUBORDINATE = "containers:200000:100000\n"  # where --userns=auto takes its IDs from, subuid(5)


@pytest.fixture(scope="module")
def podman(tmp_path_factory, oci_runtime, tidy_module):
    directory = tmp_path_factory.mktemp("podman")
    with other_runtimes(), private_network() as enter, podman_in(directory, within=enter) as engine:
        engine.load(images.layout("busybox"), IMAGE)
        (directory / "subordinate").write_text(SUBORDINATE)
        for name in ("subuid", "subgid"):
            Engine(enter, "")("mount", "--bind", directory / "subordinate", f"/etc/{name}")
        yield Engine([*engine.command, "--runtime", oci_runtime], engine.load_target)


@pytest.fixture
def container(podman):
    """A running container's name; it is gone afterwards."""
    podman("run", "-d", "--name", "c1", "--network", "none", "--health-cmd", "test -e /tmp/well",
           "--health-interval", "disable", IMAGE, "sleep", "1000")
    yield "c1"
    podman("rm", "--force", "--time", "0", "c1")


def run(podman, *words):
    """A container that goes at once: (exit code, standard output); it says nothing else."""
    done = podman.attempt("run", "--rm", "--network", "none", *words)
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


# --- podman run -------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("exit 7", 7)])
def test_exit_codes(podman, command, code):
    assert run(podman, IMAGE, "sh", "-c", command) == (code, "")


@pytest.mark.parametrize(("command", "code", "reason"), [
    ("nosuch", 127, "command that was not found"), ("/etc/passwd", 126, "permission denied"),
])
def test_a_command_that_cannot_be_run(podman, command, code, reason):
    """podman tells the two apart by our words on standard error."""
    done = podman.attempt("run", "--rm", "--network", "none", IMAGE, command)
    assert done.returncode == code
    assert reason in done.stderr


@pytest.mark.parametrize(("options", "command", "answer"), [
    (["-m", "6m"], show_limit("memory"), "6291456"),
    (["--cpus", "0.5"], show_limit("cpu"), "50000 100000"),
    (["--pids-limit", "10"], show_limit("pids"), "10"),
    (["--cpuset-cpus", "0"], show_limit("cpuset"), "0"),
])
def test_limits(podman, options, command, answer):
    assert run(podman, *options, IMAGE, "sh", "-c", command) == (0, f"{answer}\n")


def test_too_many_processes(podman):
    line = "for i in 1 2 3 4 5 6; do sleep 1 & done; wait"
    done = podman.attempt("run", "--rm", "--network", "none", "--pids-limit", 4, IMAGE,
                          "sh", "-c", line)
    assert "can't fork" in done.stderr


def test_out_of_memory(podman):
    assert run(podman, "-m", "16m", "--memory-swap", "16m", IMAGE, "tail", "/dev/zero")[0] == 137


def status(name):
    return f"grep ^{name}: /proc/self/status | cut -f2"


@pytest.mark.parametrize(("options", "command", "answer"), [
    (["--cap-drop", "all"], status("CapBnd"), "0" * 16),
    (["--cap-drop", "all", "--cap-add", "kill"], status("CapEff"), "0000000000000020"),
    (["--security-opt", "no-new-privileges"], status("NoNewPrivs"), "1"),
    ([], status("Seccomp"), "2"),
    (["--security-opt", "seccomp=unconfined"], status("Seccomp"), "0"),
    (["--privileged"], "test -e /dev/kmsg && echo seen", "seen"),
    (["--init"], "cat /proc/1/comm", "podman-init"),
    (["-u", "ada", "-w", "/tmp", "-e", "A=b"], "echo $(id -un) $(pwd) $A", "ada /tmp b"),
    (["--hostname", "box"], "hostname", "box"),
    (["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", "1"),
    (["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
    (["--ulimit", "nofile=100:200", "--ulimit", "nproc=50:50"], "ulimit -n; ulimit -Hn",
     "100\n200"),
    (["--shm-size", "1m"], "df /dev/shm | grep -c ' 1024 '", "1"),
    ([], "ls /sys/class/net", "lo"),
    (["--uidmap", "0:100000:5000"], "echo $(cat /proc/self/uid_map) $(stat -c %u /bin)",
     "0 100000 5000 0"),
    (["--userns", "auto:size=2000"], "echo $(cat /proc/self/uid_map)", "0 200000 2000"),
])
def test_options(podman, options, command, answer):
    assert run(podman, *options, IMAGE, "sh", "-c", command) == (0, f"{answer}\n")


@pytest.mark.parametrize(("options", "line", "answer"), [
    ([], "touch /x && echo made", "made\n"),
    (["--read-only"], "touch /x 2>/dev/null || echo refused", "refused\n"),
    (["--read-only"], "touch /tmp/x && echo made", "made\n"),
    (["--read-only", "--tmpfs", "/etc:size=1m"], "touch /etc/x; cat /etc/architecture",
     f"{images.machine()}\n"),
    (["--tmpfs", "/etc:notmpcopyup"], "ls /etc/passwd 2>/dev/null || echo empty", "empty\n"),
])
def test_read_only_and_tmpfs(podman, options, line, answer):
    """A tmpfs of podman starts with what the image has there (tmpcopyup)."""
    assert run(podman, *options, IMAGE, "sh", "-c", line) == (0, answer)


def test_volumes(podman, tmp_path):
    (tmp_path / "note").write_text("from outside\n")
    line = "cat /host/note; touch /host/x 2>/dev/null || echo refused; echo kept > /data/f"
    done = run(podman, "-v", f"{tmp_path}:/host:ro", "-v", "kept:/data", IMAGE, "sh", "-c", line)
    assert done == (0, "from outside\nrefused\n")
    assert run(podman, "-v", "kept:/data", IMAGE, "cat", "/data/f") == (0, "kept\n")


def test_an_image_as_a_volume(podman):
    """podman asks for an overlay, whose layers take more than the 255 bytes that fsconfig takes."""
    options = ("--mount", f"type=image,src={IMAGE},dst=/image")
    assert run(podman, *options, IMAGE, "ls", "/image/etc/architecture") == (
        0, "/image/etc/architecture\n")


def test_a_bridge_network(podman):
    """podman makes the network namespace, and we join it by its path."""
    line = ("run", "--rm", IMAGE, "sh", "-c", "ls /sys/class/net; ip -4 -o addr show eth0")
    assert podman(*line).startswith("eth0\nlo\n2: eth0    inet 10.88.0.")


def test_at_a_terminal(podman):
    command = [*podman.command, "run", "-it", "--rm", "--network", "none", IMAGE, "sh"]
    with Screen(command, size=(30, 100)) as shell:
        shell.expect("/ # ")
        shell.type("stty size; tty\r")
        shell.expect("30 100\r\n/dev/pts/0\r\n")
        shell.expect("/ # ")
        shell.type("\x04")
        assert shell.finish() == 0


# --- a life, step by step ---------------------------------------------------------------------


def state(podman, name):
    return json.loads(podman("inspect", name))[0]["State"]


def test_exec(podman, container):
    done = podman.attempt("exec", "-u", "ada", "-w", "/tmp", "-e", "A=b", container,
                          "sh", "-c", "echo $(id -un) $(pwd) $A $(cat /proc/1/comm); exit 9")
    assert (done.returncode, done.stdout) == (9, "ada /tmp b sleep\n"), done.stderr


def test_exec_of_what_is_not_there(podman, container):
    done = podman.attempt("exec", container, "nosuch")
    assert done.returncode == 127, done.stderr


def test_exec_detached(podman, container):
    podman("exec", "-d", container, "touch", "/tmp/made")
    wait_for(lambda: podman.attempt("exec", container, "test", "-e", "/tmp/made").returncode == 0)


def test_exec_privileged(podman, container):
    normal, privileged = (podman("exec", *options, container, "grep", "CapEff", "/proc/self/status")
                          for options in ([], ["--privileged"]))
    assert int(normal.split()[1], 16) < int(privileged.split()[1], 16)


def test_exec_at_a_terminal(podman, container):
    with Screen([*podman.command, "exec", "-it", container, "sh"], size=(40, 90)) as shell:
        shell.expect("/ # ")
        shell.type("stty size; exit 5\r")
        shell.expect("40 90\r\n")
        assert shell.finish() == 5


def test_healthcheck(podman, container):
    assert podman.attempt("healthcheck", "run", container).returncode == 1
    podman("exec", container, "touch", "/tmp/well")
    assert podman.attempt("healthcheck", "run", container).returncode == 0


def test_pause(podman, tmp_path):
    podman("run", "-d", "--name", "c3", "--network", "none", "-v", f"{tmp_path}:/out", IMAGE,
           "sh", "-c", "while sleep 0.01; do echo tick >> /out/ticks; done")
    wait_for(lambda: grows(tmp_path / "ticks"))
    podman("pause", "c3")
    assert state(podman, "c3")["Status"] == "paused"
    assert not grows(tmp_path / "ticks")
    podman("unpause", "c3")
    wait_for(lambda: grows(tmp_path / "ticks"))
    podman("rm", "--force", "--time", "0", "c3")


def test_update(podman, container):
    podman("update", "--memory", "32m", "--cpus", "0.3", container)
    line = f"{show_limit('memory')}; {show_limit('cpu')}"
    assert podman("exec", container, "sh", "-c", line) == "33554432\n30000 100000\n"


def test_top_and_stats(podman, container):
    assert "sleep 1000" in podman("top", container)
    stats = json.loads(podman("stats", "--no-stream", "--format", "json", container))
    assert stats[0]["pids"] == "1"


def test_stop_start_restart_kill(podman, container):
    first = state(podman, container)["Pid"]
    podman("restart", "--time", "0", container)
    assert state(podman, container)["Pid"] not in (0, first)
    podman("stop", "--time", "0", container)
    assert (state(podman, container)["Status"], state(podman, container)["ExitCode"]) == (
        "exited", 137)
    podman("start", container)
    podman("kill", "--signal", "KILL", container)
    wait_for(lambda: state(podman, container)["Status"] == "exited")


def test_a_signal_that_is_handled(podman):
    line = "trap 'echo caught; exit 4' USR1; echo ready; while :; do sleep 0.05; done"
    podman("run", "-d", "--name", "c2", "--network", "none", IMAGE, "sh", "-c", line)
    wait_for(lambda: "ready" in podman("logs", "c2"))
    podman("kill", "--signal", "USR1", "c2")
    assert podman("wait", "c2") == "4\n"
    assert podman("logs", "c2") == "ready\ncaught\n"
    podman("rm", "c2")


# --- pods and builds --------------------------------------------------------------------------


def test_a_pod_shares_namespaces(podman):
    podman("pod", "create", "--name", "p1", "--network", "none", "--share", "net,ipc,uts,pid")
    try:
        podman("run", "-d", "--pod", "p1", IMAGE, "sh", "-c", "httpd -f -p 127.0.0.1:80 -h /etc")
        line = "wget -q -O - 127.0.0.1/architecture; hostname; ps | grep -v grep | grep -c httpd"
        wait_for(lambda: podman.attempt("run", "--rm", "--pod", "p1", IMAGE, "sh", "-c", line)
                 .stdout == f"{images.machine()}\np1\n1\n")
    finally:
        podman("pod", "rm", "--force", "--time", "0", "p1")


def test_build(podman, tmp_path):
    (tmp_path / "Dockerfile").write_text(f"""
        FROM {IMAGE}
        RUN cat /proc/1/comm > /first; grep ^CapEff /proc/self/status > /powers
        USER ada
        RUN id -un > /home/ada/user
    """)
    podman("build", "--isolation", "oci", "--network", "none", "--tag", "built", tmp_path)
    line = "cat /first /home/ada/user; grep -c 00a80425fb /powers || cat /powers"
    assert run(podman, "built", "sh", "-c", line) == (0, "sh\nada\n1\n")
