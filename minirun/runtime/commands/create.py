"""Make a container; its command waits for start."""

from __future__ import annotations

import os
import sys

from minirun import errors
from minirun.idmap import is_root_of_machine
from minirun.runtime import create as parent
from minirun.runtime import ending, handover, step
from minirun.runtime import spec as specs
from minirun.runtime.container import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values
    from minirun.runtime.setup import Setup

OPTIONS: tuple[Option, ...] = (
    (("-b", "--bundle"), "DIR", "the directory of config.json (.)"),
    (("--pid-file",), "FILE", "write the process ID to this file"),
    (("-f", "--config"), "FILE", "the configuration in the bundle (config.json)"),
    (("--console-socket",), "PATH", "send the terminal's master to this socket"),
    (("--pidfd-socket",), "PATH", "send a pidfd of the first process to this socket"),
    (("--no-new-keyring",), "", "stay in the caller's session keyring"),
    (("--no-pivot",), "", "where / is the initramfs: move the root over it and chroot"),
    (("--no-subreaper",), "", "do not adopt what the container's processes leave behind"),
    (("--preserve-fds",), "N", "how many file descriptors above 2 the command gets"),
)
ARGUMENTS = ("ID",)


def run(options: Values, container_id: str) -> None:
    make(options, container_id, detached=True)


def make(options: Values, container_id: str, *, detached: bool) -> Setup:
    """The part that ``create`` and ``run`` have in common."""
    check_id(container_id)
    bundle = os.path.abspath(options.get("bundle") or ".")
    spec, text = specs.load(bundle, options.get("config") or "config.json")
    listening = _listening_fds(spec["process"])
    if options.get("no-pivot"):
        _check_without_pivot(spec["process"])
    preserved = handover.open_fds(options.get("preserve-fds", "0"), listening)
    handover.check_terminal(options, spec["process"], detached=detached)
    rootless = options.get("rootless", "auto")
    without = rootless == "true" or (rootless == "auto" and not is_root_of_machine())
    manager = "systemd" if options.get("systemd-cgroup") else options.get("cgroup-manager", "")
    setup = parent.prepare(
        options["root"], container_id, bundle, spec, text,
        rootless=without, manager=manager, new_keyring=not options.get("no-new-keyring"),
    )  # fmt: skip
    setup.pivot = not options.get("no-pivot")
    setup.preserved = preserved
    setup.console_socket = options.get("console-socket") or ""
    setup.explainer = step.explainer(options)
    parent.create(setup)
    try:
        handover.announce(options, setup.container.state["pid"])
    except BaseException:
        ending.destroy(setup.container)
        raise
    return setup


def _check_without_pivot(process: dict[str, Any]) -> None:
    """The old root stays below the new one, and who may unmount that would stand in it."""
    granted = (process.get("capabilities") or {}).values()
    if any("CAP_SYS_ADMIN" in names for names in granted if names):
        raise errors.UsageError("--no-pivot: with CAP_SYS_ADMIN the container could leave its root")
    sys.stderr.write("warning: --no-pivot: chroot(2) is a weaker protection than pivot_root(2)\n")


def _listening_fds(process: dict[str, Any]) -> int:
    """How many sockets systemd has opened for us, which are for the command: sd_listen_fds(3)."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return 0
    process["env"] = [*(process.get("env") or []), f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    return int(count)
