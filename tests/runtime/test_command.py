"""Commands that cannot be run: 126 and 127, and the reason in words (RL03)."""

import os
import shutil

import pytest

from minirun.runtime import command
from minirun.runtime.trampoline import AARCH64, MACHINES

SCRIPT = "#!{interpreter}\necho it ran\n"


def place(bundle, name: str, content: str | bytes, mode: int = 0o755) -> str:
    path = bundle.rootfs / "bin" / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return f"/bin/{name}"


@pytest.mark.parametrize("name, words", [
    ("nope", "executable file not found in $PATH"),
    ("/bin/nope", "/bin/nope: no such file or directory"),
    ("/etc/passwd/x", "no such file or directory"),
    ("./nope", "no such file or directory"),
    ("", ""),
])  # fmt: skip
def test_not_found(ours, name, words):
    assert words in ours.refused(name, code=127)


@pytest.mark.parametrize("path, words", [("/etc", "is a directory"),
                                         ("/etc/passwd", "is not executable")])  # fmt: skip
def test_not_executable(ours, path, words):
    assert words in ours.refused(path, code=126)


def test_fifo(ours):
    os.mkfifo(ours.rootfs / "bin/pipe", 0o755)
    assert "not a regular file" in ours.refused("/bin/pipe", code=126)


def test_interpreter_is_missing(ours):
    path = place(ours, "script", SCRIPT.format(interpreter="/usr/bin/python9"))
    said = ours.refused(path, code=126)
    assert "interpreter '/usr/bin/python9' is missing" in said and "hint: " in said


def test_carriage_return_in_the_first_line(ours):
    path = place(ours, "script", SCRIPT.format(interpreter="/bin/sh").replace("\n", "\r\n"))
    said = ours.refused(path, code=126)
    assert "CR LF" in said and "sed -i" in said


def test_script(bundle):
    path = place(bundle, "script", SCRIPT.format(interpreter="/bin/sh"))
    assert bundle.run(path).stdout == "it ran\n"


def test_neither_program_nor_script(ours):
    said = ours.refused(place(ours, "text", "echo it ran\n"), code=126)
    assert "exec format error" in said and "#!/bin/sh" in said


def test_empty_file(ours):
    assert "exec format error" in ours.refused(place(ours, "empty", ""), code=126)


def elf(machine: int, loader: str | None = None) -> bytes:
    """The beginning of a program for some machine."""
    name = (loader or "").encode() + b"\0"
    header = b"\x7fELF\2\1\1" + bytes(9) + (2).to_bytes(2, "little")
    header += machine.to_bytes(2, "little") + bytes(12) + (64).to_bytes(8, "little") + bytes(16)
    header = header.ljust(56, b"\0") + int(bool(loader)).to_bytes(2, "little")
    interp = (3).to_bytes(8, "little") + (120).to_bytes(8, "little") + bytes(16)
    interp += len(name).to_bytes(8, "little")
    return (header.ljust(64, b"\0") + interp.ljust(56, b"\0") + name).ljust(512, b"\0")


def test_another_machine(ours):
    other = 183 if os.uname().machine == "x86_64" else 62
    assert elf(183)[18:20] == MACHINES["aarch64"][1].to_bytes(2, "little") and AARCH64
    said = ours.refused(place(ours, "foreign", elf(other)), code=126)
    assert "exec format error" in said and "it is a program for" in said


def test_loader_is_missing(ours):
    here = MACHINES[os.uname().machine][1]
    said = ours.refused(place(ours, "dynamic", elf(here, "/lib64/ld-none.so.9")), code=126)
    assert "its loader /lib64/ld-none.so.9 is missing" in said


def test_the_container_is_gone_after_each_refusal(ours, residue):
    ours.refused("nope", code=127)


def test_path_of_the_container_counts(bundle):
    shutil.copytree(bundle.rootfs / "bin", bundle.rootfs / "opt", symlinks=True)
    bundle.process["env"] = ["PATH=/nowhere:/opt"]
    assert bundle.run("sh", "-c", "echo ok").stdout == "ok\n"


def test_a_better_one_later_in_the_path_wins(ours):
    (ours.rootfs / "first").mkdir()
    (ours.rootfs / "first/sh").write_text("not executable")
    ours.process["env"] = ["PATH=/first:/bin"]
    assert ours.run("sh", "-c", "echo ok").stdout == "ok\n"


def test_user_may_not_execute(ours):
    (ours.rootfs / "bin/busybox").chmod(0o700)
    ours.process["user"] = {"uid": 1000, "gid": 1000}
    assert "permission denied" in ours.refused("/bin/true", code=126)


def test_names_are_printed_harmlessly(ours):
    assert "\x1b" not in ours.refused("\x1b[2Jnope", code=127)


def test_home():
    assert command.home(0) == "/root"
