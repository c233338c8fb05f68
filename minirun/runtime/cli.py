"""``minirun-oci``: the OCI runtime's command line, as Docker, Podman and containerd call it.

Its words are runc's: global options, a command, the command's options and its arguments. The tables
say which there are. What a command needs is imported by it: see commands/.

Exit codes: 125 for what went wrong with us, 126 and 127 for a command that cannot be run, and of
``run`` and ``exec`` otherwise the command's own.
"""

from __future__ import annotations

import gc
import os
import sys

from minirun import errors
from minirun.runtime import log
from minirun.runtime.options import Line, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values

DEFAULT_ROOT = "/run/minirun/oci"
HELP: Option = (("-h", "--help"), "", "show this")
GLOBAL: tuple[Option, ...] = (
    (("--root",), "DIR", f"where the containers' states lie ({DEFAULT_ROOT})"),
    (("--log",), "FILE", "also write errors to this file"),
    (("--log-format",), "FORMAT", "text or json"),
    (("--debug",), "", "show where an error came from"),
    (("--systemd-cgroup",), "", "let systemd make the cgroups"),
    (("--cgroup-manager",), "NAME", "of cgroups: cgroupfs, systemd or disabled (cgroupfs)"),
    (("--rootless",), "WORD", "do without cgroups that are not ours: true, false or auto (auto)"),
    (("--criu",), "PROGRAM", "the CRIU that checkpoint and restore use (criu)"),
    (("--explain",), "[=json]", "tell each step with its system calls; json is for programs"),
    HELP,
    (("-v", "--version"), "", "show the version"),
)
CHOICES = {
    "explain": ("json",),
    "log-format": ("text", "json"),
    "cgroup-manager": ("cgroupfs", "systemd", "disabled"),
    "rootless": ("auto", "true", "false"),
}
COMMANDS = {
    "create": "make a container; its command waits for start",
    "start": "execute the command of a created container",
    "run": "create and start, wait for the end and delete",
    "exec": "run another command in a container",
    "state": "print a container's state as JSON",
    "list": "print all containers",
    "ps": "show the processes of a container",
    "kill": "send a signal to a container",
    "delete": "remove a container that has stopped",
    "pause": "stop all processes of a container, until resume",
    "resume": "let the processes of a paused container go on",
    "update": "change the limits of a running container",
    "events": "print what a container uses, and when it runs out of memory",
    "spec": "write a config.json to begin with",
    "features": "print what this runtime can do, as JSON",
    "checkpoint": "save a running container to files",
    "restore": "make a container from such files",
}


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
        line.parse(arguments, until_argument=True)
        return _run(line.options, line.arguments)
    except errors.Error as error:
        failure = error
    except OSError as error:
        failure = errors.from_os_error(error)
        failure.__cause__ = error
    except KeyboardInterrupt:
        return 128 + 2
    except Exception as error:  # a mistake of ours; callers look for its reason in --log too
        failure = errors.Error(
            f"minirun-oci itself went wrong: {type(error).__name__}: {error}",
            hint="please report it, with what minirun-oci --debug … says",
        )
        failure.__cause__ = error
    log.error(failure)
    if line.options.get("debug"):
        from traceback import print_exception

        print_exception(failure)
    return failure.exit_code


def _run(options: Values, words: list[str]) -> int:
    log.to(options.get("log") or "", options.get("log-format") or "text")
    if options.get("version"):
        from minirun import __version__
        from minirun.runtime.container import VERSION

        sys.stdout.write(f"minirun-oci version {__version__}\nspec: {VERSION}\n")
        return 0
    if options.get("help") or not words:
        sys.stdout.write(usage())
        return 0 if options.get("help") else errors.UsageError.exit_code
    for name, known in CHOICES.items():
        if options.get(name, True) not in (True, *known):
            raise errors.UsageError(f"--{name} takes {' or '.join(known)}")
    options["is-default-root"] = not options.get("root")
    options["root"] = os.path.abspath(options.get("root") or default_root())
    return _command(options, *words)


def default_root() -> str:
    """Where everybody may write who can only write there: a user, also one who plays root in a
    user namespace, has a directory of his own (XDG_RUNTIME_DIR)."""
    own = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid():
        return (own or _own_directory(os.geteuid())) + "/minirun/oci"
    if own:
        from minirun import idmap

        if not idmap.is_root_of_machine():
            return own + "/minirun/oci"
    return DEFAULT_ROOT


def _own_directory(uid: int) -> str:
    """Of a user whom nobody told where: what systemd makes, or else one in /tmp, where somebody
    else may have been first."""
    path = f"/run/user/{uid}"
    if os.access(path, os.W_OK):
        return path
    path = f"/tmp/minirun-{uid}"
    os.makedirs(path, 0o700, exist_ok=True)
    found = os.lstat(path)
    if (found.st_uid, found.st_mode) != (uid, 0o40700):  # a directory: inode(7)
        raise errors.UsageError(f"{path} is not ours alone", hint="set XDG_RUNTIME_DIR, or --root")
    return path


def _command(options: Values, name: str, *words: str) -> int:
    if name not in COMMANDS:
        raise errors.UsageError(
            f"unknown command {errors.printable(name)}", hint="minirun-oci --help"
        )
    command = module(name)
    names = command.ARGUMENTS
    open_end = bool(names) and "…" in names[-1]
    line = Line((*command.OPTIONS, HELP))
    line.parse(list(words), until_argument=open_end)
    if line.options.get("help"):
        sys.stdout.write(usage_of(name))
        return 0
    least = sum(1 for argument in names if not argument.startswith("["))
    most = len(line.arguments) if open_end else len(names)
    if not least <= len(line.arguments) <= most:
        raise errors.UsageError(f"usage: {_form(name)}", hint=f"minirun-oci {name} --help")
    return command.run({**options, **line.options}, *line.arguments) or 0


def module(name: str) -> Any:
    """The module of a command: commands/__init__.py says what is in it."""
    return __import__(f"minirun.runtime.commands.{name}", fromlist=["run"])


def _form(name: str) -> str:
    return " ".join(["minirun-oci", name, "[OPTION…]", *module(name).ARGUMENTS])


def usage() -> str:
    names = [f"  {name:12}{what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: minirun-oci [OPTION…] COMMAND …", "", "options:", *table(GLOBAL), "",
         "commands (minirun-oci COMMAND --help says more):", *names, ""]
    )  # fmt: skip


def usage_of(name: str) -> str:
    command = module(name)
    lines = [f"usage: {_form(name)}", "", command.__doc__.strip()]
    return "\n".join([*lines, "", "options:", *table((*command.OPTIONS, HELP)), ""])


if __name__ == "__main__":
    main()
