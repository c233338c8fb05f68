"""``minirun exec``: one more process in a container that runs.

It is the runtime that goes inside; we say what is to be run, and as whom, and stand between the
process and our terminal for as long as it lives::

    without -t   minirun-oci exec                              has our standard streams itself
    with -t      minirun-oci exec --detach --console-socket S  S is sent the terminal (screen.py)
    with -d      minirun-oci exec --detach                     returns, and so do we

A process begins as the container's first one did (config.json, "process"), but for what the
options change: the same edits as for ``run``. What it writes does not go into the container's log.
"""

from __future__ import annotations

import os
import sys
from _signal import SIG_IGN, SIG_SETMASK, SIGHUP, signal  # type: ignore[import-not-found]

from minirun import document
from minirun.engine import edits, events, powers
from minirun.engine.container import SHORT, read
from minirun.engine.foreground import Signals, attend, shell_code
from minirun.engine.oci import fd_path, in_memory
from minirun.engine.terminal import CHUNK, console_size
from minirun.errors import StateError
from minirun.image import bundle, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State

    Document = dict[str, Any]

KILLED = 9  # SIGKILL
MOST_FILES = 1 << 20  # no process has more open. sysctl fs.nr_open
EDITS = {"tty", "workdir", "env_file", "env"}  # those of ``run`` that mean the same here


class Exec:
    """One more process in ``container``, which must be running."""

    def __init__(
        self, state: State, container: Container, words: Sequence[str], options: Mapping[str, Any]
    ) -> None:
        container.require_running()
        self.paths, self.container, self.options = state.paths, container, options
        self.runtime = state.runtime(container)
        self.command = words[0]
        self.process = in_memory(document.dumps(describe(container, words, options)).encode())
        self.log = in_memory()
        self.ident = os.urandom(32).hex()  # events tell one from the other by it

    def run(self) -> int:
        """Start it and, unless told to detach, wait for its end; the exit code."""
        os.chdir(self.container.directory)  # a socket's path must be short: it is named from here
        self.tell("exec_create")
        self.tell("exec_start")
        signals = Signals()
        if self.options["tty"]:
            code = self._with_terminal(signals)
        else:
            code = attend(self._start(["--detach"] if self.options["detach"] else []), signals)
        if failure := code and self.runtime.failure(fd_path(self.log), self.command, code):
            raise failure
        if not self.options["detach"]:
            self.tell("exec_die", exitCode=shell_code(code))
        return shell_code(code)

    def tell(self, action: str, **more: object) -> None:
        events.of_container(self.paths, self.container, action, execID=self.ident, **more)

    def _start(self, options: Sequence[str]) -> int:
        """Start the runtime; its process id. A process that is left alone is given no stream of
        ours: its errors, and those of runtimes that tell them by no exit code, are in the log."""
        detached, log = self.options["detach"], fd_path(self.log)
        before = ["--log", log, "--log-format", "json"] if detached else []
        verb = ["exec", *options, "--process", fd_path(self.process), self.container.id]
        return self.runtime.start(
            verb,
            options=before or self.runtime.log_options(log),
            stdin=self.options["interactive"] and not self.options["tty"] and not detached,
            quiet=detached,
        )

    def _with_terminal(self, signals: Signals) -> int:
        """The runtime returns once the process runs; we are its reaper, and copy keys and bytes."""
        from minirun import linux
        from minirun.engine import console

        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        name, pid_file = f"exec-{os.getpid()}.sock", f"exec-{os.getpid()}.pid"
        listener = console.listen(name)
        verb = ["--detach", "--console-socket", name, "--pid-file", pid_file]
        code = attend(self._start(verb), signals)
        master = console.receive(listener)
        if code:
            return code
        assert master is not None
        pid = take_number(pid_file)
        if self.options["detach"]:
            keep(master)
            return 0
        return self._attend(pid, signals, master)

    def _attend(self, pid: int, signals: Signals, master: int) -> int:
        from minirun.engine import keys, oom
        from minirun.engine.screen import Screen
        from minirun.engine.terminal import Detached

        counter = oom.counter(pid)
        before = oom.kills(counter)
        letting_go = keys.parse(self.options["detach_keys"])
        try:
            with Screen(master, interactive=self.options["interactive"], keys=letting_go) as screen:
                code = attend(pid, signals, screen)
        except Detached:
            keep(master)
            return 0
        if code == -KILLED and oom.kills(counter) > before:
            print("killed by the out-of-memory killer", file=sys.stderr)
        return code


def keep(master: int) -> None:
    """Leave a process behind that keeps a terminal open, and drops what is written to it: without
    its other end, the processes at the terminal would be hung up. pty(7)"""
    from minirun import linux

    if os.fork():
        return
    os.setsid()
    signal(SIGHUP, SIG_IGN)  # it may be on its way: our session may have ended before it left
    linux.sigprocmask(SIG_SETMASK, [])
    os.dup2(master, 3)
    os.closerange(4, MOST_FILES)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.set_blocking(3, True)
    try:
        while os.read(3, CHUNK):
            pass
    except OSError:  # EIO: nobody has the terminal open any more
        pass
    os._exit(0)


def take_number(path: str) -> int:
    """The number in a file that was made for us, and which nobody needs any more."""
    with open(path, encoding="ascii") as file:
        number = int(file.read())
    os.unlink(path)
    return number


def describe(container: Container, words: Sequence[str], options: Mapping[str, Any]) -> Document:
    """``process`` of config.json for one more process: the first one's, with some edits."""
    spec = read(container.path("config.json")) or {}
    if "process" not in spec:
        raise StateError(f"container {container.id[:SHORT]} is damaged: config.json")
    process: Document = spec["process"]
    process.update(args=list(words), terminal=False)
    for name, edit in edits.EDITS:
        if name in EDITS and options.get(name):
            edit(spec, options[name])
    if options.get("user"):
        become(process, options["user"], container.path("rootfs"))
    if options.get("privileged"):
        powers.set_capabilities(spec, powers.held_capabilities())
    if options.get("tty") and (size := console_size()):
        process["consoleSize"] = size
    return process


def become(process: Document, wish: str, root: str) -> None:
    """Be another user, by the names in the container, at home where that user is at home; but if
    the image or somebody else says where home is, it stays there."""
    before = user.resolve(str(process["user"]["uid"]), root)
    found = user.resolve(wish, root)
    process["user"] = found.spec()
    if f"HOME={before.home}" in process["env"]:
        bundle.set_variable({"process": process}, f"HOME={found.home}")
