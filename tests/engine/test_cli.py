"""The command line as people and scripts meet it: help, refusals, exit codes, no traceback."""

import doctest
import os
import subprocess
import time

import pytest

from minirun.engine import aliases, group, later
from minirun.engine.commands import run

ALL = list(group.COMMANDS)
FLAGS_OF_DOCKER = {  # `run` in tutorials: the 46 flags that cover 97.6 % of 3,391 command lines
    "-d", "-v", "-i", "-t", "-p", "-e", "--name", "--rm", "--network", "-w", "-h", "-u",
    "--entrypoint", "--env-file", "--privileged", "--restart", "--cap-add", "--cap-drop",
    "--device", "--security-opt", "-m", "--mount", "--shm-size", "--link", "--ip", "--volumes-from",
    "-P", "--tmpfs", "--ulimit", "--log-driver", "--dns-search", "--group-add", "-c",
    "--cpuset-cpus", "--cpus", "--init", "--read-only", "--platform", "-l", "--pid", "--log-opt",
    "--pids-limit",
    "--runtime", "--memory-swap", "--dns", "--help", "--gpus",
}  # fmt: skip


def test_the_examples_in_the_docstrings():
    from minirun.image import bundle

    assert doctest.testmod(bundle).failed == doctest.testmod(aliases).failed == 0


def test_every_flag_that_tutorials_use_works_or_is_refused_with_a_reason():
    known = {name for option in run.OPTIONS for name in option.names}
    assert not [
        flag
        for flag in FLAGS_OF_DOCKER
        if flag not in known and flag != "--help" and not later.flag("run", flag)
    ]
    assert not [flag for flag in later.RUN if flag in known]  # what is there is not refused


@pytest.mark.parametrize(
    "words",
    [
        "run --secret x tiny",
        "create --isolation hyperv tiny",
        "exec x sh",
        "compose up",
        "run --mount type=bind tiny",
        "logs x",
        "swarm init",
        "build .",
    ],
)
def test_what_is_not_there_yet_is_refused_with_a_reason(minirun, words):
    done = minirun(*words.split())
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") <= 2


@pytest.mark.parametrize(
    "words",
    [
        ["--nope"],
        ["nope"],
        ["run"],
        ["run", "--nope", "tiny"],
        ["run", "-m"],
        ["run", "-Z", "tiny"],
        ["run", "--rm=maybe", "tiny"],
        ["run", "--pull", "sometimes", "tiny"],
        ["images", "a", "b"],
        ["inspect"],
        ["tag", "a"],
        ["unpack", "x"],
        ["rm", "../x"],
        ["--root"],
        ["--root", "", "images"],
        ["run", "\x1b[31mred"],
        ["\x1b[31mred"],
        ["run", "--name", "\x1b]0;title\x07", "tiny"],
        ["run", "-e", "=x", "tiny"],
        ["run", "--runtime", "nope", "tiny"],
        ["run", "-v", "x", "tiny"],
    ],
)
def test_rl20_bad_command_lines(minirun, words):
    started = time.monotonic()
    done = minirun(*words)
    assert done.returncode == 125
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "\x1b" not in done.stderr
    assert time.monotonic() - started < 5


def test_a_near_miss_is_guessed(minirun):
    assert "did you mean: minirun inspect?" in minirun("inspct").stderr


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_that_fits_a_terminal(minirun, name):
    done = minirun(name, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith(f"Usage: minirun {name}")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("container ls -a", "ps -a"),
        ("image ls", "images"),
        ("image inspect tiny", "inspect tiny"),
        ("image history tiny", "history tiny"),
    ],
)
def test_long_names_of_commands(minirun, long, short):
    assert minirun.ok(*long.split()) == minirun.ok(*short.split())
    assert minirun.ok("--root", minirun.root, *long.split()) == minirun.ok(*short.split())


def test_a_long_name_is_about_one_kind_of_thing(minirun):
    done = minirun("container", "inspect", "tiny")
    assert (done.returncode, done.stdout) == (125, "[]\n")
    assert "no such container: tiny" in done.stderr


def test_the_overview_lists_every_command(minirun):
    for words in ([], ["--help"], ["-h"]):
        done = minirun(*words)
        assert done.returncode == 0
        assert all(f"\n  {name} " in done.stdout for name in ALL)


def test_switches_may_have_a_value_as_in_docker(minirun):
    minirun.ok("run", "--rm=true", "tiny", "true")
    minirun.ok("run", "--rm=false", "--name", "kept", "tiny", "true")
    assert "kept" in minirun.ok("ps", "-a")
    assert minirun.ok("rm", "kept") == "kept\n"
    # after the image, words belong to the container
    assert minirun.ok("run", "--rm", "tiny", "echo", "--rm=false", "-e") == "--rm=false -e\n"
    assert minirun.ok("run", "--rm", "-e", "--rm=false", "tiny", "echo", "x") == "x\n"


def test_a_reader_that_goes_away_is_no_error(minirun):
    line = subprocess.list2cmdline(minirun.command())
    done = subprocess.run(
        f"{line} run --help | head -n 1",
        shell=True,
        env=minirun.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Usage: ")
    assert done.stderr == ""


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_cr18_an_odd_umask_changes_nothing(minirun, mask):
    old = os.umask(mask)
    try:
        line = "umask; stat -c %a /; cat /etc/hostname /etc/resolv.conf > /dev/null && echo read"
        seen = minirun.ok("run", "--rm", "-u", "65534", "tiny", "sh", "-c", line)
        assert seen == "0022\n755\nread\n"
    finally:
        os.umask(old)


def test_cr18_no_home_no_locale_no_directory(minirun, tmp_path):
    """LANG=C with a name that is no ASCII, no HOME, a working directory that was removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    line = subprocess.list2cmdline(minirun.command())
    script = f"rmdir {gone}; exec {line} run --rm -e A=ä tiny sh -c 'echo $A'"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=gone,
        capture_output=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LANG": "C", "MINIRUN_ROOT": str(minirun.root)},
    )
    assert (done.returncode, done.stdout) == (0, "ä\n".encode()), done.stderr


def test_sigterm_undoes_what_is_half_done(minirun, tmp_path):
    """A layer that never ends (a FIFO that nobody writes to), and somebody who loses patience."""
    layer, directory = tmp_path / "layer.tar", tmp_path / "root"
    os.mkfifo(layer)
    unpacking = minirun.start("unpack", layer, "--into", directory)
    while not (directory.is_dir() and list(directory.iterdir())):
        assert unpacking.poll() is None
        time.sleep(0.01)
    unpacking.terminate()
    assert unpacking.wait(10) == 128 + 15
    assert not directory.exists()
