"""containerd with our runtime in place of runc, through ctr(8).

A shim stands above each container and calls the runtime with --root, --log and --log-format json.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import images
from tests.components import private_network
from tests.daemons import containerd as containerd_in
from tests.daemons import other_runtimes, show_limit
from tests.screen import Screen
from tests.waiting import grows, wait_for

IMAGE = "docker.io/library/busybox:test"
CGROUPS = ("--mount", "type=cgroup,src=cgroup,dst=/cg,options=ro")


class Ctr:
    """ctr(8) with the runtime under test."""

    def __init__(self, engine, runtime):
        self.engine = engine
        self.binary = ("--runc-binary", runtime)

    def __call__(self, *words):
        return self.engine(*words)

    def run(self, *words):
        """A container that goes at once: exit code and output."""
        return self.engine.attempt("run", "--rm", *self.binary, *words)

    def status(self, name):
        rows = (line.split() for line in self.engine("tasks", "list").splitlines())
        return next((row[2] for row in rows if row[0] == name), None)


@pytest.fixture(scope="module")
def ctr(tmp_path_factory, oci_runtime, tidy_module):
    directory = tmp_path_factory.mktemp("containerd")
    with other_runtimes(), private_network() as enter:
        with containerd_in(directory, within=enter) as engine:
            engine.load(images.layout("busybox"), "busybox:test")
            yield Ctr(engine, oci_runtime)


@pytest.fixture
def task(ctr):
    """A running container's name; it is gone afterwards."""
    ctr("run", "--detach", *ctr.binary, IMAGE, "t1", "sleep", "1000")
    yield "t1"
    ctr("tasks", "delete", "--force", "t1")
    ctr("containers", "delete", "t1")


