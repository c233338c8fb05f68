"""``exec``: one more process in a container, and what it must not become."""

import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from minirun import errors, linux
from minirun.runtime import sync
from tests.residue import children, keyrings
from tests.runtime.bundles import Bundle, canary, only_root_of
from tests.runtime.test_escape import INTERPRETER, fingerprint
from tests.runtime.test_terminal import read_until, receive_master


@pytest.fixture
def alive(bundle: Bundle) -> Bundle:
    """A container whose first process sleeps."""
    start(bundle)
    return bundle


def start(bundle: Bundle, *args: str) -> None:
    done = bundle.run(*(args or ("sleep", "1000")), options=("-d",))
    assert done.returncode == 0, done.stderr


def execute(bundle: Bundle, *words: object, options: tuple = (), **more):
    return bundle.oci("exec", *options, bundle.id, *words, **more)


def output(bundle: Bundle, *words: object, options: tuple = (), **more) -> str:
    done = execute(bundle, *words, options=options, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_background(bundle: Bundle, *words: object, options: tuple = (), **more) -> subprocess.Popen:
    return subprocess.Popen(bundle.arguments("exec", *options, bundle.id, *words),
                            cwd=bundle.directory, **more)  # fmt: skip


# exit codes and streams


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_exit_code_is_the_commands(alive, code):
    """RL03"""
    assert execute(alive, "sh", "-c", f"exit {code}").returncode == code


def test_exit_code_of_a_killed_command(alive):
    """RL03"""
    assert execute(alive, "sh", "-c", "kill -9 $$").returncode == 137


@pytest.mark.parametrize("command, code", [("nope", 127), ("/no/such", 127), ("/etc", 126),
                                           ("/etc/passwd", 126)])  # fmt: skip
def test_commands_that_cannot_be_executed(alive, command, code):
    """RL03"""
    done = execute(alive, command)
    assert done.returncode == (code if alive.runtime == "minirun-oci" else done.returncode) != 0
    assert done.stdout == "" and (command in done.stderr or alive.runtime == "crun")


def test_a_program_for_another_machine(alive):
    """Judged by execve(2) itself, after the clone: the reason comes home all the same."""
    program = alive.rootfs / "bin/foreign"
    program.write_bytes(b"\x7fELF\2\1\1" + bytes(11) + (243).to_bytes(2, "little") + bytes(100))
    program.chmod(0o755)
    done = execute(alive, "foreign")
    assert done.returncode != 0
    assert "exec format error" in done.stderr.lower()
    if alive.runtime == "minirun-oci":
        assert done.returncode == 126 and "a program for riscv64" in done.stderr


def test_a_hundred_megabytes_through_it(alive):
    """RL06: bytes equal, and the end of input passed on."""
    block = os.urandom(1 << 20)
    process = in_background(alive, "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def feed() -> None:
        for _ in range(100):
            process.stdin.write(block)
        process.stdin.close()

    thread = threading.Thread(target=feed)
    thread.start()
    shown, wanted = hashlib.sha256(), hashlib.sha256(block * 100).digest()
    while data := process.stdout.read(1 << 20):
        shown.update(data)
    thread.join()
    assert (process.wait(), shown.digest()) == (0, wanted)


def test_output_to_a_pipe_that_closes(alive):
    """RL06"""
    process = in_background(alive, "yes", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(timeout=10) in (1, 141)


def test_standard_input_that_is_closed(alive):
    if alive.runtime == "crun":
        pytest.skip("crun 1.8.1 wants all three open")
    assert output(alive, "sh", "-c", "echo out", preexec_fn=lambda: os.close(0)) == "out\n"


def test_signals_are_passed_on(alive):
    """RL02"""
    script = "trap 'echo usr1; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    process = in_background(alive, "sh", "-c", script, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == b"usr1\n"
    assert process.wait(timeout=10) == 5


def test_the_end_of_the_container_is_its_end(alive):
    process = in_background(alive, "sh", "-c", "echo ready; sleep 1000", stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    alive.oci("kill", alive.id, "KILL", check=True)
    assert process.wait(timeout=10) == 137


# what it is


def test_it_is_as_config_json_says(bundle):
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8.1 runs it as root, whoever the first process is")
    bundle.process.update({
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [7, 8], "umask": 0o027},
        "cwd": "/tmp", "env": ["PATH=/bin", "A=b"], "noNewPrivileges": True, "oomScoreAdj": 321,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60},
                    {"type": "RLIMIT_NPROC", "soft": 40, "hard": 45}],
    })  # fmt: skip
    start(bundle)
    script = ("id; pwd; umask; echo $A $HOME; ulimit -n; ulimit -Hn; hostname; "
              "cat /proc/self/oom_score_adj; grep -E 'NoNew|Groups' /proc/self/status")  # fmt: skip
    lines = output(bundle, "sh", "-c", script).splitlines()
    home = "b /home/user"
    assert lines[0].startswith("uid=1000(user) gid=1000")
    assert lines[1] == "/tmp"
    assert lines[2] == ("0022" if bundle.runtime == "runc" else "0027")  # runc 1.1.5 has its own
    assert lines[3:8] == [home, "50", "60", "box", "321"]
    assert [line.split()[1:] for line in lines[8:]] == [["7", "8"], ["1"]]


def test_options_change_it(alive):
    options = ("--cwd", "/bin", "--env", "A=b", "--env", "PATH=/bin:/tmp", "-u", "7:8", "-g", "5",
               "--no-new-privs")  # fmt: skip
    script = "pwd; echo $A $PATH; id -u; id -g; grep -E 'NoNew|Groups' /proc/self/status"
    if alive.runtime == "crun":
        options = tuple(option for option in options if option not in ("-g", "5"))
    lines = output(alive, "sh", "-c", script, options=options).splitlines()
    assert lines[:4] == ["/bin", "b /bin:/tmp", "7", "8"]
    assert lines[-1].split()[1] == "1"
    assert alive.runtime == "crun" or lines[-2].split()[1:] == ["5"]


def test_process_from_a_file(alive):
    (alive.directory / "process.json").write_text(json.dumps({
        "args": ["sh", "-c", "echo $A; pwd; id -u; grep CapEff /proc/self/status"],
        "cwd": "/tmp", "env": ["A=file", "PATH=/bin"], "user": {"uid": 3, "gid": 4},
    }))  # fmt: skip
    lines = output(alive, options=("--process", "process.json")).splitlines()
    assert lines[:3] == ["file", "/tmp", "3"]
    assert lines[3].split()[1] == "0000000000000000"


@pytest.mark.parametrize("options", [
    ("-u", "-1"), ("-u", "0x1"), ("-u", "1e3"), ("-u", "4294967296"), ("-u", "1:"), ("-u", ":1"),
    ("-u", "1:2:3"), ("-u", "١"), ("-u", "+0"), ("-u", " 1"), ("-g", "x"), ("--cap", "CAP_NOPE"),
    ("--cap", "cap_kill"), ("--cgroup", "../.."), ("--cgroup", "a/../../b"), ("--env", "=x"),
    ("--cgroup", "pids:.."), ("--cwd", "tmp"), ("--nope",), ("--process", "/no/such"),
    ("--preserve-fds", "5"), ("--console-socket", "x"), ("-t", "-d"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(ours, options):
    """RT24, RT25, RT38"""
    start(ours)
    done = execute(ours, "true", options=options)
    assert done.returncode == 125 and done.stderr.startswith("error: "), done


def test_only_the_capability_that_was_asked_for(bundle):
    """RT24, CVE-2022-29162"""
    bundle.process["capabilities"] = {"bounding": [], "effective": [], "permitted": []}
    start(bundle)
    sets = status(output(bundle, "cat", "/proc/self/status", options=("--cap", "CAP_NET_RAW")))
    for kind, mask in (("Inh", 0), ("Prm", 1 << 13), ("Eff", 1 << 13), ("Bnd", 1 << 13)):
        if bundle.runtime != "crun":  # crun 1.8.1 sets the inheritable set, too
            assert int(sets[f"Cap{kind}"], 16) == mask, kind
    assert int(status(output(bundle, "cat", "/proc/self/status"))["CapBnd"], 16) == 0


def status(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in
            (line.partition(":") for line in text.splitlines())}  # fmt: skip


def test_it_is_in_the_containers_cgroup_and_namespaces(alive):
    process = in_background(alive, "sh", "-c", "echo $$; read x", stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)  # fmt: skip
    process.stdout.readline()
    pid = next(iter(exec_pids(alive)))
    its, first = Path(f"/proc/{pid}"), Path(f"/proc/{alive.pid()}")
    for kind in ("pid", "mnt", "net", "ipc", "uts", "cgroup", "user"):
        assert (its / "ns" / kind).readlink() == (first / "ns" / kind).readlink()
    assert (its / "cgroup").read_text() == (first / "cgroup").read_text()
    process.communicate(b"\n", timeout=10)


def exec_pids(bundle: Bundle) -> set[int]:
    """The processes in the container's PID namespace other than the first."""
    first = bundle.pid()
    wanted, found = os.readlink(f"/proc/{first}/ns/pid"), set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            if int(name) != first and os.readlink(f"/proc/{name}/ns/pid") == wanted:
                found.add(int(name))
    return found


def test_a_cgroup_below(alive):
    if alive.runtime == "crun":
        pytest.skip("crun has a path only, for cgroup v2")
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        pytest.skip("needs the pids controller of cgroup v1")
    line = next(line for line in Path(f"/proc/{alive.pid()}/cgroup").read_text().splitlines()
                if ":pids:" in line)  # fmt: skip
    path = f"/sys/fs/cgroup/pids{line.split(':')[2]}"
    os.mkdir(f"{path}/below")
    shown = output(alive, "cat", "/proc/self/cgroup", options=("--cgroup", "pids:below"))
    assert ":pids:/below\n" in shown and ":memory:/\n" in shown
    assert execute(alive, "true", options=("--cgroup", "pids:nowhere")).returncode != 0


def test_seccomp_binds_it_too(bundle):
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}],
    }
    start(bundle)
    done = execute(bundle, "mkdir", "/tmp/x")
    assert done.returncode == 1 and "Cannot assign requested address" in done.stderr
    shown = status(output(bundle, "cat", "/proc/self/status"))
    assert shown["Seccomp"] == "2" and shown["NoNewPrivs"] == "0"


def test_a_filter_that_allows_hardly_more_than_execve(ours):
    """The clone and all that leads to it is done before the filter is loaded."""
    allowed = ["execve", "brk", "arch_prctl", "exit_group", "write", "set_tid_address",
               "set_robust_list", "rseq", "prlimit64", "readlink", "readlinkat", "getrandom",
               "mprotect", "getuid", "newfstatat", "fstat", "ioctl", "rt_sigprocmask"]  # fmt: skip
    ours.process["noNewPrivileges"] = True
    start(ours)
    config = json.loads((ours.state_root / ours.id / "config.json").read_text())
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}],
    }
    (ours.state_root / ours.id / "config.json").write_text(json.dumps(config))
    assert output(ours, "echo", "hello") == "hello\n"


