"""``docker run`` with our runtime in runc's place: what each of its options comes to.

Where no number of ours says what is right, runc is asked too: both must say the same.
"""

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.residue import CGROUPS
from tests.screen import Screen

RUN = ("run", "--rm", "--network", "none")


@pytest.fixture
def sh(docker):
    """The output of a shell script in a new container, which must succeed."""

    def run_one(script, *options):
        done = docker.attempt(*RUN, *options, "busybox", "sh", "-ec", script)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_one


def runtime_under_test():
    return Path(os.environ.get("OCI_RUNTIME", "minirun-oci")).name


def inspect(docker, container, template):
    return docker("inspect", "--format", template, container).strip()


# --- how it ends ----------------------------------------------------------------------------


@pytest.mark.parametrize("code, options, command", [
    (0, (), ("true",)),
    (3, (), ("sh", "-c", "exit 3")),
    (126, (), ("/etc/passwd",)),
    (126, (), ("/etc",)),
    (127, (), ("no-such-command",)),
    (127, (), ("/no/such/command",)),
    (137, ("--init",), ("sh", "-c", "kill -9 $$")),
    (143, ("--init",), ("sh", "-c", "kill -15 $$")),
])
def test_the_exit_code_is_the_commands(docker, code, options, command):
    """125, 126 and 127 are Docker's reading of our words, so the words matter."""
    done = docker.attempt(*RUN, *options, "busybox", *command)
    if runtime_under_test() == "crun" and code in (126, 127):
        pytest.skip("crun's words are others: Docker makes 125 of them")
    assert done.returncode == code
    assert (command[0] in done.stderr) is (code in (126, 127))


@pytest.mark.parametrize("options, words", [
    (("--ulimit", "nofile=2000000"), "RLIMIT_NOFILE"),
    (("--cpus", "0.001"), "cpu.cfs_quota_us"),
    (("--volume", "/proc/version:/bin"), "/bin: it is a directory"),
    (("--volume", "/tmp:/bin/sh"), "/bin/sh: it is not a directory"),
])
def test_what_cannot_be_done_is_told_by_dockers_client(docker, options, words):
    done = docker.attempt(*RUN, *options, "busybox", "true")
    assert done.returncode in (125, 126, 127)
    assert words in done.stderr or runtime_under_test() != "minirun-oci"
    assert "unable to retrieve OCI runtime error" not in done.stderr


# --- at a terminal --------------------------------------------------------------------------


def test_a_terminal(docker):
    """Its size, a new size, ctrl-C for what runs in the shell, ctrl-D for the shell."""
    command = [*docker.command, *RUN, "-it", "busybox", "sh"]
    with Screen(command, size=(30, 100)) as shell:
        shell.expect("/ # ")
        shell.type("until stty size | grep -x '30 100'; do sleep .1; done; echo size-$?\r")
        shell.expect("size-0")
        time.sleep(0.3)  # the client passes the first size on before it listens for others
        shell.resize(40, 120)
        shell.type("until stty size | grep -x '40 120'; do sleep .1; done; echo resized-$?\r")
        shell.expect("resized-0")
        shell.type("tty; sleep 100; echo ended-$?\r")
        shell.expect("/dev/")
        time.sleep(0.3)  # sleep(1) is to be what the key meets
        shell.type("\x03")
        shell.expect("/ # ")
        shell.type("(exit 9)\r")
        shell.expect("/ # ")
        shell.type("\x04")
        assert shell.finish() == 9


def test_standard_input_and_both_outputs(docker):
    done = docker.attempt(*RUN, "-i", "busybox", "sh", "-c", "cat; echo problem >&2",
                          stdin=None, input="a\nb\n")
    assert (done.stdout, done.stderr) == ("a\nb\n", "problem\n")


# --- limits ---------------------------------------------------------------------------------


def test_the_smallest_memory_that_docker_allows(sh):
    """6 MB: the set-up of the container is not counted against it."""
    assert sh("cd /sys/fs/cgroup; cat memory.max || cat memory/memory.limit_in_bytes",
              "--memory", "6m") == "6291456\n"


def test_a_memory_hog_is_ended_and_docker_knows_why(docker, start):
    since = str(time.time())
    hog = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
    container = start("--network", "none", "--memory", "16m", "busybox", "sh", "-c", hog)
    assert docker("wait", container).strip() == "137"
    assert inspect(docker, container, "{{.State.OOMKilled}}") == "true"
    said = docker("events", "--since", since, "--until", str(time.time()),
                  "--filter", f"container={container}", "--format", "{{.Action}}")
    assert {"create", "start", "oom", "die"} <= set(said.split())


