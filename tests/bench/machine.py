"""The machine a benchmark runs on: fresh for every program, and gone afterwards.

Called in a mount, network and PID namespace of its own (components.private_network).
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.daemons import other_runtimes
from tests.images import run

SIZE = 20 << 30  # of the disk; the file is sparse, and takes what is written: 5 GB at most


@contextmanager
def fresh(scratch: Path) -> Iterator[None]:
    """A new disk at ``scratch``, an empty /var/lib on it, an empty /run, in this mount namespace.

    A file system of its own, because that of the machine remembers: an ext4 without a journal, for
    example, takes five times as long to make files soon after many were removed.
    """
    disk = scratch / "disk"
    with disk.open("wb") as file:
        file.truncate(SIZE)
    run("mke2fs", "-q", "-t", "ext4", disk)
    run("mount", "-o", "loop,noinit_itable", disk, scratch)
    (scratch / "lib").mkdir()
    run("mount", "--bind", scratch / "lib", "/var/lib")
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    os.environ["HOME"] = str(scratch)
    with other_runtimes():
        yield


def describe() -> str:
    """What these figures depend on, in one paragraph."""
    versions = [run("sh", "-c", f"{command} | head -n 1").strip() for command in (
        "runc --version", "crun --version", "podman --version", "dockerd --version",
        "skopeo --version", "umoci --version", "tar --version")]
    return (f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux "
            f"{platform.release()}, {os.cpu_count()} processors, Python "
            f"{platform.python_version()}; {', '.join(versions)}.\n")
