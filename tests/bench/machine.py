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


@contextmanager
def fresh(scratch: Path) -> Iterator[None]:
    """An empty /var/lib (in ``scratch``, on disk) and /run, in this mount namespace."""
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