@pytest.mark.skipif(not (CGROUPS / "memory").exists(), reason="reads files of cgroup v1")
def test_limits_are_seen_inside(sh):
    options = ("--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0", "--pids-limit", "20",
               "--memory", "64m", "--memory-swap", "128m", "--memory-reservation", "32m")
    files = ("cpu/cpu.cfs_quota_us", "cpu/cpu.shares", "cpuset/cpuset.cpus", "pids/pids.max",
             "memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes",
             "memory/memory.soft_limit_in_bytes")
    said = sh("cd /sys/fs/cgroup; cat " + " ".join(files), *options)
    megabyte = 1 << 20
    expected = (50000, 512, 0, 20, 64 * megabyte, 128 * megabyte, 32 * megabyte)
    assert tuple(map(int, said.split())) == expected


def test_pids_limit_stops_a_fork_bomb(docker):
    bomb = "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done"
    done = docker.attempt(*RUN, "--pids-limit", "5", "busybox", "sh", "-c", bomb)
    assert done.returncode == 2
    assert "can't fork" in done.stderr


# --- powers ---------------------------------------------------------------------------------


def status(sh, *options):
    """/proc/self/status of a container, proc_pid_status(5)."""
    return dict(line.split(":\t", 1) for line in sh("cat /proc/self/status", *options).splitlines())