def test_in_a_user_namespace(bundle):
    only_root_of(bundle, 100000)
    bundle.linux["namespaces"].append({"type": "user"})
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8.1 cannot mount mqueue there")
    start(bundle)
    process = in_background(bundle, "sh", "-c", "id -u; touch /tmp/x; read x", "-",
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdout.readline() == b"0\n"
    pid = next(iter(exec_pids(bundle)))
    assert os.stat(f"/proc/{pid}").st_uid == 100000
    process.communicate(b"\n", timeout=10)
    assert (bundle.rootfs / "tmp/x").stat().st_uid == 100000


def test_limits_beyond_ours_in_a_user_namespace(ours):
    """Raised from outside, where the power to do it is."""
    if not linux.capget()[0] >> 24 & 1:
        pytest.skip("needs CAP_SYS_RESOURCE")
    only_root_of(ours, 100000)
    ours.linux["namespaces"].append({"type": "user"})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ours.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 2}]
    start(ours)
    assert output(ours, "sh", "-c", "ulimit -n; ulimit -Hn") == f"{hard + 1}\n{hard + 2}\n"


# when it may be


def test_in_a_created_container(bundle):
    bundle.create("sleep", "1000")
    assert output(bundle, "sh", "-c", "echo in; ls -d /proc/1") == "in\n/proc/1\n"
    assert bundle.state()["status"] == "created"


