"""The process 1 of --init: run for real, as an ordinary process, and as process 1."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from minirun.engine import reaper
from tests import listing
from tests.waiting import wait_for

QEMU = {"x86_64": [], "aarch64": ["qemu-aarch64-static"]}
MACHINES = [os.uname().machine, *(m for m in reaper.MACHINES if m != os.uname().machine)]


@pytest.fixture(params=MACHINES)
def start(request, tmp_path):
    """Start a command below the reaper: of this machine, and of others through an emulator."""
    machine = request.param
    emulator = [] if machine == os.uname().machine else QEMU.get(machine) or pytest.skip("foreign")
    if emulator and not shutil.which(emulator[0]):
        pytest.skip(f"needs {emulator[0]}")

    def start(*command, path="/usr/sbin:/usr/bin:/bin", **options):
        file = tmp_path / "init"
        paths = reaper.candidates(command[0], [f"PATH={path}"])
        file.write_bytes(reaper.build(machine, command[0], paths))
        file.chmod(0o755)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*emulator, file, "--", *command], **streams | options)

    return start


def finish(process):
    shown, said = process.communicate(timeout=20)
    return process.returncode, shown, said


def test_the_command_has_its_arguments_and_environment(start):
    process = start("sh", "-c", 'echo "$0-$1-$A"', "a b", "", env={"A": "x"})
    assert finish(process) == (0, "a b--x\n", "")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 42", 42), ("exit 255", 255), ("kill -9 $$", 137), ("kill $$", 143)],
)
def test_its_exit_code_is_the_commands(start, script, code):
    assert finish(start("sh", "-c", script))[0] == code


def test_a_command_that_is_not_there_or_cannot_be_executed(start, tmp_path):
    (tmp_path / "no-program").touch(0o644)
    path = f"/nowhere:{tmp_path}/no-program:{tmp_path}:/bin"
    missing = "error: nope: no such command in the container\n"
    assert finish(start("nope", path=path)) == (127, "", missing)
    denied = "error: no-program: cannot be executed\n"
    assert finish(start("no-program", path=path)) == (126, "", denied)
    assert finish(start("/etc")) == (126, "", "error: /etc: cannot be executed\n")


@pytest.mark.parametrize("number", [1, 2, 3, 10, 12, 15, 23, 28, 34, 64])
def test_signals_are_passed_on(start, number):
    """Also those that would end it, stop it, or do nothing."""
    if number == 28 and not hasattr(signal, "SIGWINCH"):
        pytest.skip("no SIGWINCH")
    script = f"trap 'echo got; exit 7' {number}; echo ready; while :; do sleep 0.05; done"
    process = start("bash", "-c", script)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert finish(process)[:2] == (7, "got\n")


def test_no_signal_is_blocked_in_the_command(start):
    shown = finish(start("grep", "SigBlk", "/proc/self/status"))[1]
    assert int(shown.split()[1], 16) == 0


def test_rl01_a_thousand_orphans_leave_no_zombie(start):
    """It is no process 1 here, so it must be their subreaper."""
    script = "for i in $(seq 1000); do (true & ) ; done; echo made; read answer"
    process = start("bash", "-c", script, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "made\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(lambda: len(children.read_text().split()) == 1)
    assert finish(process)[0] == 1


def test_the_command_has_the_terminal(tmp_path):
    """Its process group is the one in the foreground: ^C is for it, and not for process 1."""
    pid, master = os.forkpty()
    if pid == 0:
        file = tmp_path / "init"
        file.write_bytes(reaper.build(os.uname().machine, "bash", ["/bin/bash"]))
        file.chmod(0o755)
        script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done"
        os.execv(file, ["init", "--", "bash", "-c", script])
    said = b""
    while b"ready" not in said:
        said += os.read(master, 100)
    os.write(master, b"\x03")
    while b"interrupted" not in said:
        said += os.read(master, 100)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    os.close(master)


def test_it_is_small_and_holds_nothing_to_write_to():
    for machine in reaper.MACHINES:
        file = reaper.build(machine, "sh", reaper.candidates("sh", []))
        assert file[:4] == b"\x7fELF" and len(file) < 1000


@pytest.mark.parametrize("machine", reaper.MACHINES)
def test_the_listing_is_what_the_assembler_says(tmp_path, machine):
    code = reaper.MACHINES[machine][0]
    assembled = listing.assemble(tmp_path, reaper, machine, [".balign 8", "data:"])
    assert assembled[: len(code)] == code and len(assembled) - len(code) < 8


def test_rl01_in_a_container(minirun, residue):
    """Process 1 is the reaper, without it the command; what an orphan leaves is reaped."""
    show = "tr '\\0' ' ' < /proc/1/cmdline"
    assert minirun.ok("run", "--rm", "--init", "tiny", "sh", "-c", show).startswith(
        "/sbin/docker-init -- sh -c"
    )
    count = "for i in $(seq 50); do (true & ) ; done; sleep 0.2; grep -c '^State:.Z' /proc/*/status"
    zombies = "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"
    script = count.replace("grep -c '^State:.Z' /proc/*/status", zombies)
    assert minirun.ok("run", "--rm", "--init", "tiny", "sh", "-c", script).strip() == "0"


def test_exit_codes_through_a_container(minirun):
    run = ("run", "--rm", "--init", "tiny")
    assert minirun(*run, "sh", "-c", "exit 42").returncode == 42
    assert minirun(*run, "sh", "-c", "kill -9 $$").returncode == 137
    assert minirun(*run, "nope").returncode == 127
    assert minirun(*run, "/etc").returncode == 126


def test_the_file_is_the_containers_own_and_read_only(minirun):
    script = "echo x > /sbin/docker-init"
    done = minirun("run", "--rm", "--init", "tiny", "sh", "-c", script)
    assert done.returncode != 0 and "Read-only" in done.stderr


