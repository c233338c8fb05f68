"""The machine code that makes the last calls: run for real, on both kinds of machine."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from minirun.runtime import trampoline
from tests import listing

QEMU = "qemu-aarch64-static"


def text(string: str) -> bytes:
    return string.encode() + b"\0"


def execute(calls: list[tuple]) -> tuple[int, bytes, bytes]:
    """(exit code, standard output, what came through the error fd)"""
    errors, error_fd = os.pipe()
    output, output_fd = os.pipe()
    fd = os.memfd_create("image")
    os.write(fd, trampoline.build(calls, 77))
    reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    if (pid := os.fork()) == 0:
        os.dup2(error_fd, 77)
        os.dup2(output_fd, 1)
        os.execve(reader, ["test"], {})
    os.close(error_fd)
    os.close(output_fd)
    with open(output, "rb") as shown, open(errors, "rb") as failed:
        texts = shown.read(), failed.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), *texts


CLOEXEC = ("fcntl", 77, fcntl.F_SETFD, fcntl.FD_CLOEXEC)


def test_calls_are_made_in_order():
    script = text("grep NoNew /proc/$$/status; echo $A")
    code, shown, failed = execute([
        CLOEXEC, ("prctl", 38, 1),
        ("execve", text("/bin/sh"), [text("sh"), text("-c"), script, 0],
         [text("A=b c"), text("PATH=/bin:/usr/bin"), 0]),
    ])  # fmt: skip
    assert (code, shown.split(), failed) == (0, [b"NoNewPrivs:", b"1", b"b", b"c"], b"")


@pytest.mark.parametrize("calls, name, number", [
    ([("execve", text("/no/such"), [0], [0])], "execve", 2),
    ([("close", 1000), ("execve", text("/bin/true"), [0], [0])], "close", 9),
    ([("prctl", 38, 1), ("setresuid", 2**32 - 2, 0, 0), ("close", 1000)], "close", 9),
])  # fmt: skip
def test_the_call_that_fails_is_reported_and_is_the_last(calls, name, number):
    code, shown, failed = execute(calls)
    assert (code, shown, len(failed)) == (126, b"", trampoline.ERROR_SIZE)
    assert trampoline.report(failed) == (name, -number)


def test_more_arguments_than_a_page_holds():
    words = [text(f"{'x' * 100}{n}") for n in range(1000)]
    shown = execute([CLOEXEC, ("execve", text("/bin/echo"), [text("echo"), *words, 0], [0])])[1]
    assert shown.split() == [word[:-1] for word in words]


def test_on_aarch64(tmp_path: Path, monkeypatch):
    if not shutil.which(QEMU):
        pytest.skip(f"needs {QEMU}")
    code, elf_machine, numbers = trampoline.MACHINES["aarch64"]
    names = dict(zip(trampoline.NAMES, numbers, strict=True))
    monkeypatch.setattr(trampoline, "machine", lambda: (code, elf_machine, names))
    path = tmp_path / "image"
    words = [text("echo"), text("hello"), 0]
    path.write_bytes(trampoline.build([("execve", text("/bin/echo"), words, [0])], 2))
    path.chmod(0o755)
    assert subprocess.run([QEMU, path], check=False, capture_output=True).stdout == b"hello\n"
    path.write_bytes(trampoline.build([("prctl", 38, 1), ("close", 1000)], 2))
    done = subprocess.run([QEMU, path], check=False, capture_output=True)
    assert done.returncode == 126 and trampoline.report(done.stderr) == ("close", -9)


@pytest.mark.parametrize("machine", trampoline.MACHINES)
def test_the_listing_is_what_the_assembler_says(tmp_path: Path, machine: str):
    """Each comment of the table, assembled, gives the bytes beside it."""
    after = [".balign 8", "error_fd: .quad 0", "table:"]
    code = trampoline.MACHINES[machine][0]
    assert listing.assemble(tmp_path, trampoline, machine, after)[: len(code)] == code
