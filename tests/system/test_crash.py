"""Nothing is left behind: not by many runs, not by a kill -9 at any moment (CR02, CR12, RL13)."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.residue import descendants
from tests.waiting import wait_for

RUNS, KILLS = 200, 50


def test_many_runs_leave_nothing(minirun, residue):
    """RL13; the store and the records of containers are as small afterwards as after one run."""
    minirun.ok("run", "--rm", "tiny", "true")
    before = files(minirun.root)
    for _ in range(RUNS):
        minirun.ok("run", "--rm", "tiny", "true")
    assert files(minirun.root) == before


def test_runs_at_the_same_time_leave_nothing(minirun, residue):
    """RL11, in small: 16 containers at once, each the only one it knows of."""
    minirun.ok("run", "--rm", "tiny", "true")
    before = files(minirun.root)
    line = "sleep 0.3; ls -d /proc/[0-9]* | wc -l"
    runs = [minirun.start("run", "--rm", "tiny", "sh", "-c", line) for _ in range(16)]
    for run in runs:
        stdout, stderr = run.communicate(timeout=60)
        assert run.returncode == 0, stderr
        assert int(stdout) <= 4
    assert files(minirun.root) == before


@pytest.mark.parametrize("victim", ["minirun", "minirun-oci"])
def test_kill_at_any_moment_leaves_nothing_after_the_next_command(minirun, victim, residue):
    """CR02, CR12: at random moments; what a dead owner left, the next command clears away."""
    minirun.ok("run", "--rm", "tiny", "true")
    before = files(minirun.root)
    length = timed(lambda: minirun.ok("run", "--rm", "tiny", "sleep", "0.1"))
    moments = random.Random(7)  # the same moments every time
    for _ in range(KILLS // 2):
        run = minirun.start("run", "--rm", "tiny", "sleep", "0.1")
        time.sleep(moments.uniform(0, length))
        kill(run, victim)
        run.communicate(timeout=30)
    minirun.ok("run", "--rm", "tiny", "true")
    wait_for(lambda: files(minirun.root) == before)  # monitors outlive the command that was killed


def kill(run: subprocess.Popen, victim: str) -> None:
    """Kill minirun itself, or every process below it that still is minirun-oci."""
    if victim == "minirun":
        run.kill()
        return
    for process in descendants(run.pid):
        pid, _, command = process.partition(" ")
        if "minirun-oci" in command:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}
