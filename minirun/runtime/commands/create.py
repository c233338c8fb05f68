"""Make a container; its command waits for start."""

from __future__ import annotations

import os

from minirun import errors
from minirun.runtime import create as parent
from minirun.runtime import spec as specs
from minirun.runtime.container import check_id, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values
    from minirun.runtime.setup import Setup

OPTIONS: tuple[Option, ...] = (
    (("-b", "--bundle"), "DIR", "the directory of config.json (.)"),
    (("--pid-file",), "FILE", "write the process ID to this file"),
    (("--console-socket",), "PATH", "send the terminal's master to this socket"),
    (("--no-new-keyring",), "", "stay in the caller's session keyring"),
    (("--no-pivot",), "", "refused: chroot is no protection"),
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
    preserved = _open_fds(options.get("preserve-fds", "0"))
    bundle = os.path.abspath(options.get("bundle") or ".")
    spec, text = specs.load(bundle)
    console_socket = options.get("console-socket") or ""
    _check_terminal(bool(spec["process"].get("terminal")), console_socket, detached)
    setup = parent.prepare(options["root"], container_id, bundle, spec, text)
    setup.console_socket, setup.preserved = console_socket, preserved
    setup.new_keyring = not options.get("no-new-keyring")
    if options.get("explain"):
        from minirun.runtime.explain import Explainer

        setup.explainer = Explainer(as_json=options["explain"] == "json")
    parent.create(setup)
    if options.get("pid-file"):
        write_whole(options["pid-file"], str(setup.container.state["pid"]).encode())
    return setup


def _check_terminal(terminal: bool, console_socket: str, detached: bool) -> None:
    if terminal and detached and not console_socket:
        raise errors.UsageError("process.terminal: a detached container needs --console-socket")
    if console_socket and not terminal:
        raise errors.UsageError("--console-socket: process.terminal is not set in config.json")


def _open_fds(text: str) -> int:
    """--preserve-fds N: 3 to 2 + N, which must all be open."""
    if not text.isdecimal() or int(text) > 4096:
        raise errors.UsageError(f"--preserve-fds: not a count: {errors.printable(text)}")
    for fd in range(3, 3 + int(text)):
        try:
            os.set_inheritable(fd, True)
        except OSError:
            raise errors.UsageError(f"--preserve-fds {text}: {fd} is not open") from None
    return int(text)
