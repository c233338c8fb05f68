"""The same flags of ``run``, typed to podman and to minirun, are seen alike from inside."""

import json
import os
from pathlib import Path

import pytest

from tests import images
from tests.components import private_network
from tests.daemons import other_runtimes
from tests.daemons import podman as podman_in

IMAGE = "busybox:test"
V1 = os.path.isdir("/sys/fs/cgroup/memory")
CGROUP = "cat /sys/fs/cgroup/"
CDI = {
    "cdiVersion": "0.5.0",
    "kind": "example.com/minirun-test",
    "devices": [{"name": "one", "containerEdits": {
        "env": ["OF_ONE=1"],
        "deviceNodes": [{"path": "/dev/toy", "hostPath": "/dev/kmsg", "permissions": "w"}],
    }}],
    "containerEdits": {
        "env": ["OF_ALL=1"],
        "mounts": [{"hostPath": "/etc/passwd", "containerPath": "/toy", "options": ["ro", "bind"]}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def podman(tmp_path_factory, tidy_module):
    directory = tmp_path_factory.mktemp("podman")
    with other_runtimes(), private_network() as enter, podman_in(directory, within=enter) as engine:
        engine.load(images.layout("busybox"), IMAGE)
        yield engine


@pytest.fixture
def device():
    """A CDI file on this machine; the name of its device."""
    directory = Path("/etc/cdi")  # podman has a /run of its own here
    is_new = not directory.exists()
    directory.mkdir(exist_ok=True)
    file = directory / "minirun-test.json"
    file.write_text(json.dumps(CDI))
    yield f"{CDI['kind']}=one"
    file.unlink()
    if is_new:
        directory.rmdir()


def both(podman, minirun, words, script):
    """The exit code and output of the two, which should be one."""
    line = ("run", "--rm", "--network", "none", *words)
    done = [engine(*line, image, "sh", "-c", f"({script}) 2>&1")
            for engine, image in ((podman.attempt, IMAGE), (minirun, "tiny"))]  # fmt: skip
    assert done[0].returncode not in (125, 126, 127), done[0].stderr
    return [(one.returncode, one.stdout) for one in done]


@pytest.mark.parametrize(("words", "script"), [
    (("--ulimit", "nofile=100:200", "--ulimit", "nproc=99"), "ulimit -n; ulimit -Hn; ulimit -p"),
    (("--sysctl", "net.ipv4.ip_forward=1"), "cat /proc/sys/net/ipv4/ip_forward"),
    (("--shm-size", "2m"), "df -k /dev/shm | tail -1 | awk '{print $2}'"),
    (("--device", "/dev/kmsg:/dev/x:w"), "ls -l /dev/x | cut -c1; true > /dev/x && echo written"),
    (("--group-add", "1234", "-u", "1000:1000"), "id -G"),
    (("--env-file", "{env}", "-e", "A=line"), "env | grep '^[AB]=' | sort"),
    (("--oom-score-adj", "500"), "cat /proc/self/oom_score_adj"),
    (("-c", "512"), CGROUP + ("cpu/cpu.shares" if V1 else "cpu.weight")),
    (("--cpu-quota", "5000", "--cpu-period", "10000"),
     CGROUP + ("cpu/cpu.cfs_quota_us" if V1 else "cpu.max")),
    (("--cpuset-cpus", "0"), "grep Cpus_allowed_list /proc/self/status"),
    (("-m", "64m", "--memory-swap", "128m"),
     CGROUP + ("memory/memory.memsw.limit_in_bytes" if V1 else "memory.swap.max")),
    (("-m", "64m", "--memory-reservation", "32m"),
     CGROUP + ("memory/memory.soft_limit_in_bytes" if V1 else "memory.low")),
    (("--pids-limit", "50"), CGROUP + ("pids/pids.max" if V1 else "pids.max")),
    (("--init",), "exit 42"),
    (("--init",), "kill -9 $$"),
    (("-h", "box"), "hostname; echo $HOSTNAME"),
    (("--read-only",), "touch /x"),
    (("--cap-drop", "all", "--cap-add", "chown"), "grep Cap /proc/self/status"),
    (("--security-opt", "no-new-privileges"), "grep NoNewPrivs /proc/self/status"),
    (("--security-opt", "seccomp=unconfined"), "grep Seccomp: /proc/self/status"),
    (("--uts", "host"), "hostname"),
    (("--ipc", "host"), "readlink /proc/self/ns/ipc"),
    (("--cgroupns", "host"), "readlink /proc/self/ns/cgroup"),
], ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")  # fmt: skip
def test_a_flag(podman, minirun, tmp_path, words, script):
    env = tmp_path / "env"
    env.write_text("# two\nA=file\nB=file\n")
    theirs, ours = both(podman, minirun, [word.format(env=env) for word in words], script)
    assert ours == theirs


def test_a_cdi_device(podman, minirun, device):
    script = "ls -l /dev/toy | cut -c1; true > /dev/toy && cat /dev/toy; cat /toy; env | grep ^OF_"
    theirs, ours = both(podman, minirun, ("--device", device), script)
    assert ours == theirs and "OF_ONE=1" in ours[1]
