"""Finding the command of a container, and saying why it cannot be run.

The kernel says "No such file or directory" of a script whose interpreter is missing, and of a
program whose loader is; it says "Exec format error" of a program for another machine. We look
before execve(2) does and give the reason, with the exit codes that shells use: 127 when the command
is not there, 126 when it is there but cannot be executed. Called inside the root, as its root user.

What only looks wrong is no error yet: programs for other machines run where binfmt_misc(5) has an
emulator for them. It is noted as a suspicion, which ``start`` tells if execve(2) does fail.

Interface: find, home.
"""

from __future__ import annotations

import os
import stat
from errno import ENOENT, ENOTDIR

from minirun.errors import CommandNotExecutable, CommandNotFound, Error, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HEAD = 4096  # enough for a first line (BINPRM_BUF_SIZE is 256) and the headers of an ELF file
PASSWD_SIZE = 10 << 20
MACHINES = {
    3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64",
    183: "aarch64", 243: "riscv64", 258: "loongarch64",
}  # fmt: skip
RUNS_ALSO = {"x86_64": ("i386",), "aarch64": ("arm",)}


def find(name: str, environment: list[str]) -> tuple[str, str]:
    """The path of the command and a suspicion ("" for none) why execve(2) might refuse it."""
    if "/" in name:
        return _checked(name)
    directories = _variable(environment, "PATH") or DEFAULT_PATH
    refusal: Error | None = None
    for directory in directories.split(":") if name else []:
        try:
            return _checked(os.path.join(directory or ".", name))
        except CommandNotFound:
            continue
        except CommandNotExecutable as error:
            refusal = refusal or error  # another directory may have a better one
    raise refusal or CommandNotFound(
        f"{printable(name) or '(empty name)'}: executable file not found in $PATH",
        hint=f"the container's PATH is {printable(directories)}",
    )


def _variable(environment: list[str], name: str) -> str | None:
    for entry in environment:
        key, _, value = entry.partition("=")
        if key == name:
            return value
    return None


def _checked(path: str) -> tuple[str, str]:
    """``path`` and a suspicion, unless something is wrong with the file there."""
    shown = printable(path)
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR):
            raise CommandNotFound(f"{shown}: no such file or directory") from None
        raise CommandNotExecutable(f"{shown}: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise CommandNotExecutable(f"{shown}: permission denied: is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise CommandNotExecutable(f"{shown}: permission denied: is not a regular file")
    if not status.st_mode & 0o111:
        raise CommandNotExecutable(
            f"{shown}: permission denied: is not executable", hint=f"chmod +x {shown}"
        )
    return path, _check_content(path, shown)


def _check_content(path: str, shown: str) -> str:
    """What the kernel will need besides the file itself: an interpreter, a loader, a machine."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""  # unreadable files can be executed
    head = os.read(fd, HEAD)
    os.close(fd)
    if head.startswith(b"#!"):
        _check_script(head, shown)
        return ""
    if head.startswith(b"\x7fELF"):
        _check_loader(head, shown)
        return _foreign(head)
    return "neither a program nor a script, which begins with a line such as #!/bin/sh"


def _check_script(head: bytes, shown: str) -> None:
    line = head[2:].partition(b"\n")[0]
    words = line.split()
    interpreter = os.fsdecode(words[0]) if words else ""
    named = printable(interpreter)
    if line.endswith(b"\r") and not os.path.exists(interpreter + "\r" * (len(words) == 1)):
        raise CommandNotExecutable(
            f"{shown}: no such file or directory: its first line ends in CR LF, so that its "
            f"interpreter is {named!r} and a carriage return",
            hint=f"sed -i 's/\\r$//' {shown}",
        )
    if not interpreter or not os.path.exists(interpreter):
        raise CommandNotExecutable(
            f"{shown}: no such file or directory: its interpreter {named!r} is missing",
            hint="install the interpreter in the image, or change the first line of the script",
        )


def _foreign(head: bytes) -> str:
    """elf(5), e_machine: "" if the program is for this machine."""
    machine = MACHINES.get(int.from_bytes(head[18:20], "little"), "another machine")
    here = os.uname().machine
    if machine == here or machine in RUNS_ALSO.get(here, ()):
        return ""
    return f"it is a program for {machine}, and this is {here}"


def _check_loader(head: bytes, shown: str) -> None:
    for loader in _loaders(head):
        if not os.path.exists(loader):
            raise CommandNotExecutable(
                f"{shown}: no such file or directory: its loader {printable(loader)} is missing",
                hint="copy the libraries that ldd shows into the image too, or link it statically",
            )


def _loaders(head: bytes) -> Iterator[str]:
    """The program's loader (PT_INTERP), if its headers lie in ``head``."""
    if head[4:6] != b"\x02\x01":  # 64 bits, little endian
        return
    start = int.from_bytes(head[32:40], "little")
    for index in range(int.from_bytes(head[56:58], "little")):
        header = head[start + 56 * index : start + 56 * (index + 1)]
        if header[:4] == (3).to_bytes(4, "little"):
            offset = int.from_bytes(header[8:16], "little")
            size = int.from_bytes(header[32:40], "little")
            name = head[offset : offset + size].rstrip(b"\0")
            if name:
                yield os.fsdecode(name)


def home(uid: int) -> str:
    """The home directory of a user by the container's /etc/passwd; "/" for who has none there.

    The file is the image's: it may be a FIFO, or endless.
    """
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return "/"
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or os.fstat(fd).st_size > PASSWD_SIZE:
            return "/"
        lines = os.read(fd, PASSWD_SIZE).split(b"\n")
    finally:
        os.close(fd)
    for line in lines:
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == str(uid).encode():
            return os.fsdecode(fields[5]) or "/"
    return "/"