def test_run(ctr):
    done = ctr.run(IMAGE, "r1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert ctr("containers", "list", "--quiet") == ""


@pytest.mark.parametrize(("options", "line", "answer"), [
    (["--memory-limit", "8388608", *CGROUPS], show_limit("memory", "/cg"), "8388608"),
    (["--cpus", "0.5", *CGROUPS], show_limit("cpu", "/cg"), "50000 100000"),
    (["--cwd", "/tmp", "--env", "A=b"], "echo $(pwd) $A", "/tmp b"),
    (["--read-only"], "touch /x 2>/dev/null || echo refused", "refused"),
    (["--seccomp"], "grep Seccomp: /proc/self/status | cut -f2", "2"),
    (["--cap-drop", "CAP_KILL"], "grep CapBnd /proc/self/status | cut -f2", "00000000a80425db"),
    (["--privileged"], "mount -t tmpfs tmpfs /mnt 2>/dev/null || mount -t tmpfs tmpfs /tmp && "
     "echo mounted", "mounted"),
    (["--net-host"], "ls /sys/class/net", "lo"),
    (["--mount", "type=tmpfs,src=tmpfs,dst=/mnt,options=size=1m"],
     "df /mnt | grep -c ' 1024 '", "1"),
])  # fmt: skip
def test_options(ctr, options, line, answer):
    done = ctr.run(*options, IMAGE, "o1", "sh", "-c", line)
    assert (done.returncode, done.stdout) == (0, f"{answer}\n"), done.stderr


def test_what_is_wrong_is_said(ctr):
    """The shim reads our reason from --log."""
    done = ctr.run(IMAGE, "w1", "nosuch")
    assert done.returncode == 1
    assert re.search("OCI runtime (create|start) failed: .*nosuch.* not found in ", done.stderr)
    assert ctr("containers", "list", "--quiet") == ""


def test_at_a_terminal(ctr):
    command = [*ctr.engine.command, "run", "--rm", "--tty", *ctr.binary, IMAGE, "s1", "sh"]
    with Screen(command, size=(30, 100)) as shell:
        shell.expect("/ # ")
        shell.type("stty size; tty; exit 6\r")
        shell.expect("30 100\r")
        shell.expect("/dev/pts/0\r")
        assert shell.finish() == 6


def test_exec(ctr, task):
    line = "echo $(pwd) $(id -u) $(cat /proc/1/comm); exit 5"
    done = ctr.engine.attempt("tasks", "exec", "--exec-id", "e1", "--cwd", "/tmp", "--user", "1000",
                              task, "sh", "-c", line)
    assert (done.returncode, done.stdout) == (5, "/tmp 1000 sleep\n"), done.stderr


def test_exec_at_a_terminal(ctr, task):
    command = [*ctr.engine.command, "tasks", "exec", "--tty", "--exec-id", "e2", task, "sh"]
    with Screen(command, size=(40, 90)) as shell:
        shell.expect("/ # ")
        shell.type("stty size; exit 4\r")
        shell.expect("40 90\r")
        assert shell.finish() == 4


def test_exec_of_what_is_not_there(ctr, task):
    done = ctr.engine.attempt("tasks", "exec", "--exec-id", "e3", task, "nosuch")
    assert re.search("OCI runtime exec failed: .*nosuch.* not found in ", done.stderr)


def test_ps_lists_what_exec_started_too(ctr, task):
    ctr("tasks", "exec", "--detach", "--exec-id", "e4", task, "sleep", "900")
    rows = ctr("tasks", "ps", task).splitlines()
    assert len(rows) == 3
    assert any("e4" in row for row in rows)


def test_pause_and_resume(ctr, tmp_path):
    mount = f"type=bind,src={tmp_path},dst=/tmp,options=rbind:rw"
    ctr("run", "--detach", *ctr.binary, "--mount", mount, IMAGE, "p1", "sh", "-c",
        "while sleep 0.01; do echo tick >> /tmp/ticks; done")
    wait_for(lambda: grows(tmp_path / "ticks"))
    ctr("tasks", "pause", "p1")
    assert ctr.status("p1") == "PAUSED"
    assert not grows(tmp_path / "ticks")
    ctr("tasks", "resume", "p1")
    wait_for(lambda: grows(tmp_path / "ticks"))
    ctr("tasks", "delete", "--force", "p1")
    ctr("containers", "delete", "p1")


def test_metrics(ctr, task):
    """containerd reads the cgroup itself, by the cgroupsPath of config.json."""
    metrics = json.loads(ctr("tasks", "metrics", "--format", "json", task))
    assert int(metrics["pids"]["current"]) == 1
    assert int(metrics["memory"]["usage"]["usage"]) > 0


def test_kill(ctr):
    line = "trap 'exit 3' TERM; touch /tmp/ready; while :; do sleep 0.05; done"
    ctr("run", "--detach", *ctr.binary, IMAGE, "k1", "sh", "-c", line)
    wait_for(lambda: ctr.engine.attempt("tasks", "exec", "--exec-id", "e", "k1", "ls", "/tmp/ready")
             .returncode == 0)
    ctr("tasks", "kill", "--signal", "SIGTERM", "k1")
    wait_for(lambda: ctr.status("k1") == "STOPPED")
    assert "exit code 3" in ctr.engine.attempt("tasks", "delete", "k1").stderr
    ctr("containers", "delete", "k1")


def test_kill_all(ctr, task):
    ctr("tasks", "exec", "--detach", "--exec-id", "e5", task, "sleep", "900")
    ctr("tasks", "kill", "--all", "--signal", "SIGKILL", task)
    wait_for(lambda: ctr.status(task) == "STOPPED")


def test_twenty_at_once(ctr):
    def one(number):
        return ctr.run(IMAGE, f"p{number}", "sh", "-c", f"echo {number}; exit {number}")

    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(one, range(20)))
    assert [(each.returncode, each.stdout) for each in done] == [(n, f"{n}\n") for n in range(20)]
    assert ctr("tasks", "list", "--quiet") == ""