def test_in_a_stopped_container(alive):
    """RT49"""
    alive.oci("kill", alive.id, "KILL", check=True)
    alive.wait_for("stopped")
    assert execute(alive, "true").returncode != 0


def test_in_a_container_that_is_not_there(bundle):
    assert bundle.oci("exec", "nobody", "true").returncode != 0


def test_in_a_paused_container(alive):
    """RT49: it waits there, if it is to be there at all."""
    alive.oci("pause", alive.id, check=True)
    assert execute(alive, "true").returncode != 0
    if alive.runtime == "crun":
        return
    process = in_background(alive, "true", options=("--ignore-paused",))
    time.sleep(0.3)
    assert process.poll() is None
    alive.oci("resume", alive.id, check=True)
    assert process.wait(timeout=10) == 0


def test_a_number_that_is_used_again(ours):
    """RT49, CR11: the first process has ended, and another one has its number."""
    start(ours)
    other = subprocess.Popen(["sleep", "1000"])
    try:
        path = ours.state_root / ours.id / "process.json"
        real = json.loads(path.read_text())
        path.write_text(json.dumps({**real, "pid": other.pid}))
        done = execute(ours, "true")
        path.write_text(json.dumps(real))
    finally:
        other.kill()
        other.wait()
    assert done.returncode == 125 and "that is stopped" in done.stderr


