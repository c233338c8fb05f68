"""Limits bite: memory, processes, CPU. Measured from outside, or by what the kernel does."""

import time

import pytest

HOG = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"


def test_memory_ends_a_hog_with_137_and_the_words(minirun, residue):
    done = minirun("run", "--rm", "-m", "32m", "tiny", "sh", "-c", HOG)
    assert done.returncode == 137
    assert "killed by the out-of-memory killer" in done.stderr
    assert "32" in done.stderr


def test_memory_without_a_limit_tells_no_such_words(minirun):
    done = minirun("run", "--rm", "tiny", "sh", "-c", "kill -9 $$; exit 3")
    assert done.returncode == 3  # PID 1 cannot kill itself: kill(2), notes
    assert "out-of-memory" not in done.stderr


def test_memory_within_the_limit_is_given(minirun):
    line = "head -c 20000000 /dev/zero | tail -c 20000000 | wc -c"
    assert minirun.ok("run", "--rm", "-m", "64m", "tiny", "sh", "-c", line).strip() == "20000000"


def test_a_tmpfs_counts_as_memory(minirun):
    """HD: /dev/shm is no way around the limit (it holds 64 MB)."""
    line = "head -c 60000000 /dev/zero > /dev/shm/x"
    assert minirun("run", "--rm", "-m", "32m", "tiny", "sh", "-c", line).returncode == 137


@pytest.mark.parametrize("limit", [8, 20])
def test_pids_stop_a_fork_bomb(minirun, limit, residue):
    """RL09: the shell and its children are never more than the limit, and the rest fails."""
    line = "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; ls -d /proc/[0-9]* | wc -l"
    start = time.monotonic()
    done = minirun("run", "--rm", "--pids-limit", limit, "tiny", "sh", "-c", line + "; true")
    assert "fork" in done.stderr
    assert int(done.stdout.split()[-1] if done.stdout.split() else 0) <= limit
    assert time.monotonic() - start < 20


BURN = ("read start rest < /proc/uptime; timeout 3 sh -c 'while :; do :; done'; "
        "read end rest < /proc/uptime; echo $start $end; times")


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_cpu_share_is_kept_within_a_tenth(minirun, share):
    """RL10. Other work on the machine can only take time away: the best of three counts."""
    used = max(burnt(minirun.ok("run", "--rm", "--cpus", share, "tiny", "sh", "-c", BURN))
               for _ in range(3))
    assert used == pytest.approx(share, rel=0.1)


def burnt(said: str) -> float:
    """CPU seconds for each second of the clock, by what times(1) and /proc/uptime told."""
    clock, _, children = said.splitlines()
    start, end = map(float, clock.split())
    return sum(map(seconds, children.split())) / (end - start)


def seconds(text: str) -> float:
    """``0m1.23s`` as times(1) prints it."""
    minutes, _, rest = text.rstrip("s").partition("m")
    return int(minutes) * 60 + float(rest)
