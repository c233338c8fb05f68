"""``minirun-oci``: the OCI runtime's command line, as Docker, Podman and containerd call it.

Its words are runc's: global options, a command, the command's options and its arguments. The tables
below say which there are. What a command needs is imported by it.

Exit codes: 125 for what went wrong with us, 126 and 127 for a command that cannot be run, and of
``run`` otherwise the command's own. Errors go to standard error, and to ``--log`` for the callers.
"""

from __future__ import annotations

import gc
import os
import sys

from minirun import __version__, errors
from minirun.runtime import signals
from minirun.runtime import spec as specs
from minirun.runtime.container import VERSION, Container, check_id, write_whole
from minirun.runtime.options import Line, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.runtime.options import Option
    from minirun.runtime.setup import Setup

    Values = dict[str, Any]

DEFAULT_ROOT = "/run/minirun/oci"
GLOBAL: tuple[Option, ...] = (
    (("--root",), True, f"where the containers' states lie ({DEFAULT_ROOT})"),
    (("--log",), True, "also write errors to this file"),
    (("--log-format",), True, "text or json"),
    (("--debug",), False, "show where an error came from"),
    (("--explain",), False, "tell each step with its system calls; --explain=json for programs"),
    (("-h", "--help"), False, "show this"),
    (("-v", "--version"), False, "show the version"),
)
CREATE: tuple[Option, ...] = (
    (("-b", "--bundle"), True, "the directory of config.json (.)"),
    (("--pid-file",), True, "write the process ID to this file"),
    (("--console-socket",), True, "send the terminal's master to this socket"),
    (("--no-new-keyring",), False, "stay in the caller's session keyring"),
    (("--no-pivot",), False, "refused: chroot is no protection"),
    (("--preserve-fds",), True, "how many file descriptors above 2 the command gets"),
)
RUN: tuple[Option, ...] = (
    *CREATE,
    (("-d", "--detach"), False, "return when the command has been started"),
    (("--keep",), False, "do not delete the container when it has ended"),
)


def main() -> None:
    """Run the command line of this process, and end it with the exit code.

    By _exit(2): to take an interpreter apart that will not be used again costs 3 ms.
    """
    gc.disable()  # nothing lives long enough to be worth collecting
    _fill_standard_fds()
    try:
        code = execute(sys.argv[1:])
        sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"error: standard output: {error.strerror}\n")
        code = errors.Error.exit_code
    os._exit(code)


