"""minirun info"""

from __future__ import annotations

import os

import click

from minirun import __version__
from minirun.engine.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.state import State


@click.command("info", cls=Command)
@click.option("-f", "--format", "form", metavar="TEMPLATE", help="json, '{{.NCPU}}', …")
@click.pass_obj
def command(root: str | None, form: str | None) -> None:
    """Show what there is on this machine, and where it is kept."""
    from minirun.engine import output, table
    from minirun.engine.state import open_state

    found = document(open_state(root))
    if form:
        output.show_one(found, form)
        return
    for line in (
        f"Containers: {found['Containers']}",
        f" Running: {found['ContainersRunning']}",
        f" Paused: {found['ContainersPaused']}",
        f" Stopped: {found['ContainersStopped']}",
        f"Images: {found['Images']}",
        f"Server Version: {found['ServerVersion']}",
        f"Storage Driver: {found['Driver']}",
        f"Logging Driver: {found['LoggingDriver']}",
        f"Cgroup Version: {found['CgroupVersion']}",
        f"Runtimes: {' '.join(found['Runtimes'])}",
        f"Default Runtime: {found['DefaultRuntime']}",
        f"Security Options: {' '.join(found['SecurityOptions'])}",
        f"Kernel Version: {found['KernelVersion']}",
        f"Operating System: {found['OperatingSystem']}",
        f"Architecture: {found['Architecture']}",
        f"CPUs: {found['NCPU']}",
        f"Total Memory: {table.binary_size(found['MemTotal'])}",
        f"Name: {found['Name']}",
        f"Root Dir: {found['DockerRootDir']}",
        f"Run Dir: {found['RunDir']}",
    ):
        print(line)


def document(state: State) -> dict[str, Any]:
    """In Docker's words; RunDir is ours."""
    from minirun.engine.commands.version import cgroups
    from minirun.engine.container import PAUSED, RUNNING
    from minirun.engine.oci import OWN

    statuses = [container.status for container in state.containers.all()]
    kernel = os.uname()
    return {
        "Containers": len(statuses),
        "ContainersRunning": statuses.count(RUNNING),
        "ContainersPaused": statuses.count(PAUSED),
        "ContainersStopped": len(statuses) - statuses.count(RUNNING) - statuses.count(PAUSED),
        "Images": len({image.digest for image in state.images()}),
        "Driver": "overlay",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroups()[1],
        "KernelVersion": kernel.release,
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": kernel.machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "MemTotal": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "DockerRootDir": state.paths.lib,
        "RunDir": state.paths.run,
        "Name": kernel.nodename,
        "ServerVersion": __version__,
        "Runtimes": runtimes(),
        "DefaultRuntime": OWN,
        "SecurityOptions": security_options(),
        "Swarm": {"LocalNodeState": "inactive"},
        "Warnings": None,
    }


def operating_system() -> str:
    """os-release(5)"""
    import platform

    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def runtimes() -> dict[str, Any]:
    """The OCI runtimes that --runtime finds here."""
    import shutil

    from minirun.engine.oci import OWN
    from minirun.engine.template.values import Map

    found = {name: shutil.which(name) for name in (OWN, "runc", "crun", "youki", "runsc")}
    here = {name: {"path": path or name} for name, path in found.items() if path or name == OWN}
    return Map(here, zero=None)


def security_options() -> list[str]:
    """The walls that this kernel has."""
    walls = {
        "name=apparmor": os.path.exists("/sys/module/apparmor"),
        "name=selinux": os.path.exists("/sys/fs/selinux/enforce"),
        "name=seccomp,profile=builtin": os.path.exists("/proc/sys/kernel/seccomp"),
        "name=cgroupns": os.path.exists("/proc/self/ns/cgroup"),
    }
    return [name for name, is_here in walls.items() if is_here]