def test_capabilities_added_and_dropped(sh):
    said = status(sh, "--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE", "--cap-add", "CHOWN")
    held = 1 << 10 | 1 << 0
    assert {int(said[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {held}
    assert int(said["CapInh"], 16) == int(said["CapAmb"], 16) == 0


def test_security_options(sh, tmp_path):
    plain = status(sh)
    assert (plain["NoNewPrivs"], plain["Seccomp"]) == ("0", "2")
    options = ("--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined")
    bare = status(sh, *options)
    assert (bare["NoNewPrivs"], bare["Seccomp"]) == ("1", "0")


def test_a_seccomp_profile_of_ones_own(docker, tmp_path):
    profile = {"defaultAction": "SCMP_ACT_ALLOW",
               "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO",
                             "errnoRet": 28}]}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    done = docker.attempt(*RUN, "--security-opt", f"seccomp={tmp_path}/profile.json",
                          "busybox", "mkdir", "/new")
    assert (done.returncode, "No space left" in done.stderr) == (1, True)


def test_dockers_own_profile_forbids(docker):
    """keyctl, unshare(CLONE_NEWUSER), mount: not even tried against what else protects."""
    done = docker.attempt(*RUN, "--cap-add", "SYS_ADMIN", "busybox", "sh", "-c",
                          "unshare -n true && echo allowed")
    assert done.stdout == "allowed\n"  # the profile goes with the capabilities
    done = docker.attempt(*RUN, "busybox", "unshare", "-U", "true")
    assert (done.returncode, "not permitted" in done.stderr) == (1, True)


def test_user_groups_umask(sh):
    script = "id; pwd; echo $HOME; umask"
    said = sh(script, "--user", "ada", "--group-add", "77", "--workdir", "/tmp")
    assert said == "uid=1000(ada) gid=1000(ada) groups=77,1000(ada),2000(analysts)\n" \
                   "/tmp\n/home/ada\n0022\n"


def test_privileged(docker, sh):
    """Every capability that root of this machine has, every device, nothing masked, no seccomp."""
    script = "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev | wc -l; " \
             "mount -t tmpfs x /mine && touch /proc/sys/kernel/hostname; umount /mine"
    with open("/proc/self/status") as file:
        mine = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff"))
    docker_knows = (1 << 38) - 1
    if mine & docker_knows != docker_knows and runtime_under_test() != "minirun-oci":
        pytest.skip("runc and crun fail where root itself lacks a capability")
    said = sh(script, "--privileged", "--volume", "/mine").split()
    assert int(said[1], 16) == mine & docker_knows
    assert said[3] == "0"
    assert int(said[4]) > 30


def test_an_init_reaps(sh):
    """--init: docker-init(1) is bind-mounted and is process 1."""
    assert sh("cat /proc/1/comm; sh -c 'sleep 0 & exit'; ps -o stat | grep -c Z || true",
              "--init") == "docker-init\n0\n"


# --- files ----------------------------------------------------------------------------------


def test_volumes(docker, sh, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("content\n")
    options = ("--volume", f"{tmp_path}/folder:/rw", "--volume", f"{tmp_path}/folder:/ro:ro",
               "--volume", f"{tmp_path}/file:/deep/in/file", "--volume", "/anonymous",
               "--volume", "named:/named")
    said = sh("echo new > /rw/x; cat /ro/x; touch /ro/y 2>&1 || cat /deep/in/file; "
              "touch /anonymous/x; echo kept > /named/x", *options)
    assert said == "new\ntouch: /ro/y: Read-only file system\ncontent\n"
    assert (tmp_path / "folder/x").read_text() == "new\n"
    assert sh("cat /named/x", "--volume", "named:/named:ro") == "kept\n"
    docker("volume", "rm", "named")


def test_a_root_that_is_read_only_with_a_tmpfs(sh):
    said = sh("touch /x 2>&1 || df -k /scratch | tail -1; touch /scratch/x /dev/shm/x; "
              "stat -c %a /scratch; grep -o '/scratch .*noexec' /proc/self/mountinfo | wc -l",
              "--read-only", "--tmpfs", "/scratch:size=1m,mode=700")
    lines = said.splitlines()
    assert lines[0] == "touch: /x: Read-only file system"
    assert lines[1].split()[1] == "1024"
    assert lines[2:] == ["700", "1"]


def test_the_size_of_shm(sh):
    assert sh("df -k /dev/shm | tail -1", "--shm-size", "10m").split()[1] == "10240"


def test_devices(docker):
    """What is asked for is there and may be used; what is made by hand may not."""
    script = "echo > /dev/mine && ls -l /dev/mine | cut -c1; mknod /dev/disk b 7 0; cat /dev/disk"
    done = docker.attempt(*RUN, "--device", "/dev/null:/dev/mine:rw", "busybox", "sh", "-c", script)
    assert (done.stdout, done.returncode) == ("c\n", 1)
    assert done.stderr == "cat: can't open '/dev/disk': Operation not permitted\n"
    script = "mknod /dev/disk b 7 0 && cat /dev/disk > /dev/null"
    rule = ("--device-cgroup-rule", "b 7:0 rwm")
    assert docker.attempt(*RUN, *rule, "busybox", "sh", "-c", script).returncode == 0


def test_sysctls_and_ulimits(sh):
    options = ("--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=9000",
               "--ulimit", "nofile=100:200", "--ulimit", "core=0")
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; ulimit -Sn; ulimit -Hn; "
    assert sh(script + "ulimit -c", *options).split() == ["1", "9000", "100", "200", "0"]


# --- namespaces -----------------------------------------------------------------------------


def namespaces(docker, container):
    """What a container's namespaces are, by name: namespaces(7). Seen from dockerd's own."""
    pid = inspect(docker, container, "{{.State.Pid}}")
    names = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    said = subprocess.run([*docker.within, "readlink", *(f"/proc/{pid}/ns/{n}" for n in names)],
                          check=True, capture_output=True, text=True).stdout
    return dict(zip(names, said.split(), strict=True))


def test_namespaces_of_its_own_and_shared(docker, start):
    sleep = ("busybox", "sleep", "100")
    one = start("--network", "none", "--ipc", "shareable", "--hostname", "one", *sleep)
    two = start("--network", f"container:{one}", "--pid", f"container:{one}",
                "--ipc", f"container:{one}", "--cgroupns", "private", *sleep)
    host = start("--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host",
                 "--cgroupns", "host", *sleep)
    ours = namespaces(docker, one)
    theirs = namespaces(docker, two)
    hosts = namespaces(docker, host)
    assert not set(ours.values()) & set(hosts.values()) - {ours["cgroup"]}
    assert {name for name in ours if ours[name] == theirs[name]} - {"cgroup"} == {
        "net", "pid", "ipc"}
    daemons = subprocess.run([*docker.within, "readlink", *(f"/proc/self/ns/{n}" for n in hosts)],
                             check=True, capture_output=True, text=True).stdout.split()
    assert [name for name, daemon in zip(hosts, daemons, strict=True) if hosts[name] != daemon] \
        == ["mnt"]
    assert theirs["cgroup"] not in (hosts["cgroup"], ours["cgroup"])


def test_names(sh):
    said = sh("hostname; cat /proc/sys/kernel/domainname",
              "--hostname", "box", "--domainname", "example.org")
    assert said.split() == ["box", "example.org"]


# --- the network ----------------------------------------------------------------------------


def test_a_published_port_is_reached(docker, start):
    """dockerd wires the network between create and start, by a hook of ours to run: prestart."""
    start("--publish", "127.0.0.1:8080:80", "--volume", "/www", "busybox", "sh", "-c",
          "echo served > /www/index.html; exec httpd -f -p 80 -h /www")
    fetch = [*docker.within, "busybox", "wget", "-qO-", "http://127.0.0.1:8080/"]
    deadline = time.monotonic() + 10
    while (done := subprocess.run(fetch, check=False, capture_output=True)).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)
    assert done.stdout == b"served\n"


def test_containers_of_a_network_know_each_other_by_name(docker, start):
    docker("network", "create", "friends")
    try:
        start("--network", "friends", "--name", "ada", "busybox", "sleep", "100")
        done = docker.attempt("run", "--rm", "--network", "friends", "busybox",
                              "ping", "-c", "1", "ada")
        assert "1 packets received" in done.stdout, done
        docker("rm", "--force", "ada")
    finally:
        docker("network", "rm", "friends")


# --- the same as runc -----------------------------------------------------------------------

WITHOUT_IDS = r"sed -E 's/[0-9a-f]{64}/ID/g'"
ALIKE = {
    "devices": ((), "cd /dev; stat -c '%n %F %a %u %g %t %T %N' * | sort"),
    "environment": (("--env", "A=x y", "--user", "ada"), "env -u HOSTNAME"),
    "resource limits": (("--ulimit", "nofile=1000:2000"), "cat /proc/self/limits"),
    "status": ((), "grep -E 'Cap|NoNew|Seccomp:|Groups|Umask|oom' /proc/self/status; "
                   "cat /proc/self/oom_score_adj"),
    "status of a user": (("--user", "ada"),
                         "grep -E 'Cap|NoNew|Seccomp:|Groups' /proc/self/status"),
    "mounts": ((), "cut -d' ' -f4-6 /proc/self/mountinfo | "
                   # ours is a read-only folder of cgroups, and masks with the machine's /dev/null
               "grep -vE ' (/sys/fs/cgroup|/proc/keys|/proc/timer_list) ' | sort | " + WITHOUT_IDS),
    "cgroups": (("--cgroupns", "private"), f"grep -v ^0 /proc/self/cgroup | {WITHOUT_IDS}"),
    "cgroups of the host": (("--cgroupns", "host"),
                            f"grep -v ^0 /proc/self/cgroup | {WITHOUT_IDS}"),
    "descriptors": ((), "ls /proc/self/fd"),
    "signals": ((), "grep -E '^(Sig[^Q]|Shd)' /proc/1/status"),
    "working directory": (("--workdir", "/made/up", "--user", "1000"), "stat -c '%u %a' .; pwd"),
    "modes of tmpfs": (("--tmpfs", "/root", "--tmpfs", "/home/ada", "--tmpfs", "/new"),
                       "stat -c '%a %u' /root /home/ada /new"),
    "nothing masked": (("--security-opt", "systempaths=unconfined"),
                       "cut -d' ' -f5 /proc/self/mountinfo | grep -c ^/proc"),
    "host's processes": (("--pid", "host"), "cat /proc/[0-9]*/comm 2> /dev/null | grep -c dockerd"),
    "out of memory": (("--memory", "20m", "--memory-swappiness", "10", "--oom-kill-disable",
                       "--oom-score-adj", "500"),
                      "cat /sys/fs/cgroup/memory/memory.swappiness /proc/self/oom_score_adj; "
                      "head -1 /sys/fs/cgroup/memory/memory.oom_control"),
}  # fmt: skip


@pytest.mark.parametrize("case", ALIKE)
def test_the_same_as_with_runc(docker, case):
    options, script = ALIKE[case]
    if runtime_under_test() == "crun":
        pytest.skip("crun differs from runc in the devices, modes and mounts of a container")

    def said(runtime):
        return docker.attempt(*RUN, "--runtime", runtime, *options, "busybox", "sh", "-c", script)

    with ThreadPoolExecutor() as pool:
        ours, theirs = pool.map(said, ("minirun", "runc"))
    assert theirs.returncode == 0, theirs.stderr
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, 0)