def test_in_a_dying_container(bundle, tidy):
    """RL04: whenever the container dies, exec ends, and leaves nothing."""
    for pause in (0, 0.005, 0.01, 0.015, 0.02, 0.03):
        start(bundle)
        process = in_background(bundle, "sleep", "1000", stderr=subprocess.PIPE)
        time.sleep(pause)
        bundle.oci("delete", "--force", bundle.id, check=True)
        assert process.wait(timeout=10) != 0
        assert b"Traceback" not in process.stderr.read()
        process.stderr.close()


# detached


def test_detached(alive):
    """Its parent becomes ours, a subreaper as containerd's shim and conmon are."""
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    try:
        options = ("--detach", "--pid-file", "pid")
        execute(alive, "sh", "-c", "sleep 0.3; exit 9", options=options, check=True)
        pid = int((alive.directory / "pid").read_text())
        assert status(Path(f"/proc/{pid}/status").read_text())["PPid"] == str(os.getpid())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    finally:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


def test_a_session_of_its_own(alive):
    """With the terminal of ours, it could type into it (CVE-2017-5226)."""
    shown = output(alive, "sh", "-c", "cut -d' ' -f1,5,6 /proc/self/stat; echo $$").split()
    assert shown[1] == shown[2] == shown[3] or alive.runtime == "crun"


