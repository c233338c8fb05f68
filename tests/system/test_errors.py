"""What goes wrong says what, why and what to do, and ends with Docker's exit code; no traceback.

RL03, RL20: 125 is ours, 126 cannot be executed, 127 is not there, 128+n was ended by signal n.
"""

import os
import shlex
import struct

import pytest

from tests import images

ELF_OTHER = (b"\x7fELF\x02\x01\x01" + bytes(9)
             + struct.pack("<HHIQQQIHHHHHH", 2, 8, 1, 0x400000, 0, 0, 0, 64, 56, 0, 64, 0, 0))
FILES = [
    images.file("bin/data", "no program\x00\x01", 0o755),
    images.file("bin/not-executable", "#!/bin/sh\necho\n", 0o644),
    images.file("bin/crlf", "#!/bin/sh\r\necho\r\n", 0o755),
    images.file("bin/no-interpreter", "#!/opt/python3.99\n", 0o755),
    images.file("bin/mips", ELF_OTHER, 0o755),
    images.file("bin/fine", "#!/bin/sh\necho fine $1\n", 0o755),
]
BAD_COMMANDS = [
    ("/bin/nope", 127, "/bin/nope"), ("nope", 127, "nope"), ("", 127, ""),
    ("/etc", 126, "is a directory"), ("/bin/not-executable", 126, "not executable"),
    ("/bin/crlf", 126, "CR LF"), ("/bin/no-interpreter", 126, "/opt/python3.99"),
    ("/bin/mips", 126, "mips"), ("/etc/passwd/x", 127, "/etc/passwd"),
]


@pytest.fixture(scope="module")
def bad(plain, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("bad")
    entries = images.busybox_entries(images.machine()) + FILES
    layout = images.make(scratch, entries, "--config.env", "PATH=/bin")
    return plain.push(layout, "public/bad:latest")


@pytest.mark.parametrize(("command", "code", "reason"), BAD_COMMANDS)
def test_a_command_that_cannot_run_says_why(minirun, bad, command, code, reason, residue):
    done = minirun("run", "--rm", bad, command)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "error: " in done.stderr and reason in done.stderr


def test_a_script_runs(minirun, bad):
    assert minirun.ok("run", "--rm", bad, "/bin/fine", "x") == "fine x\n"


@pytest.mark.parametrize("code", [0, 1, 42, 125, 126, 127, 128, 255])
def test_the_exit_code_is_the_commands(minirun, code):
    assert minirun("run", "--rm", "tiny", "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [2, 9, 15, 34])
def test_a_signal_is_128_and_its_number(minirun, number):
    """PID 1 is spared the default action, so its child dies, and the shell passes the code on."""
    line = f"sh -c 'kill -{number} $$'; exit $?"
    assert minirun("run", "--rm", "tiny", "sh", "-c", line).returncode == 128 + number


BAD_LINES = """
run
nope
run --nope tiny
run -m lots tiny
run -m 1 tiny
run --cpus -1 tiny
run --cpus 1000000 tiny
run -v relative:x:z:z tiny
run -w relative tiny
run -u nobody-here tiny
run --name a/b tiny
run --hostname a/b tiny
run --network bridge9 tiny
run --cap-add FLY tiny
run --security-opt nope tiny
run --security-opt seccomp=/nope tiny
run --runtime /nope tiny
run --platform beos tiny
run --pull often tiny
run --entrypoint
run -e '' tiny
run -it tiny true
run Upper:latest
pull
pull 'a b'
pull x@sha256:1
inspect nope
history nope
rmi nope
tag nope x
bundle tiny
bundle nope /tmp/nope
unpack
unpack /nope --into /nope
--root '' images
--root /proc/1 images
""".strip().splitlines()


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_command_line_is_125(minirun, line, residue):
    done = minirun(*shlex.split(line))
    assert done.returncode == 125, (done.stdout, done.stderr)
    assert "error: " in done.stderr.lower()


VERSION = '{"ociVersion": "1.0.2", '
BAD_CONFIGS = [
    "", "{", "null", "[]", '"x"', "{}", '{"ociVersion": 1}', '{"ociVersion": "9.0.0"}', "\ufeff{}",
    VERSION + '"process": {}, "root": {"path": "rootfs"}}',
    VERSION + '"process": {"cwd": "/", "args": ["x"]}, "root": {"path": "/nope"}}',
    VERSION + '"process": null, "linux": null}',
    '{"a":' * 20000,
]


@pytest.mark.parametrize("text", BAD_CONFIGS, ids=range(len(BAD_CONFIGS)))
def test_a_broken_config_is_125(minirun, tmp_path, text, residue):
    bundle = tmp_path / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "config.json").write_text(text)
    done = minirun.oci("run", "--bundle", bundle, "broken")
    assert done.returncode == 125, done.stderr
    assert "error: " in done.stderr


@pytest.mark.parametrize("line", ["", "run", "nope", "start nope", "kill nope KILL", "delete nope",
                                  "state nope", "run -b /nope x", "run -b /tmp ../x"])
def test_the_runtime_refuses_in_words(minirun, line, residue):
    done = minirun.oci(*line.split())
    assert done.returncode > 0
    assert (done.stderr or done.stdout).strip()


@pytest.mark.parametrize("change", [
    {"HOME": "/nope"}, {"LANG": "C", "LC_ALL": "C"}, {"TMPDIR": "/nope"}, {"TERM": ""},
    {"PYTHONPATH": "/nope", "PYTHONHOME": "/nope"}, {"TZ": "Mars/Phobos"},
], ids=str)
def test_odd_surroundings_do_not_matter(minirun, change):
    """CR18"""
    assert minirun.ok("run", "--rm", "tiny", "echo", "ä", env=change) == "ä\n"


def test_a_working_directory_that_is_gone_does_not_matter(minirun, tmp_path):
    """CR18"""
    gone = tmp_path / "gone"
    gone.mkdir()
    words = f"cd {gone}; rmdir {gone}; exec {minirun.command()[0]} run --rm tiny echo here"
    assert minirun.run(["sh", "-c"], words).stdout == "here\n"


def test_closed_standard_streams_do_not_matter(minirun):
    """CR18: files opened meanwhile must not become the container's standard output."""
    command = " ".join(minirun.command())
    done = minirun.run(["sh", "-c"], f"exec {command} run --rm tiny true <&- >&-")
    assert done.returncode == 0, done.stderr


def test_a_strict_umask_does_not_matter(minirun):
    """CR18: another user inside reads what the image lets him."""
    command = " ".join(minirun.command())
    line = f"umask 077; exec {command} run --rm -u 1000 tiny cat /etc/hosts"
    done = minirun.run(["sh", "-c"], line)
    assert done.returncode == 0, done.stderr
    assert "localhost" in done.stdout


def test_a_store_that_is_out_of_reach_is_told(minirun, tmp_path):
    os.chmod(tmp_path, 0o755)
    done = minirun.run(["setpriv", "--reuid", "65534", "--clear-groups", *minirun.command()],
                       "run", "tiny", "true", env={"MINIRUN_ROOT": str(tmp_path / "other")})
    assert done.returncode == 125
    assert ": Permission denied" in done.stderr
