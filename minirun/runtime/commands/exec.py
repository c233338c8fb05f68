"""Run one more process in a container; the options change what config.json says of the first.

The exit code is the command's own, or 128 + n if signal n ended it."""

from __future__ import annotations

from minirun import document, errors
from minirun.runtime import exec, foreground, handover, step
from minirun.runtime import spec as specs
from minirun.runtime.capabilities import BITS
from minirun.runtime.container import PAUSED, Container
from minirun.runtime.setup import Setup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (
    (("-p", "--process"), "FILE", "take all of it from this file, such as process of config.json"),
    (("--cwd",), "DIR", "the working directory"),
    (("-e", "--env"), "NAME=VALUE…", "one more variable of the environment"),
    (("-u", "--user"), "UID[:GID]", "by numbers"),
    (("-g", "--additional-gids"), "GID…", "one more group"),
    (("-t", "--tty"), "", "give it a terminal"),
    (("-c", "--cap"), "CAP_NAME…", "grant one more capability"),
    (("--apparmor",), "PROFILE", "the AppArmor profile"),
    (("--process-label",), "LABEL", "the SELinux label"),
    (("--no-new-privs",), "", "let no program raise its privileges"),
    (("--ignore-paused",), "", "also in a paused container; it waits there"),
    (("--cgroup",), "PATH…", "a cgroup below the container's, [CONTROLLER,…:]PATH"),
    (("--preserve-fds",), "N", "how many file descriptors above 2 the command gets"),
    (("--pid-file",), "FILE", "write the process ID to this file"),
    (("--console-socket",), "PATH", "send the terminal's master to this socket"),
    (("--pidfd-socket",), "PATH", "send a pidfd of the process to this socket"),
    (("-d", "--detach"), "", "return when the command has been started"),
)
ARGUMENTS = ("ID", "[COMMAND…]")
FIELDS = {"cwd": "cwd", "apparmor": "apparmorProfile", "process-label": "selinuxLabel",
          "no-new-privs": "noNewPrivileges"}  # fmt: skip


def run(options: Values, container_id: str, *words: str) -> int:
    container = Container.load(options["root"], container_id, lock=False)
    if not (options.get("ignore-paused") and container.status() == PAUSED):
        container.require("exec")
    config, detached = container.config(), bool(options.get("detach"))
    config["process"] = _process(config["process"], options, list(words))
    specs.check(config)
    handover.check_terminal(options, config["process"], detached=detached)
    preserved = handover.open_fds(options.get("preserve-fds", "0"), 0)
    cgroup = container.cgroup()
    assert cgroup is not None  # whatever lives has one
    setup = Setup(container, config, cgroup)
    setup.below = _below(options.get("cgroup") or [])
    setup.preserved, setup.explainer = preserved, step.explainer(options)
    setup.console_socket = options.get("console-socket") or ""
    signal_fd = None if detached else foreground.hold_signals()
    exec.execute(setup)
    handover.announce(options, setup.pid)
    return 0 if signal_fd is None else foreground.wait(setup, signal_fd)


def _process(first: dict[str, Any], options: Values, words: list[str]) -> dict[str, Any]:
    """What is to be run: all that --process says, or the first process with these changes."""
    if options.get("process"):
        with open(options["process"], "rb") as file:
            process: dict[str, Any] = document.loads(file.read(), options["process"])
        return process
    if not words:
        raise errors.UsageError("exec: what is to be run?", hint="minirun-oci exec ID COMMAND …")
    process = {**first, "args": words, "terminal": bool(options.get("tty"))}
    for option, field in FIELDS.items():
        if options.get(option):
            process[field] = options[option]
    process["env"] = [*(first.get("env") or []), *(options.get("env") or [])]
    process["user"] = _user(first.get("user") or {}, options)
    if options.get("cap"):
        process["capabilities"] = _with_capabilities(first.get("capabilities") or {}, options)
    return process


def _user(user: dict[str, Any], options: Values) -> dict[str, Any]:
    more = [_number("--additional-gids", gid) for gid in options.get("additional-gids") or []]
    user = {**user, "additionalGids": [*(user.get("additionalGids") or []), *more]}
    if options.get("user"):
        uid, colon, gid = options["user"].partition(":")
        user["uid"] = _number("--user", uid)
        if colon:
            user["gid"] = _number("--user", gid)
    return user


def _number(option: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise errors.UsageError(f"{option}: not a number: {errors.printable(text)!r}")
    return int(text)


def _with_capabilities(sets: dict[str, Any], options: Values) -> dict[str, Any]:
    """Not in the inheritable set: every program with file capabilities would have them in its
    permitted set (CVE-2022-29162). And so the ambient set can have only what is in there already.
    """
    for name in options["cap"]:
        if name not in BITS:
            raise errors.UsageError(f"--cap: unknown capability {errors.printable(name)}")
    grown = ["bounding", "effective", "permitted"] + ["ambient"] * bool(sets.get("inheritable"))
    return {**sets, **{kind: [*(sets.get(kind) or []), *options["cap"]] for kind in grown}}


def _below(wanted: list[str]) -> dict[str, str]:
    """{controller: path} of all --cgroup [CONTROLLER,…:]PATH; "" for all controllers"""
    paths = {}
    for word in wanted:
        controllers, _, path = word.rpartition(":")
        names = [name for name in path.split("/") if name]
        if not path.isprintable() or any(name in (".", "..") for name in names):
            raise errors.UsageError(f"--cgroup: no path below the container's: {path!r}")
        paths.update(dict.fromkeys(controllers.split(","), "".join(f"/{name}" for name in names)))
    return paths