def test_nothing_of_ours_is_open(alive, tmp_path):
    """RT07"""
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(50)]
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        done = execute(alive, "sh", "-c", "ls -l /proc/$$/fd; true", pass_fds=fds)
    finally:
        for fd in fds:
            os.close(fd)
    numbers = [line.split(" -> ")[0].split()[-1] for line in done.stdout.splitlines()[1:]]
    assert set(numbers) <= {"0", "1", "2"}


def test_preserved_fds(alive):
    reader, writer = os.pipe()
    execute(alive, "sh", "-c", "echo through >&3", options=("--preserve-fds", "1"), check=True,
            preexec_fn=lambda: os.dup2(writer, 3), pass_fds=(3, writer))  # fmt: skip
    assert os.read(reader, 100) == b"through\n"
    os.close(reader)
    os.close(writer)


# terminals


def test_console_socket(alive):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(alive.directory / "console"))
        server.listen()
        (alive.directory / "process.json").write_text(json.dumps({
            "args": ["sh", "-c", "tty; stty size; read x; echo got $x; ps -o tty | head -3"],
            "cwd": "/", "env": ["PATH=/bin"], "terminal": True, "user": {"uid": 0, "gid": 0},
            "consoleSize": {"height": 33, "width": 77},
        }))  # fmt: skip
        options = ("-d", "--process", "process.json", "--console-socket", "console")
        process = in_background(alive, options=options, stdin=subprocess.DEVNULL)
        master = receive_master(server)
    assert process.wait(timeout=10) == 0
    os.write(master, b"hello\n")
    shown = read_until(master, b"got hello")
    assert b"/dev/pts/" in shown
    if alive.runtime != "crun":
        assert b"33 77" in shown
    os.close(master)


def test_job_control(ours):
    """RL05: the terminal is the session's, so that Control-C is a signal."""
    start(ours)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(ours.directory / "console"))
        server.listen()
        script = "trap 'echo interrupted; exit 5' INT; echo ready; sleep 1000 & wait"
        options = ("-d", "-t", "--console-socket", "console", "--pid-file", "pid")
        process = in_background(ours, "sh", "-c", script, options=options)
        master = receive_master(server)
    assert process.wait(timeout=10) == 0
    read_until(master, b"ready")
    os.write(master, b"\x03")
    read_until(master, b"interrupted")
    os.close(master)


# protection


@pytest.mark.parametrize("path", [
    *(f"/proc/self/fd/{number}" for number in (0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 20)),
    "/proc/self/fd/9/../../tmp", "/proc/1/fd/7", "/proc/thread-self/fd/8", "/proc/1/root",
    "/proc/1/cwd", "/nowhere",
])  # fmt: skip
def test_working_directories_stay_inside(alive, tmp_path, path):
    """RT03, RT05, CVE-2024-21626"""
    canary(tmp_path)
    fd = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        done = execute(alive, "sh", "-c", "pwd; ls; ls ../../../..", options=("--cwd", path),
                       pass_fds=(fd,))  # fmt: skip
    finally:
        os.close(fd)
    assert "canary" not in done.stdout or alive.runtime == "crun"  # 1.8.1 is open to it
    if alive.runtime == "minirun-oci":
        assert done.returncode == 125


def test_commands_are_looked_for_inside(alive):
    """RT06"""
    for number in range(3, 16):
        done = execute(alive, f"/proc/self/fd/{number}/bin/sh", "-c", "echo out")
        assert done.returncode != 0 and done.stdout == ""


LOOPER = """while :; do for p in /proc/[0-9]*; do
[ $p = /proc/1 ] || [ $p = /proc/$$ ] || { ( : > $p/exe ) 2> /dev/null && echo opened $p;
read name < $p/comm && case $name in python*|minirun*) cat $p/environ | head -c 1 && echo saw $name;
esac; } 2> /dev/null; done; done > /seen"""


