"""An attached container: signals go in, bytes go through, exit codes come out."""

import hashlib
import os
import signal
import subprocess
import threading
import time

import pytest

TRAPS = 'for s in HUP INT QUIT USR1 USR2 TERM WINCH CONT TSTP; do trap "echo $s" $s; done; '
READY = "echo ready; while :; do sleep 0.05; done"

# Perl (always there on Debian) leaves its signals as it found them; shells and Python do not.
LOOK = r"""#!/usr/bin/perl
use Cwd;
open(my $status, "<", "/proc/self/status");
while (<$status>) { print "$1 " if /^Sig(?:Blk|Ign):\s*(\S+)/ }
print getpgrp(), " $$ ", getcwd();
"""


@pytest.fixture
def started(minirun):
    """Start containers, and see that none outlives the test."""
    running = []

    def start(*words, **options):
        run = minirun.start("run", "--rm", *words, **options)
        running.append(run)
        return run

    yield start
    for run in running:
        if run.poll() is None:
            run.kill()
        run.wait()
    if names := minirun.ok("ps", "-aq").split():
        minirun.ok("rm", "-f", *names)


@pytest.mark.parametrize(
    "name", ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH", "CONT", "TSTP"]
)
def test_rl02_signals_arrive_as_they_were_sent(started, name):
    run = started("tiny", "sh", "-c", TRAPS + READY)
    assert run.stdout.readline() == "ready\n"
    run.send_signal(getattr(signal, f"SIG{name}"))
    assert run.stdout.readline() == f"{name}\n"
    run.send_signal(signal.SIGTERM)


def test_the_runtime_starts_in_a_clean_state(minirun, tmp_path):
    """A process group of its own, so that it hears of a ^C once, through us; and no signal blocked
    or ignored: RL06, a container that ignores SIGPIPE never ends; and a shell ignores SIGINT for
    all that a script puts in the background."""

    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    runtime = tmp_path / "runtime"
    runtime.write_text(LOOK)
    runtime.chmod(0o755)
    done = minirun("run", "--rm", "--runtime", runtime, "tiny", preexec_fn=ignore)
    assert done.returncode == 125  # it has started nothing
    seen = done.stdout
    blocked, ignored, group, pid, directory = seen.split()
    assert int(blocked, 16) == 0
    mask = int(ignored, 16)
    assert not [s for s in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ) if mask & 1 << s - 1]
    assert group == pid
    assert directory.startswith(str(minirun.root / "lib/containers"))


def test_a_signal_before_the_container_runs_is_not_lost(started):
    """Sent again and again from the very start on, one of them ends it, wherever it finds it."""
    run = started("tiny", "sh", "-c", "trap 'exit 9' TERM; " + READY)
    deadline = time.monotonic() + 20
    while run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.03)
        run.send_signal(signal.SIGTERM)
    assert run.returncode in (9, 128 + signal.SIGTERM, -signal.SIGTERM)


def test_nohup_keeps_hangups_away(started):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    run = started(
        "tiny",
        "sh",
        "-c",
        "trap 'echo HUP' HUP; trap 'echo USR1' USR1; " + READY,
        preexec_fn=ignore,
    )
    assert run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    run.send_signal(signal.SIGUSR1)
    assert run.stdout.readline() == "USR1\n"


def test_a_caller_that_ignores_the_end_of_its_children_gets_the_exit_code(minirun):
    def ignore():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    assert minirun("run", "--rm", "tiny", "sh", "-c", "exit 7", preexec_fn=ignore).returncode == 7


@pytest.mark.parametrize("code", [0, 1, 2, 124, 125, 126, 127, 128, 130, 255])
def test_rl03_the_commands_own_exit_code(minirun, code):
    assert minirun("run", "--rm", "tiny", "sh", "-c", f"exit {code}").returncode == code


def test_rl03_killed_from_inside_is_128_plus_n(minirun):
    line = "sh -c 'kill -9 $$'; exit $?"
    assert minirun("run", "--rm", "tiny", "sh", "-c", line).returncode == 137


def test_output_goes_where_it_was_sent(minirun):
    done = minirun("run", "--rm", "tiny", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_rl06_without_i_standard_input_is_empty(minirun):
    assert minirun.ok("run", "--rm", "tiny", "cat", input="never seen") == ""
    assert minirun.ok("run", "--rm", "-i", "tiny", "cat", input="seen") == "seen"


def test_rl06_a_hundred_megabytes_come_back_unchanged(minirun):
    data = os.urandom(1 << 20) * 100
    done = subprocess.run(
        [*minirun.command(), "run", "--rm", "-i", "tiny", "cat"],
        input=data,
        env=minirun.env,
        capture_output=True,
        check=False,
    )
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.returncode == 0


def test_rl06_a_reader_that_leaves_ends_the_writer(minirun):
    """SIGPIPE must not be ignored in the container, as it is in Python."""
    line = subprocess.list2cmdline(minirun.command())
    script = f"{line} run --rm tiny yes | head -n 1"
    done = subprocess.run(
        script, shell=True, env=minirun.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "y\n"


def test_the_container_has_no_descriptor_of_ours(minirun):
    line = "ls -l /proc/1/fd | grep -v '/proc/\\|/dev/\\|pipe:\\|total' | wc -l"
    inherited = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    try:
        files = minirun.ok(
            "run", "--rm", "tiny", "sh", "-c", "ls /proc/self/fd; " + line, close_fds=False
        )
    finally:
        os.close(inherited)
    assert files.split()[:3] == ["0", "1", "2"]


def test_another_command_sees_it_run_and_can_remove_it(minirun, started):
    run = started("--name", "web", "tiny", "sh", "-c", READY)
    assert run.stdout.readline() == "ready\n"
    row = minirun.ok("ps").splitlines()[1]
    assert "web" in row and "Up " in row
    refused = minirun("rm", "web")
    assert refused.returncode == 125 and "rm -f" in refused.stderr
    assert minirun.ok("rm", "-f", "web") == "web\n"
    assert run.wait(timeout=10) == 137, run.stderr.read()
    assert len(minirun.ok("ps", "-a").splitlines()) == 1


def test_without_rm_the_record_stays_and_what_was_written(minirun, residue):
    assert (
        minirun("run", "--name", "web", "tiny", "sh", "-c", "echo x > /file; exit 3").returncode
        == 3
    )
    assert "Exited (3)" in minirun.ok("ps", "-a")
    found = minirun.root / "lib/containers"
    (directory,) = found.iterdir()
    assert (directory / "upper/file").read_text() == "x\n"
    minirun.ok("rm", "web")
    assert list(found.iterdir()) == []


def test_a_container_survives_the_death_of_its_command_line(minirun, residue):
    run = minirun.start("run", "--rm", "--name", "web", "tiny", "sh", "-c", READY)
    assert run.stdout.readline() == "ready\n"
    run.kill()
    run.wait()
    assert "Up " in minirun.ok("ps")
    assert minirun.ok("logs", "web") == "ready\n"
    minirun.ok("stop", "-t", "0", "web")
    assert minirun.ok("ps", "-aq") == ""
    assert list((minirun.root / "lib/containers").iterdir()) == []


def test_slow_readers_lose_nothing(minirun):
    run = minirun.start("run", "--rm", "tiny", "seq", "200000")
    seen = []
    reader = threading.Thread(target=lambda: seen.append(run.stdout.read()))
    time.sleep(1)
    reader.start()
    reader.join(30)
    assert seen[0].split()[-1] == "200000"
    assert run.wait() == 0
