"""Podman of an ordinary user, with our runtime in place of crun.

Podman makes a user namespace with the user's lent IDs (subuid(5)), and calls the runtime as its
root. On cgroup v1 nothing is delegated, so podman itself leaves limits out and says so.
"""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from tests import images
from tests.components import private_network, require
from tests.daemons import NOFILE, Engine
from tests.screen import Screen
from tests.users import COUNT, LENT, UID, User, user

IMAGE = "busybox:test"


def runtime(somebody: User) -> str:
    """The program that podman starts: minirun-oci of this tree as the user sees it, or another."""
    if name := os.environ.get("OCI_RUNTIME"):
        return require(name)
    program = somebody.home / "minirun-oci"
    program.write_text("\n".join([
        f"#!{os.path.realpath(sys.executable)} -SI", "import sys",
        f"sys.path += [{str(somebody.source)!r}]",
        "from minirun.runtime.cli import main", "main()", "",
    ]))
    program.chmod(0o755)
    return str(program)


@pytest.fixture(scope="module")
def somebody():
    require("podman", "conmon", "newuidmap")
    with user() as made:
        made.lend()
        made.before = """
            test -e $directory/tun || mknod -m 666 $directory/tun c 10 200
            test ! -e /dev/net/tun || mount --bind $directory/tun /dev/net/tun
        """  # as udev would have it; here it may be root's alone
        (made.home / "containers.conf").write_text("\n".join([
            "[containers]", f'default_ulimits = ["nofile={NOFILE}:{NOFILE}", "nproc=32768:32768"]',
            "[engine]", 'cgroup_manager = "cgroupfs"', 'events_logger = "file"',
        ]))
        yield made


@pytest.fixture(scope="module")
def podman(somebody):
    with private_network() as enter:
        command = somebody.command(
            "env", f"--chdir={somebody.home}", "-i",
            *[f"{name}={value}" for name, value in somebody.env.items()],
            f"CONTAINERS_CONF={somebody.home}/containers.conf",
            "podman", "--root", somebody.home / "graph",
            "--runroot", somebody.run_directory / "run", "--storage-driver", "overlay",
            "--log-level", "error", "--runtime", runtime(somebody),
        )
        engine = Engine([*enter, *command], str(somebody.home))
        somebody.own()
        engine.load(images.layout("busybox"), IMAGE)
        yield engine
        assert json.loads(engine("ps", "--all", "--format", "json")) == []


def run(podman, *words):
    """A container that goes at once: (exit code, standard output); it says nothing else."""
    done = podman.attempt("run", "--rm", "--network", "none", *words)
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("exit 7", 7)])
def test_exit_codes(podman, command, code):
    assert run(podman, IMAGE, "sh", "-c", command) == (code, "")


@pytest.mark.parametrize(("options", "command", "answer"), [
    ([], "id -u; cat /proc/self/uid_map", f"0 0 {UID} 1 1 {LENT} {COUNT}"),
    (["--userns", "keep-id"], "id -u; cat /proc/self/uid_map",
     f"{UID} 0 1 {COUNT} {UID} 0 1"),
    (["--userns", "keep-id", "--user", "0"], "id -u", "0"),
    (["--uidmap", "0:1:1000", "--gidmap", "0:1:1000"], "cat /proc/self/uid_map", "0 1 1000"),
    (["--user", "1000:1000"], "id -u; id -g", "1000 1000"),
    (["--cap-drop", "all"], "grep CapBnd /proc/self/status", "CapBnd: 0000000000000000"),
    (["--read-only"], "touch /file 2> /dev/null || echo no", "no"),
    (["--privileged"], "test -e /dev/null && echo yes", "yes"),
    (["--hostname", "box"], "hostname", "box"),
    (["--init"], "cat /proc/1/comm", "podman-init"),
    (["--tmpfs", "/scratch:size=1m"], "touch /scratch/x && echo yes", "yes"),
    (["--group-add", "7"], "id -G", "0 7"),
])
def test_options(podman, options, command, answer):
    code, output = run(podman, *options, IMAGE, "sh", "-c", command)
    assert (code, output.split()) == (0, answer.split())