def test_no_python_of_ours_is_seen_inside(ours):
    """RT02, RT29, CVE-2019-5736, CVE-2016-9962: who watches all processes sees no exe to write to,
    and cannot look into those that are not yet the command."""
    ours.process["capabilities"] = {
        kind: [*names, "CAP_DAC_OVERRIDE"]
        for kind, names in ours.process["capabilities"].items()
    }
    start(ours, "sh", "-c", LOOPER)
    before = [fingerprint(path) for path in (INTERPRETER, Path(linux.__file__))]
    for _ in range(50):
        output(ours, "true")
    seen = (ours.rootfs / "seen").read_text()
    assert not {line for line in seen.splitlines() if not line.startswith("opened")}, seen
    assert [fingerprint(path) for path in (INTERPRETER, Path(linux.__file__))] == before


TRACER = r"""
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
/* Seize every process there is; tell of those that are no command yet. */
int main(void) {
    for (;;) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while ((entry = readdir(proc))) {
            int pid = atoi(entry->d_name);
            char path[64], exe[256];
            if (pid < 2) continue;
            if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
                ptrace(PTRACE_INTERRUPT, pid, 0, 0);
                waitpid(pid, 0, __WALL);
                snprintf(path, sizeof path, "/proc/%d/exe", pid);
                ssize_t size = readlink(path, exe, sizeof exe - 1);
                exe[size > 0 ? size : 0] = 0;
                printf("%s\n", exe);
                fflush(stdout);
                ptrace(PTRACE_DETACH, pid, 0, 0);
            }
        }
        closedir(proc);
    }
}
"""


def test_nobody_can_trace_it_before_it_is_the_command(ours):
    """RT29, CVE-2016-9962"""
    source = ours.directory / "tracer.c"
    source.write_text(TRACER)
    if subprocess.run(["cc", "-static", "-O", "-o", ours.rootfs / "bin/tracer", source],
                      check=False).returncode:  # fmt: skip
        pytest.skip("needs a C compiler")
    start(ours, "sh", "-c", "tracer > /seen")
    for _ in range(100):
        execute(ours, "true")
    seen = set((ours.rootfs / "seen").read_text().split("\n"))
    assert seen <= {"", "/bin/busybox"}, seen


def test_no_python_of_the_image_is_ever_run(ours):
    """RT21: all is imported before the container's files are ours."""
    start(ours)
    trace = ours.directory / "trace"
    plain = ours.command
    ours.command = ["strace", "-f", "-e", "trace=%file,setns", "-o", str(trace), *ours.command]
    execute(ours, "no-such-command")
    execute(ours, "true", options=("--cwd", "/nowhere"))
    ours.command = plain
    joined = False
    for line in trace.read_text().splitlines():
        joined |= "setns(" in line
        assert not joined or not (".py" in line and "open" in line), line
    assert joined


def rings(bundle: Bundle) -> int:
    """Keyrings go a moment after the processes that had them."""
    time.sleep(0.5)
    return sum(f"_ses.{bundle.id}" in ring for ring in keyrings())


def test_a_thousand_that_fail_leave_nothing(ours):
    """RL04 (a hundred each time)"""
    start(ours)
    execute(ours, "true")
    before = len(os.listdir(f"/proc/{ours.pid()}/fd")), exec_pids(ours), rings(ours)
    for command in ("nope", "/etc", "/etc/passwd") * 33:
        assert execute(ours, command).returncode in (126, 127)
    after = len(os.listdir(f"/proc/{ours.pid()}/fd")), exec_pids(ours), rings(ours)
    assert after == before


def test_an_exec_that_is_killed_ends(ours):
    """CR10: after a kill -9 of ours at any moment, no half-made process stays."""
    start(ours)
    for pause in (0.005, 0.01, 0.015, 0.02, 0.025):
        process = in_background(ours, "true")
        time.sleep(pause)
        process.kill()
        process.wait()
    deadline = time.monotonic() + 5
    while exec_pids(ours) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert exec_pids(ours) == set()


