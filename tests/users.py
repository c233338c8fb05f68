"""An ordinary user to run commands as, of whom the machine never hears.

The user exists in the mount namespace of the command alone: there, /etc/passwd and /etc/subuid have
one line more. Everything of the user's lies in one directory, which others may pass through.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
NAME, UID = "rootless", 100500
LENT, COUNT = 2_000_000, 65536  # what root lends in /etc/subuid and /etc/subgid
FILES = ("passwd", "group", "subuid", "subgid")
BECOME = f"""
mount --make-rshared /
for file in {" ".join(FILES)}; do mount --bind "$1/etc/$file" "/etc/$file"; done
mount --bind {REPOSITORY} "$1/minirun"
directory=$1; before=$2; shift 2; set -- setpriv --reuid {UID} --regid {UID} --clear-groups "$@"
eval "$before"
exec "$@" """


class User:
    """One user; ``command`` makes command lines that run as them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home, self.run_directory = directory / "home", directory / "run"
        self.source = directory / "minirun"  # this repository, which may lie where root alone looks
        self.before = ""  # a script for root, run in the mount namespace of each command
        for path in (self.home, self.run_directory, self.source, directory / "etc"):
            path.mkdir()
        self.run_directory.chmod(0o700)
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "USER": NAME,
            "XDG_RUNTIME_DIR": str(self.run_directory),
        }  # fmt: skip
        for name in FILES:
            shutil.copy(f"/etc/{name}", directory / "etc")
        self.add("passwd", f"{NAME}:x:{UID}:{UID}::{self.home}:/bin/sh")
        self.add("group", f"{NAME}:x:{UID}:")
        self.own()

    def add(self, name: str, line: str) -> None:
        with (self.directory / "etc" / name).open("a") as file:
            file.write(line + "\n")

    def lend(self) -> None:
        """Let root have lent the user some IDs: subuid(5), subgid(5)."""
        for name in ("subuid", "subgid"):
            self.add(name, f"{NAME}:{LENT}:{COUNT}")

    def own(self) -> None:
        """Make the user the owner of what lies in their directories."""
        subprocess.run(["chown", "-hR", f"{UID}:{UID}", self.home, self.run_directory], check=True)

    def command(self, *words: object) -> list[str]:
        into = ["unshare", "-m", "--propagation", "private", "sh", "-ec", BECOME, "sh"]
        return [*into, str(self.directory), self.before, *map(str, words)]

    def processes(self) -> list[str]:
        """The command lines of all that runs as the user, or as who was lent to them."""
        return [
            line
            for pid in filter(str.isdecimal, os.listdir("/proc"))
            if (line := _command_line(pid))
        ]


def _command_line(pid: str) -> str:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        uid = int(status.split("Uid:")[1].split()[0])
        ours = uid == UID or LENT <= uid < LENT + COUNT
        if not ours or "\nState:\tZ" in status:
            return ""
        return f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


@contextmanager
def user() -> Iterator[User]:
    """A user and a directory of theirs; afterwards nothing of them may be left."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    for name in FILES:
        if not Path("/etc", name).exists():
            pytest.skip(f"no /etc/{name} here: install passwd (shadow-utils)")
    directory = Path(tempfile.mkdtemp(prefix="minirun-user-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        made = User(directory)
        python = os.path.realpath(sys.executable)
        tried = subprocess.run(
            made.command(python, "-c", "import os"), env=made.env, capture_output=True, check=False
        )
        if tried.returncode:
            pytest.skip(f"an ordinary user cannot run {python} here: {tried.stderr!r}")
        yield made
        deadline = time.monotonic() + 2  # who has said why it cannot go on may need a moment to end
        while (left := made.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left == []
    finally:
        shutil.rmtree(directory)