def test_processes_of_the_host(podman):
    """Without a cgroup and without PID 1, what a container leaves running could not be ended."""
    done = podman.attempt("run", "--rm", "--network", "none", "--pid", "host", IMAGE, "true")
    if os.environ.get("OCI_RUNTIME"):
        assert done.returncode == 0  # runc and crun let it be
    else:
        assert "needs a PID namespace" in done.stderr
    pod = podman("pod", "create", "--share", "pid", "--network", "none",
                 "--infra-image", IMAGE, "--infra-command", "sleep 1000").strip()
    assert run(podman, "--pod", pod, IMAGE, "sh", "-c", "test $$ -ne 1 && echo yes") == (0, "yes\n")
    podman("pod", "rm", "--force", "--time", "0", pod)


def test_network(podman):
    """slirp4netns(1) stands for a network that nobody else may make."""
    require("slirp4netns")
    done = podman.attempt("run", "--rm", "--network", "slirp4netns", IMAGE, "ifconfig", "tap0")
    assert "inet addr:10.0.2.100" in done.stdout, done.stderr


def test_volume(podman, somebody):
    """What root of the container writes is the user's; what others write, one of the lent IDs'."""
    volume = somebody.home / "volume"
    volume.mkdir()
    somebody.own()
    assert run(podman, "-v", f"{volume}:/v", IMAGE, "sh", "-c",
               "touch /v/own /v/lent; chown 1000 /v/lent") == (0, "")
    assert (volume / "own").stat().st_uid == UID
    assert (volume / "lent").stat().st_uid == LENT + 999
    assert run(podman, "-v", f"{volume}:/v:ro", IMAGE, "sh", "-c",
               "touch /v/x 2> /dev/null || echo no") == (0, "no\n")
    assert not (volume / "x").exists()


def test_limits_are_said_to_be_ignored(podman):
    """Podman's own words; with what it then asks for, any runtime has to run."""
    if not Path("/sys/fs/cgroup/memory").exists():
        pytest.skip("cgroup v2: see tests/system/test_uml.py")
    done = podman.attempt("run", "--rm", "--network", "none", "-m", "64m", IMAGE, "echo", "ran")
    assert done.stdout == "ran\n"
    assert "Resource limits are not supported and ignored on cgroups V1 rootless" in done.stderr


def test_terminal(podman):
    words = ["run", "--rm", "-it", "--network", "none", IMAGE, "sh"]
    with Screen([*podman.command, *words]) as screen:
        screen.expect("/ # ")
        screen.type("tty; exit 5\r")
        screen.expect("/dev/pts/0")
        assert screen.finish() == 5


def test_life_of_a_container(podman):
    podman("run", "-d", "--name", "c1", "--network", "none", IMAGE, "sh", "-c",
           "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    assert podman("exec", "-e", "A=b", "c1", "sh", "-c", "echo $A; id -u").split() == ["b", "0"]
    assert podman.attempt("exec", "c1", "sh", "-c", "exit 9").returncode == 9
    assert podman("exec", "-u", "1000", "c1", "id", "-u").strip() == "1000"
    assert "sh" in podman("top", "c1", "args")
    podman("stop", "--time", "5", "c1")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "c1").strip() == "3"
    podman("start", "c1")
    podman("kill", "--signal", "KILL", "c1")
    assert podman("wait", "c1").strip() == "137"
    podman("rm", "c1")


def test_remove_what_runs(podman, somebody):
    podman("run", "-d", "--name", "c2", "--network", "none", IMAGE, "sh", "-c",
           "sleep 1000 & sleep 1000 & wait")
    podman("rm", "--force", "--time", "0", "c2")
    deadline = time.monotonic() + 5
    while any("sleep 1000" in line for line in somebody.processes()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_build(podman, somebody):
    (somebody.home / "Containerfile").write_text(
        f"FROM {IMAGE}\nRUN id -u > /built && chown 7 /built\n"
    )
    somebody.own()
    podman("build", "--quiet", "--network", "none", "--isolation", "oci", "--tag", "built",
           "--file", somebody.home / "Containerfile", somebody.home)
    assert run(podman, "built", "stat", "-c", "%u", "/built") == (0, "7\n")