def test_without_a_pid_namespace_of_its_own(ours):
    """RT02: then our Python is seen inside, and must not be looked into or written to."""
    ours.linux["namespaces"] = [
        entry for entry in ours.linux["namespaces"] if entry["type"] != "pid"
    ]
    looper = "while :; do for p in /proc/[0-9]*; do ( : > $p/exe ) 2> /dev/null; done; done"
    start(ours, "sh", "-c", looper)
    before = fingerprint(INTERPRETER)
    for _ in range(10):
        assert output(ours, "echo", "hello") == "hello\n"
    assert fingerprint(INTERPRETER) == before


def zombies() -> set[int]:
    """Our children that have ended and wait to be reaped."""
    ended = set()
    for pid in children(os.getpid()):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        ended |= {pid} if state == "Z" else set()
    return ended


@pytest.mark.parametrize("command", ["true", "nope", "/etc/passwd"])
def test_no_zombies_are_left_to_our_caller(ours, command):
    """All children of ours are reaped by us, in success or failure: callers may not."""
    start(ours)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    try:
        before = zombies()
        execute(ours, command)
        assert zombies() <= before
    finally:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.parametrize("break_it", [
    lambda config: config["process"].update(args=["nope"]),
    lambda config: config["process"].update(cwd="/proc/self/fd/3"),
    lambda config: config["root"].update(path="nowhere"),
    lambda config: config.update(hooks={"createRuntime": [{"path": "/bin/false"}]}),
    lambda config: config.update(hooks={"createContainer": [{"path": "/bin/false"}]}),
    lambda config: config["linux"]["namespaces"].append({"type": "time", "path": "/nowhere"}),
])  # fmt: skip
def test_no_zombies_are_left_by_a_create_that_fails(ours, break_it):
    break_it(ours.config)
    ours.write()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    try:
        before = zombies()
        assert ours.oci("create", ours.id).returncode != 0
        assert zombies() <= before
    finally:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.parametrize("options", [(), ("--no-new-keyring",)])
def test_keyrings(ours, options):
    """RT47: none of ours, and where keyctl(2) is forbidden, no call of it by exec either."""
    ours.create("sleep", "1000", options=options)
    trace = ours.directory / "trace"
    ours.command = ["strace", "-f", "-e", "trace=keyctl", "-o", str(trace), *ours.command]
    output(ours, "true")
    assert ("keyctl(KEYCTL_JOIN" in trace.read_text()) == (not options)


def test_in_a_pod(bundle, tmp_path):
    """A container that shares the namespaces of another, as those of a Kubernetes pod do."""
    start(bundle)
    sandbox, pid = bundle.id, bundle.pid()
    files = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
    bundle.linux["namespaces"] = [
        {"type": kind, "path": f"/proc/{pid}/ns/{files[kind]}"} if kind in files else {"type": kind}
        for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")
    ]
    del bundle.config["hostname"]
    bundle.id += "b"
    start(bundle, "sleep", "1001")
    shown = output(bundle, "sh", "-c", "echo $$; hostname; ps")
    assert shown.splitlines()[1] == "box" and "sleep 1000" in shown and "sleep 1001" in shown
    process = in_background(bundle, "sleep", "1002")
    time.sleep(0.5)
    bundle.oci("kill", "--all", bundle.id, "KILL", check=True)
    assert process.wait(timeout=10) == 137
    bundle.wait_for("stopped")
    bundle.oci("delete", bundle.id, check=True)
    bundle.id = sandbox
    assert bundle.state()["status"] == "running"


def test_what_the_joiner_said_last_is_heard_though_it_left_our_words_unread():
    """unix(7) tells of words that were never read first, and once: ECONNRESET."""
    ours, theirs = sync.Channel.pair()
    ours.send("filter", 0)
    theirs.send_error(errors.CommandNotFound("nope: not found"))
    theirs.close()
    with pytest.raises(errors.CommandNotFound):
        ours.receive()
