"""What flags do, seen from inside of a container."""

import os
from pathlib import Path

import pytest

from minirun.engine import limits

V1 = os.path.isdir("/sys/fs/cgroup/memory")
MEGABYTE = 1 << 20
RUN = ("run", "--rm", "--network", "none")  # a network takes time, and is not what we look at


def cgroup(v1: str, v2: str) -> str:
    """A script that prints a file of the container's own cgroup, on either version."""
    return f"cat /sys/fs/cgroup/{v1 if V1 else v2}"


SEEN = [  # flags, what to ask inside, the answer
    (("--ulimit", "nofile=100:200"), "ulimit -n; ulimit -Hn", "100\n200"),
    (("--ulimit", "core=0"), "ulimit -c", "0"),
    (("--sysctl", "net.ipv4.ip_forward=1"), "cat /proc/sys/net/ipv4/ip_forward", "1"),
    (("--sysctl", "kernel.msgmax=1234"), "cat /proc/sys/kernel/msgmax", "1234"),
    (("--domainname", "example.org"), "cat /proc/sys/kernel/domainname", "example.org"),
    (("--shm-size", "1m"), "df -k /dev/shm | tail -1 | awk '{print $2}'", "1024"),
    (("--device", "/dev/kmsg:/dev/x:w"), "true > /dev/x && echo w; cat /dev/x || echo no", "w\nno"),
    (("--device-cgroup-rule", "c 1:11 rwm", "--cap-add", "mknod"),
     "mknod /dev/k c 1 11; true > /dev/k && echo opened", "opened"),
    (("--group-add", "1234", "--group-add", "student"), "id -G", "0 1000 1234"),
    (("--pids-limit", "50"), cgroup("pids/pids.max", "pids.max"), "50"),
    (("-c", "512"), cgroup("cpu/cpu.shares", "cpu.weight"), "512" if V1 else "20"),
    (("--cpuset-cpus", "0"), "grep Cpus_allowed_list /proc/self/status | cut -f2", "0"),
    (("--cpu-quota", "5000", "--cpu-period", "10000"),
     cgroup("cpu/cpu.cfs_quota_us", "cpu.max"), "5000" if V1 else "5000 10000"),
    (("--memory", "64m", "--memory-reservation", "32m"),
     cgroup("memory/memory.soft_limit_in_bytes", "memory.low"), str(32 * MEGABYTE)),
    (("--oom-score-adj", "500"), "cat /proc/self/oom_score_adj", "500"),
    (("--env-file", "/dev/stdin", "-e", "B=2"), "echo $B", "2"),
    (("--uts", "host"), "hostname", os.uname().nodename),
    (("--ipc", "none"), "mount | grep -c /dev/shm", "0"),
    (("--read-only", "--init"), "echo x > /x || cat /proc/1/comm", "docker-init"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "script", "answer"), SEEN, ids=lambda value: str(value)[:30])
def test_what_a_flag_does(minirun, words, script, answer):
    seen = minirun(*RUN, *words, "tiny", "sh", "-c", f"({script}) 2>/dev/null || true")
    assert (seen.returncode, seen.stdout.strip()) == (0, answer), seen.stderr


@pytest.mark.skipif(not limits.has_swap_accounting(), reason="this kernel does not count swap")
@pytest.mark.parametrize(("words", "swap"), [
    (("-m64m",), 0), (("-m64m", "--memory-swap=128m"), 64), (("-m64m", "--memory-swap=-1"), None),
])  # fmt: skip
def test_memory_and_swap(minirun, words, swap):
    script = cgroup("memory/memory.memsw.limit_in_bytes", "memory.swap.max")
    seen = minirun.ok(*RUN, *words, "tiny", "sh", "-c", script).strip()
    if swap is None:
        assert seen == "max" or int(seen) > 1 << 60
    else:
        assert int(seen) == (swap + 64 * V1) * MEGABYTE


@pytest.fixture
def parent():
    """A cgroup of ours; in each hierarchy of v1."""
    yield "/minirun-test"
    for path in Path("/sys/fs/cgroup").glob("**/minirun-test"):
        path.rmdir()


def test_a_parent_for_the_cgroup(minirun, parent):
    script = "cut -d: -f3 /proc/1/cgroup | sort -u"
    words = ("--cgroup-parent", parent, "--cgroupns", "host", "--cidfile")
    cidfile = minirun.root.parent / "id"
    seen = minirun.ok(*RUN, *words, cidfile, "tiny", "sh", "-c", script)
    assert f"{parent}/{cidfile.read_text()}" in seen.split()


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "net"])
def test_of_this_machine(minirun, kind):
    flag = "--network" if kind == "net" else f"--{kind}"
    show = ("tiny", "readlink", f"/proc/self/ns/{kind}")
    assert minirun.ok("run", "--rm", flag, "host", *show).strip() == os.readlink(
        f"/proc/self/ns/{kind}"
    )


