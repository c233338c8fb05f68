"""Make a container; its command waits for start."""

from __future__ import annotations

import os
import sys

from minirun import errors, linux
from minirun.runtime import create as parent
from minirun.runtime import ending
from minirun.runtime import spec as specs
from minirun.runtime.container import check_id, write_whole
from minirun.runtime.idmap import is_root_of_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values
    from minirun.runtime.setup import Setup
    from minirun.runtime.step import Explainer

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
    preserved = open_fds(options.get("preserve-fds", "0"), listening)
    check_terminal(options, spec["process"], detached=detached)
    rootless = options.get("rootless", "auto")
    without = rootless == "true" or (rootless == "auto" and not is_root_of_machine())
    systemd = bool(options.get("systemd-cgroup")) or options.get("cgroup-manager") == "systemd"
    setup = parent.prepare(
        options["root"], container_id, bundle, spec, text, rootless=without, systemd=systemd
    )
    setup.pivot = not options.get("no-pivot")
    setup.preserved, setup.new_keyring = preserved, not options.get("no-new-keyring")
    setup.console_socket = options.get("console-socket") or ""
    setup.explainer = explainer(options)
    parent.create(setup)
    try:
        announce(options, setup.container.state["pid"])
    except BaseException:
        ending.destroy(setup.container)
        raise
    return setup


def explainer(options: Values) -> Explainer | None:
    """Who tells of the steps, if that was asked for."""
    if not options.get("explain"):
        return None
    from minirun.runtime import explain

    return explain.Explainer(as_json=options["explain"] == "json")


def announce(options: Values, pid: int) -> None:
    """Tell our caller which process was made, in the ways it asked for."""
    if options.get("pid-file"):
        write_whole(options["pid-file"], str(pid).encode())
    if options.get("pidfd-socket"):
        from minirun.runtime import terminal

        pidfd = os.pidfd_open(pid)
        terminal.send_master(options["pidfd-socket"], pidfd, "pidfd")
        os.close(pidfd)
    if options.get("no-subreaper"):
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


def check_terminal(options: Values, process: dict[str, Any], *, detached: bool) -> None:
    terminal, console_socket = process.get("terminal"), options.get("console-socket")
    if terminal and detached and not console_socket:
        raise errors.UsageError("process.terminal: a detached process needs --console-socket")
    if console_socket and not terminal:
        raise errors.UsageError("--console-socket: process.terminal is not set")


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


def open_fds(text: str, listening: int) -> int:
    """--preserve-fds N: how many from 3 on the command gets, which must all be open."""
    if not text.isdecimal() or int(text) > 4096:
        raise errors.UsageError(f"--preserve-fds: not a count: {errors.printable(text)}")
    count = int(text) + listening
    for fd in range(3, 3 + count):
        try:
            os.set_inheritable(fd, True)
        except OSError:
            raise errors.UsageError(f"--preserve-fds {text}: {fd} is not open") from None
    return count
