"""A container that changes a path while the runtime walks it: RT08, RT18, CVE-2021-30465."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundles import Bundle, bind, canary, mount, seen
from tests.runtime.test_rootfs import without

EXCHANGE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (;;) {
        syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE);
        usleep(50);  /* both names are true for about as long as a walk takes */
    }
}
"""


@contextlib.contextmanager
def exchanged(directory: Path, one: Path, other: Path) -> Iterator[None]:
    """Two names are exchanged all the time, as another container could do in a shared volume."""
    source, program = directory / "exchange.c", directory / "exchange"
    source.write_text(EXCHANGE.replace("RENAME_EXCHANGE", "2"))
    subprocess.run(["gcc", "-o", program, source], check=True)
    with subprocess.Popen([program, one, other]) as looper:
        try:
            yield
        finally:
            looper.kill()


def run_often(bundle: Bundle, times: int) -> list[subprocess.CompletedProcess]:
    identifier, runs = bundle.id, []
    for number in range(times):
        bundle.id = f"{identifier}-{number}"
        runs.append(bundle.run())
    return runs


def mount_race(bundle: Bundle, times: int) -> None:
    tree = canary(bundle.directory)
    (tree / "directory/inner").mkdir()
    before, host = seen(tree), Path("/proc/self/mountinfo").read_text().count("\n")
    volume = bundle.directory / "volume"
    (volume / "way/inner").mkdir(parents=True)
    (volume / "other").symlink_to(tree / "directory")
    bundle.config["mounts"] += [
        bind(volume, "/volume"), mount("/volume/way/inner", "tmpfs"),
        mount("/volume/way/new", "tmpfs"), bind(tree / "file", "/volume/way/file"),
    ]  # fmt: skip
    bundle.process["args"] = ["cat", "/proc/self/mountinfo"]
    with exchanged(bundle.directory, volume / "way", volume / "other"):
        runs = run_often(bundle, times)
    assert seen(tree) == before
    assert abs(Path("/proc/self/mountinfo").read_text().count("\n") - host) < 3
    assert any(done.returncode == 0 for done in runs)
    for done in runs:
        assert done.returncode == 0 or bundle.runtime != "minirun-oci" or "mounts[" in done.stderr


def test_mounts_below_a_path_that_changes(bundle):
    """RT08: nothing is made or mounted outside the root (red with runc 1.1.5)."""
    if bundle.runtime == "runc":
        pytest.skip("runc 1.1.5 makes files outside now and then")
    mount_race(bundle, 30)


@pytest.mark.slow
def test_mounts_below_a_path_that_changes_2000_times(ours):
    """RT08"""
    mount_race(ours, 2000)


def terminal_race(bundle: Bundle, times: int) -> None:
    without(bundle, "/dev", "/dev/shm", "/dev/mqueue")
    tree = canary(bundle.directory)
    (tree / "directory/ptmx").write_text("")
    before = seen(tree)
    volume = bundle.directory / "volume"
    (volume / "pts").mkdir(parents=True)
    (volume / "null").touch()
    (volume / "other").symlink_to(tree / "directory")
    bundle.config["mounts"].insert(0, bind(volume, "/dev"))
    bundle.process.update(terminal=True, args=["sh", "-c", "readlink /proc/self/fd/0; stat -L -c"
                                               "'%F %t' /proc/self/fd/0 /dev/console"])  # fmt: skip
    with exchanged(bundle.directory, volume / "pts", volume / "other"):
        runs = run_often(bundle, times)
    assert seen(tree) == before
    shown = [done.stdout.splitlines() for done in runs if done.returncode == 0]
    assert shown
    for path, *kinds in shown:
        assert path.strip() in ("/dev/pts/0", "/dev/other/0"), "a terminal of the container's"
        assert [kind.strip() for kind in kinds] == ["character special file 88"] * 2


def test_a_terminal_whose_path_changes(ours):
    """RT18: the slave is had from its master, not by its path; major 136 is a pseudo-terminal."""
    terminal_race(ours, 30)


@pytest.mark.slow
def test_a_terminal_whose_path_changes_500_times(ours):
    """RT18"""
    terminal_race(ours, 500)


# RT13, CVE-2025-52881: what is written to /proc goes there, or nowhere

OVER = {
    "tmpfs over a directory": "mount -t tmpfs t /proc/sys/kernel; "
                              "touch /proc/sys/kernel/domainname",
    "file over the file": "mount --bind {file} /proc/sys/kernel/domainname",
    "another file of /proc": "mount --bind /proc/self/comm /proc/sys/kernel/domainname",
    "a part of /proc over /proc": "mount --bind /proc/sys /proc",
    "tmpfs over /proc": "mount -t tmpfs t /proc; mkdir -p /proc/sys/kernel /proc/self; "
                        "touch /proc/sys/kernel/domainname /proc/self/oom_score_adj",
}  # fmt: skip


@pytest.mark.parametrize("way", OVER)
def test_writes_to_a_proc_that_is_hidden(ours, way):
    """RT13"""
    file = ours.directory / "file"
    file.write_text("untouched")
    ours.linux["sysctl"] = {"kernel.domainname": "inner"}
    ours.process["oomScoreAdj"] = 100
    script = (
        f'{OVER[way].format(file=file)}; "$@"; code=$?;'
        "for f in /proc/sys/kernel/domainname /proc/self/oom_score_adj; do"
        "  [ -f $f ] && [ $(stat -f -c %T $f) = tmpfs ] && cat $f >&2; done; exit $code"
    )
    ours.command = ["unshare", "--mount", "sh", "-c", script, "sh", *ours.command]
    ours.write()
    done = ours.oci("run", ours.id)
    assert done.returncode == 125 and done.stderr.startswith("error: "), done.stderr
    assert len(done.stderr.splitlines()) == 1, "nothing was written to what lay there"
    assert file.read_text() == "untouched"


def test_the_same_where_nothing_is_hidden(ours):
    ours.linux["sysctl"] = {"kernel.domainname": "inner"}
    ours.process["oomScoreAdj"] = 100
    assert ours.sh("cat /proc/sys/kernel/domainname /proc/self/oom_score_adj") == "inner\n100\n"
