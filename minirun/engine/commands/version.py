"""minirun version"""

from __future__ import annotations

import os
import sys

import click

from minirun import __version__
from minirun.engine.command import Command


@click.command("version", cls=Command)
def command() -> None:
    """Show the versions of minirun and of what it stands on."""
    kernel = os.uname()
    rows = [
        ("minirun", __version__),
        ("Python", sys.version.split()[0]),
        ("kernel", f"{kernel.sysname} {kernel.release} {kernel.machine}"),
        ("control groups", cgroups()),
    ]
    for name, value in rows:
        print(f"{name + ':':<16}{value}")


def cgroups() -> str:
    """Which layout this machine has. cgroups(7)"""
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return "v2"
    return "v1, hybrid" if os.path.isdir("/sys/fs/cgroup/unified") else "v1"
