"""``exec``: one more process in a container that runs. RL04, RT49"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.screen import Screen
from tests.waiting import wait_for


@pytest.fixture
def web(minirun):
    """A container called web, in the background."""
    out = minirun.ok("run", "-d", "--name", "web", "-e", "FROM=run", "tiny", "sleep", "1000")
    yield out.strip()
    minirun("rm", "-f", "web")


@pytest.fixture
def screen(minirun, web):
    opened = []

    def open_one(*words, **options):
        opened.append(Screen([*minirun.command(), "exec", *words], minirun.env, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def processes(minirun) -> str:
    return minirun.ok("exec", "web", "ps")


def files(minirun, ident) -> set[str]:
    return set(os.listdir(minirun.root / "lib/containers" / ident))


@pytest.mark.parametrize("command, code, out", [
    (("echo", "hi"), 0, "hi\n"),
    (("sh", "-c", "echo out; echo err >&2; exit 7"), 7, "out\n"),
    (("sh", "-c", "kill -9 $$"), 137, ""),
    (("sh", "-c", "kill -TERM $$"), 143, ""),
    (("no-such-command",), 127, ""),
    (("/etc",), 126, ""),
    (("/etc/passwd",), 126, ""),
])
def test_exit_codes_and_output(minirun, web, command, code, out):
    done = minirun("exec", "web", *command)
    assert (done.returncode, done.stdout) == (code, out), done.stderr


def test_it_begins_as_the_first_process_did_but_for_what_is_asked(minirun, web):
    line = "echo $FROM $MORE $HOME; pwd; id -u"
    assert minirun.ok("exec", "web", "sh", "-c", line) == "run /root\n/\n0\n"
    out = minirun.ok("exec", "-e", "FROM=exec", "--env=MORE", "-w", "/tmp", "-u", "12:34", "web",
                     "sh", "-c", line, env={"MORE": "ours"})
    assert out == "exec ours /\n/tmp\n12\n"


def test_env_file(minirun, web, tmp_path):
    (tmp_path / "env").write_text("# a comment\nA=b c\n")
    out = minirun.ok("exec", "--env-file", tmp_path / "env", "web", "sh", "-c", 'echo "$A"')
    assert out == "b c\n"


def test_it_is_in_the_same_namespaces_and_cgroup(minirun, web):
    pid = minirun.ok("inspect", "-f", "{{.State.Pid}}", "web").strip()
    for kind in ("pid", "mnt", "net", "ipc", "uts", "cgroup"):
        inside = minirun.ok("exec", "web", "readlink", f"/proc/self/ns/{kind}").strip()
        assert os.readlink(f"/proc/{pid}/ns/{kind}") == inside
    line = minirun.start("exec", "web", "sh", "-c", "echo ready; exec sleep 1000")
    line.stdout.readline()
    (other,) = {word for word in minirun.ok("top", "web", "-o", "pid").split()[1:] if word != pid}
    assert Path(f"/proc/{other}/cgroup").read_text() == Path(f"/proc/{pid}/cgroup").read_text()
    line.terminate()
    line.communicate()


def test_privileged_is_all_capabilities_and_without_it_few(minirun, web):
    def effective(*options):
        out = minirun.ok("exec", *options, "web", "grep", "CapEff", "/proc/self/status")
        return int(out.split()[1], 16)

    first = minirun.ok("exec", "web", "grep", "CapEff", "/proc/1/status")
    assert effective() == int(first.split()[1], 16)
    bounding = Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0]
    assert effective("--privileged") == int(bounding, 16)


def test_input_is_passed_on_only_with_i(minirun, web):
    assert minirun.ok("exec", "-i", "web", "cat", input="some\ntext") == "some\ntext"
    assert minirun.ok("exec", "web", "cat", input="some\ntext") == ""


def test_what_it_writes_is_not_in_the_container_s_log(minirun, web):
    minirun.ok("exec", "web", "echo", "hi")
    assert minirun.ok("logs", "web") == ""


def test_many_bytes_both_ways(minirun, web):
    data = os.urandom(5_000_000).hex()
    assert minirun.ok("exec", "-i", "web", "cat", input=data) == data


def test_detached_it_leaves_no_stream_of_ours_open(minirun, web):
    line = [*minirun.command(), "exec", "-d", "web", "sh", "-c", "echo x; sleep 2; touch /done"]
    start = time.monotonic()
    done = subprocess.run(line, env=minirun.env, capture_output=True, check=True, timeout=20)
    assert time.monotonic() - start < 1.8
    assert (done.stdout, done.stderr) == (b"", b"")
    wait_for(lambda: minirun("exec", "web", "test", "-e", "/done").returncode == 0)


def test_detached_it_tells_why_it_could_not_start(minirun, web):
    done = minirun("exec", "-d", "web", "no-such-command")
    assert done.returncode == 127
    assert "no-such-command" in done.stderr


def test_rt49_where_nothing_runs_nothing_is_executed(minirun, web):
    done = minirun("exec", "nope", "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (125, "error: no such container: nope")
    minirun.ok("kill", "web")
    minirun.ok("wait", "web")
    done = minirun("exec", "web", "true")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        125, "error: container web is not running")
    minirun.ok("create", "--name", "new", "tiny", "true")
    assert minirun("exec", "new", "true").returncode == 125


def test_rt49_a_paused_container_is_left_alone(minirun, web):
    minirun.ok("pause", "web")
    done = minirun("exec", "web", "true")
    minirun.ok("unpause", "web")
    assert (done.returncode, done.stderr) == (
        125, "error: container web is paused\nhint: minirun unpause web\n")
    minirun.ok("exec", "web", "true")


def test_signals_to_us_are_passed_on(minirun, web):
    line = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    one = minirun.start("exec", "web", "sh", "-c", line)
    assert one.stdout.readline() == "ready\n"
    one.send_signal(signal.SIGTERM)
    assert one.communicate(timeout=20)[0] == "got it\n"
    assert one.returncode == 5


def test_the_container_s_end_is_the_end_of_all(minirun, web):
    one = minirun.start("exec", "web", "sh", "-c", "echo ready; exec sleep 100")
    assert one.stdout.readline() == "ready\n"
    minirun.ok("rm", "-f", "web")
    assert one.wait(timeout=20) == 137
    one.communicate()


def test_rl04_a_hundred_that_cannot_start_leave_nothing(minirun, web, residue):
    before = files(minirun, web)
    for _ in range(50):
        assert minirun("exec", "web", "no-such-command").returncode == 127
        assert minirun("exec", "-d", "-w", "/nowhere", "web", "true").returncode == 125
    assert files(minirun, web) == before
    assert len(processes(minirun).splitlines()) == 3


def test_a_shell_at_a_terminal(screen, minirun, web):
    before = files(minirun, web)
    shell = screen("-it", "web", "sh", size=(30, 100))
    shell.expect("/ # ")
    shell.type("stty size; tty; echo $TERM\r")
    text = shell.expect("xterm\r\n")
    assert "30 100\r\n/dev/pts/0\r\n" in text
    shell.resize(40, 120)
    wait_for(lambda: says(shell, "stty size", "40 120"))
    shell.type("exit 7\r")
    assert shell.finish() == 7
    assert files(minirun, web) == before


def says(shell: Screen, command: str, answer: str) -> bool:
    shell.type(f"echo now $({command})\r")
    shell.expect("\r\nnow ")
    return shell.expect("\r\n") == answer


def test_the_terminal_s_size_is_right_from_the_first_instruction(screen):
    one = screen("-it", "web", "stty", "size", size=(33, 44))
    one.expect("33 44")
    assert one.finish() == 0


def test_a_terminal_is_wanted_for_it(minirun, web):
    done = minirun("exec", "-it", "web", "true")
    assert done.returncode != 0
    assert "stdin is not a terminal" in done.stderr
    assert minirun.ok("exec", "-t", "web", "tty") == "/dev/pts/0\r\n"


@pytest.mark.parametrize("options, keys", [
    ((), "\x10\x11"), (("--detach-keys", "x,ctrl-a"), "x\x01"),
])
def test_rl05_the_keys_that_let_go_leave_it_running(screen, minirun, options, keys):
    shell = screen(*options, "-it", "web", "sh")
    shell.expect("/ # ")
    shell.type("sleep 1234\r")
    wait_for(lambda: "sleep 1234" in processes(minirun))
    shell.type(keys)
    assert shell.finish() == 0
    time.sleep(0.5)
    assert "sleep 1234" in processes(minirun)


def test_detached_with_a_terminal_it_keeps_it(minirun, web):
    minirun.ok("exec", "-dt", "web", "sh", "-c", "tty > /tty; exec sleep 1234")
    wait_for(lambda: "sleep 1234" in processes(minirun))
    assert minirun.ok("exec", "web", "cat", "/tty") == "/dev/pts/0\n"


def test_exec_by_another_runtime(minirun):
    for runtime in ("runc", "crun"):
        if minirun("run", "--runtime", runtime, "--rm", "tiny", "true").returncode:
            pytest.skip(f"no {runtime} here")
        minirun.ok("run", "-d", "--runtime", runtime, "--name", "other", "tiny", "sleep", "1000")
        try:
            assert minirun.ok("exec", "-e", "A=b", "other", "sh", "-c", "echo $A") == "b\n"
            assert minirun("exec", "other", "no-such-command").returncode == 127
            assert minirun("exec", "other", "sh", "-c", "exit 7").returncode == 7
        finally:
            minirun.ok("rm", "-f", "other")
