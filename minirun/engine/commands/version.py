"""minirun version"""

from __future__ import annotations

import os
import sys

import click

from minirun import __version__
from minirun.engine.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@click.command("version", cls=Command)
@click.option("-f", "--format", "form", metavar="TEMPLATE", help="json, '{{.Server.Version}}', …")
def command(form: str | None) -> None:
    """Show the versions of minirun and of what it stands on."""
    from minirun.engine import output
    from minirun.image import platform

    kernel = os.uname()
    if form:
        output.show_one(document(str(platform.parse(kernel.machine)), kernel), form)
        return
    rows = [
        ("minirun", __version__),
        ("Python", sys.version.split()[0]),
        ("kernel", f"{kernel.sysname} {kernel.release} {kernel.machine}"),
        ("control groups", cgroups()),
    ]
    for name, value in rows:
        print(f"{name + ':':<16}{value}")


def document(platform: str, kernel: os.uname_result) -> dict[str, Any]:
    """In Docker's words. There is no server: who asks for its version gets ours."""
    system, machine = platform.split("/")[:2]
    both = {"Version": __version__, "Os": system, "Arch": machine}
    return {"Client": both, "Server": both | {"KernelVersion": kernel.release}}


def cgroups() -> str:
    """Which layout this machine has. cgroups(7)"""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return "v2"
    return "v1, hybrid" if os.path.isdir("/sys/fs/cgroup/unified") else "v1"