@pytest.fixture
def other(minirun):
    """A container that runs; its name."""
    script = "echo shared > /dev/shm/note; exec sleep 1000"
    words = ("--name", "other", "-h", "box", "--ipc", "shareable", "--shm-size", "1m")
    minirun.ok("run", "-d", "--network", "none", *words, "tiny", "sh", "-c", script)
    yield "container:other"
    minirun("rm", "-f", "other")


FLAGS = {"pid": "--pid", "ipc": "--ipc", "uts": "--uts", "net": "--network", "cgroup": "--cgroupns"}


def test_of_another_container(minirun, other):
    pid = process(minirun)
    for kind, flag in FLAGS.items():
        link = f"/proc/self/ns/{kind}"
        seen = minirun.ok("run", "--rm", flag, other, "tiny", "readlink", link).strip()
        assert seen == os.readlink(f"/proc/{pid}/ns/{kind}"), kind
    look = ("tiny", "sh", "-c", "hostname; cat /dev/shm/note")
    assert minirun.ok(*RUN, "--uts", other, "--ipc", other, *look) == "box\nshared\n"


def process(minirun):
    return int(minirun.ok("inspect", "-f", "{{.State.Pid}}", "other"))


def test_who_starts_again_joins_the_process_of_now(minirun, other):
    show = ("tiny", "readlink", "/proc/self/ns/pid")
    minirun.ok(
        "create", "--network", "none", "--name", "joins", "--pid", other, "--ipc", other, *show
    )
    for _ in range(2):
        now = os.readlink(f"/proc/{process(minirun)}/ns/pid")
        assert minirun.ok("start", "-a", "joins").strip() == now
        minirun.ok("restart", "-t", "0", "other")


def test_shared_memory_is_shared_only_by_who_says_so(minirun):
    minirun.ok("run", "-d", "--network", "none", "--name", "alone", "tiny", "sleep", "1000")
    done = minirun("run", "--rm", "--ipc", "container:alone", "tiny", "true")
    assert done.returncode == 125 and "make it with --ipc shareable" in done.stderr
    minirun.ok("rm", "-f", "alone")


def test_of_a_container_that_does_not_run(minirun):
    done = minirun("run", "--rm", "--pid", "container:nobody", "tiny", "true")
    assert done.returncode == 125 and "no such container: nobody" in done.stderr
    minirun.ok("create", "--name", "made", "tiny", "true")
    done = minirun("run", "--rm", "--pid", "container:made", "tiny", "true")
    assert done.returncode == 125 and "is not running" in done.stderr
    minirun.ok("rm", "made")


@pytest.mark.parametrize(
    "name",
    [
        "kernel.panic=1",
        "vm.swappiness=1",
        "kernel.hostname=x",
        "fs.file-max=1",
        "net/../kernel/panic=1",
        "kernel.shm=1",
    ],
)
def test_hd06_sysctls_of_the_machine_are_refused(minirun, residue, name):
    done = minirun(*RUN, "--sysctl", name, "tiny", "true")
    assert done.returncode == 125 and name.partition("=")[0] in done.stderr


def test_hd06_a_namespace_of_the_machine_keeps_its_sysctls(minirun):
    words = ("--network", "host", "--sysctl", "net.ipv4.ip_forward=1")
    done = minirun("run", "--rm", *words, "tiny", "true")
    assert done.returncode == 125 and "would change the host's" in done.stderr


def test_rt36_what_an_image_says_is_no_annotation(minirun, tmp_path):
    minirun.ok("bundle", "--annotation", "a.b=c", "tiny", tmp_path / "b")
    assert '"a.b": "c"' in (tmp_path / "b/config.json").read_text()


def test_a_bundle_has_its_own_reaper(minirun, tmp_path):
    minirun.ok("bundle", "--init", "tiny", tmp_path / "b", "sh", "-c", "cat /proc/1/comm")
    done = minirun.oci("run", "--bundle", tmp_path / "b", "x")
    assert done.stdout == "docker-init\n", done.stderr


@pytest.mark.parametrize("words", [("--pid", "container:x"), ("--network", "web"), ("--rm",)])
def test_what_a_bundle_cannot_have(minirun, tmp_path, words):
    done = minirun("bundle", *words, "tiny", tmp_path / "b")
    assert done.returncode == 125 and ": a bundle " in done.stderr
