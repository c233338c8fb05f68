"""Make a container; its command waits for start."""

from __future__ import annotations

import os

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

OPTIONS: tuple[Option, ...] = (
    (("-b", "--bundle"), "DIR", "the directory of config.json (.)"),
    (("--pid-file",), "FILE", "write the process ID to this file"),
    (("-f", "--config"), "FILE", "the configuration in the bundle (config.json)"),
    (("--console-socket",), "PATH", "send the terminal's master to this socket"),
    (("--pidfd-socket",), "PATH", "send a pidfd of the first process to this socket"),
    (("--no-new-keyring",), "", "stay in the caller's session keyring"),
    (("--no-pivot",), "", "refused: chroot is no protection"),
    (("--no-subreaper",), "", "do not adopt what the container's processes leave behind"),
    (("--preserve-fds",), "N", "how many file descriptors above 2 the command gets"),
)
ARGUMENTS = ("ID",)


def run(options: Values, container_id: str) -> None:
    make(options, container_id, detached=True)


def make(options: Values, container_id: str, *, detached: bool) -> Setup:
    """The part that ``create`` and ``run`` have in common."""
    check_id(container_id)
    if options.get("no-pivot"):
        raise errors.UsageError("--no-pivot: refused, chroot(2) is no protection against root")
    bundle = os.path.abspath(options.get("bundle") or ".")
    spec, text = specs.load(bundle, options.get("config") or "config.json")
    listening = _listening_fds(spec["process"])
    preserved = _open_fds(options.get("preserve-fds", "0"), listening)
    console_socket = options.get("console-socket") or ""
    _check_terminal(bool(spec["process"].get("terminal")), console_socket, detached)
    rootless = options.get("rootless", "auto")
    without = rootless == "true" or (rootless == "auto" and not is_root_of_machine())
    systemd = bool(options.get("systemd-cgroup")) or options.get("cgroup-manager") == "systemd"
    setup = parent.prepare(
        options["root"], container_id, bundle, spec, text, rootless=without, systemd=systemd
    )
    setup.console_socket, setup.preserved = console_socket, preserved
    setup.new_keyring = not options.get("no-new-keyring")
    if options.get("explain"):
        from minirun.runtime.explain import Explainer

        setup.explainer = Explainer(as_json=options["explain"] == "json")
    parent.create(setup)
    try:
        _announce(options, setup.container.state["pid"])
    except BaseException:
        ending.destroy(setup.container)
        raise
    return setup


def _announce(options: Values, pid: int) -> None:
    """Tell our caller which process is the container's first, in the ways it asked for."""
    if options.get("pid-file"):
        write_whole(options["pid-file"], str(pid).encode())
    if options.get("pidfd-socket"):
        from minirun.runtime import terminal

        pidfd = os.pidfd_open(pid)
        terminal.send_master(options["pidfd-socket"], pidfd, "pidfd")
        os.close(pidfd)
    if options.get("no-subreaper"):
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 0)


def _check_terminal(terminal: bool, console_socket: str, detached: bool) -> None:
    if terminal and detached and not console_socket:
        raise errors.UsageError("process.terminal: a detached container needs --console-socket")
    if console_socket and not terminal:
        raise errors.UsageError("--console-socket: process.terminal is not set in config.json")


def _listening_fds(process: dict[str, Any]) -> int:
    """How many sockets systemd has opened for us, which are for the command: sd_listen_fds(3)."""
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return 0
    process["env"] = [*(process.get("env") or []), f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    return int(count)


def _open_fds(text: str, listening: int) -> int:
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