def _fill_standard_fds() -> None:
    """Open 0, 1 and 2 if the caller closed them, lest a file of ours takes their place."""
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def execute(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    line = Line(GLOBAL)
    try:
        return _dispatch(line.options, line.parse(arguments, until_argument=True))
    except errors.Error as error:
        failure = error
    except OSError as error:
        failure = errors.from_os_error(error)
        failure.__cause__ = error
    except KeyboardInterrupt:
        return 128 + signals.INT
    _log(line.options, failure)
    if line.options.get("debug"):
        from traceback import print_exception

        print_exception(failure)
    sys.stderr.write(errors.render(failure) + "\n")
    return failure.exit_code


def _dispatch(options: Values, rest: list[str]) -> int:
    if options.get("version"):
        sys.stdout.write(f"minirun-oci version {__version__}\nspec: {VERSION}\n")
        return 0
    if options.get("help") or not rest:
        sys.stdout.write(usage())
        return 0 if options.get("help") else errors.UsageError.exit_code
    if options.get("explain", "json") not in (True, "json"):
        raise errors.UsageError("--explain takes no other value than json")
    if options.get("log-format", "text") not in ("text", "json"):
        raise errors.UsageError("--log-format is text or json")
    name, *words = rest
    if name not in COMMANDS:
        raise errors.UsageError(
            f"unknown command {errors.printable(name)}", hint="minirun-oci --help"
        )
    command, table, names = COMMANDS[name]
    line = Line((*table, *GLOBAL))
    line.parse(words, until_argument=False)
    if line.options.get("help"):
        sys.stdout.write(usage_of(name))
        return 0
    least = sum(1 for argument in names if not argument.startswith("["))
    if not least <= len(line.arguments) <= len(names):
        raise errors.UsageError(f"usage: minirun-oci {name} [OPTION…] {' '.join(names)}")
    return command({**options, **line.options}, *line.arguments) or 0


def _log(options: Values, error: errors.Error) -> None:
    """One line for the caller, who reads this file when we fail."""
    if not options.get("log"):
        return
    from time import gmtime, strftime

    from minirun.runtime import document

    now = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
    line = f'time="{now}" level=error msg={document.dumps(error.message)}'
    if options.get("log-format") == "json":
        line = document.dumps({"level": "error", "msg": error.message, "time": now})
    try:
        with open(options["log"], "a") as file:
            file.write(line + "\n")
    except OSError as failure:
        sys.stderr.write(f"warning: cannot write to {options['log']}: {failure.strerror}\n")


def _root(options: Values) -> str:
    return os.path.abspath(options.get("root") or DEFAULT_ROOT)


# the commands


def create(options: Values, container_id: str) -> None:
    """Make a container; its command waits for start."""
    _create(options, container_id, detached=True)


def start(options: Values, container_id: str) -> None:
    """Execute the command of a created container."""
    from minirun.runtime import create as parent

    container = Container.load(_root(options), container_id)
    _warn(parent.start(container, container.config()))


def run(options: Values, container_id: str) -> int:
    """Make a container, start it, wait for its end and delete it."""
    from minirun.runtime import create as parent
    from minirun.runtime import foreground

    detached = bool(options.get("detach"))
    signal_fd = None if detached else foreground.hold_signals()
    setup = _create(options, container_id, detached=detached)
    container = setup.container
    try:
        _warn(parent.start(container, setup.spec))
    except BaseException:
        parent.destroy(container)
        raise
    container.unlock()
    if signal_fd is None:
        return 0
    code = foreground.wait(setup, signal_fd)
    if not options.get("keep"):
        try:
            container.lock()
        except FileNotFoundError:  # somebody's delete --force ended it, and removed it
            return code
        _warn(parent.destroy(container))
    return code


def state(options: Values, container_id: str) -> None:
    """Print a container's state as JSON."""
    from minirun.runtime import document

    container = Container.load(_root(options), container_id, lock=False)
    sys.stdout.write(document.pretty(container.report()) + "\n")


def kill(options: Values, container_id: str, signal: str = "TERM") -> None:
    """Send a signal, by name or number, to a container's first process."""
    from minirun.runtime import create as parent

    container = Container.load(_root(options), container_id, lock=False)
    parent.kill(container, signals.number(signal), everyone=bool(options.get("all")))


def delete(options: Values, container_id: str) -> None:
    """Remove a container that has stopped, or with --force any."""
    from minirun.runtime import create as parent

    try:
        container = Container.load(_root(options), container_id)
    except errors.NotFound:
        if options.get("force"):
            return
        raise
    _warn(parent.delete(container, force=bool(options.get("force"))))


def _create(options: Values, container_id: str, *, detached: bool) -> Setup:
    """The part that ``create`` and ``run`` have in common."""
    from minirun.runtime import create as parent

    check_id(container_id)
    if options.get("no-pivot"):
        raise errors.UsageError("--no-pivot: refused, chroot(2) is no protection against root")
    preserved = _open_fds(options.get("preserve-fds", "0"))
    bundle = os.path.abspath(options.get("bundle") or ".")
    spec, text = specs.load(bundle)
    console_socket = options.get("console-socket") or ""
    _check_terminal(bool(spec["process"].get("terminal")), console_socket, detached)
    setup = parent.prepare(_root(options), container_id, bundle, spec, text)
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


def _warn(failures: list[errors.Error]) -> None:
    for failure in failures:
        sys.stderr.write(f"warning: {failure.message}\n")


COMMANDS: dict[str, tuple[Callable[..., int | None], tuple[Option, ...], tuple[str, ...]]] = {
    "create": (create, CREATE, ("ID",)),
    "start": (start, (), ("ID",)),
    "run": (run, RUN, ("ID",)),
    "state": (state, (), ("ID",)),
    "kill": (kill, ((("-a", "--all"), False, "to all its processes"),), ("ID", "[SIGNAL]")),
    "delete": (delete, ((("-f", "--force"), False, "kill it first if it runs"),), ("ID",)),
}


def usage() -> str:
    lines = [
        "usage: minirun-oci [OPTION…] COMMAND …",
        "",
        "options:",
        *table(GLOBAL),
        "",
        "commands:",
    ]
    for name, (command, _, names) in COMMANDS.items():
        what = (command.__doc__ or "").partition("\n")[0]
        lines.append(f"  {name + ' ' + ' '.join(names):22} {what}")
    return "\n".join(lines) + "\n"


def usage_of(name: str) -> str:
    command, known, names = COMMANDS[name]
    lines = [f"usage: minirun-oci {name} [OPTION…] {' '.join(names)}", "", command.__doc__ or ""]
    return "\n".join([*lines, "", "options:", *table(known)]) + "\n"


if __name__ == "__main__":
    main()
