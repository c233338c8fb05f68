"""The flags of ``run`` and ``bundle`` that change config.json; edits.py says what each does."""

from __future__ import annotations

import click

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Function = Callable[..., Any]

SPEC_OPTIONS = (
    click.option("-e", "--env", multiple=True, metavar="NAME[=VALUE]",
                 help="Set a variable, or pass on one of yours."),
    click.option("-w", "--workdir", metavar="DIR", help="Start in this directory."),
    click.option("-u", "--user", metavar="USER[:GROUP]",
                 help="Run as this user of the image (a name or a number)."),
    click.option("-v", "--volume", multiple=True, metavar="SRC:DST[:ro]",
                 help="Show a file or directory of the host in the container."),
    click.option("-h", "--hostname", metavar="NAME", help="The container's name for itself."),
    click.option("--entrypoint", metavar="PROGRAM", help="Run this instead of the image's."),
    click.option("-m", "--memory", metavar="SIZE", help="Most memory, e.g. 64m. No swap then."),
    click.option("--cpus", metavar="N", help="Most CPU time, e.g. 0.5 for half a processor."),
    click.option("--pids-limit", metavar="N", help="Most processes and threads; 2048 by default."),
    click.option("--network", "--net", metavar="none|host",
                 help="'none' (the default so far): only lo. 'host': this machine's network."),
    click.option("--read-only", is_flag=True, help="The root file system cannot be changed."),
    click.option("--cap-add", multiple=True, metavar="CAP", help="Grant a capability, or ALL."),
    click.option("--cap-drop", multiple=True, metavar="CAP", help="Take away one, or ALL."),
    click.option("--security-opt", multiple=True, metavar="OPT",
                 help="no-new-privileges, seccomp=unconfined, seccomp=FILE, apparmor=PROFILE."),
    click.option("--privileged", is_flag=True,
                 help="All capabilities and devices, no filter: root there is root here."),
)  # fmt: skip

PLATFORM = click.option(
    "--platform", metavar="OS/ARCH[/VARIANT]", help="The image for this machine, not for ours."
)
EXPLAIN = (
    click.option("--explain", "explain", flag_value="text", is_flag=True, metavar="json|text",
                 help="Tell every step and system call on stderr; --explain=json for programs."),
    click.option("--explain-json", "explain", flag_value="json", hidden=True),
    click.option("--explain-text", "explain", flag_value="text", hidden=True),
)  # fmt: skip


def with_options(*options: Any) -> Callable[[Function], Function]:
    """All these options on one command, in this order in its help."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add
