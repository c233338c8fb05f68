"""Starting an OCI runtime: minirun-oci, runc, crun, or any other with the same command line.

The engine never imports a runtime. It writes a bundle, starts the command with the bundle's path
and looks at its exit code: so the runtimes can be exchanged, and ``ps`` shows who does what.

    run --bundle DIR ID                                 stays until the container has ended
    run --bundle DIR --detach --console-socket S ID     returns; S is sent the container's terminal
    delete --force ID                                   ends the container, removes all that it had
"""

from __future__ import annotations

import os
import sys

from minirun.errors import CommandNotExecutable, CommandNotFound, Error, NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.paths import Paths

OWN = "minirun-oci"
# Where minirun-oci is not on PATH (in a source tree), the interpreter that runs us runs it.
SCRIPT = "import sys; sys.path.insert(0, {!r}); from minirun.runtime.cli import main; main()"
LOG = "runtime.log"
# To ignore a signal is inherited: Python ignores SIGPIPE, a shell SIGINT for what a script puts in
# the background. A container begins with none ignored. (9 and 19 cannot be, 32 and 33 are libc's.)
RESTORED = [number for number in range(1, 65) if number not in (9, 19, 32, 33)]

# What runc and crun say when the command itself was at fault; Docker reads the same words.
NOT_FOUND = ("executable file not found", "executable file `", "no such file or directory")
NOT_EXECUTABLE = ("permission denied", "exec format error", "is a directory", "not a directory")

# What exit codes of our own runtime say.
OWN_ERRORS = {error.exit_code: error for error in (CommandNotFound, CommandNotExecutable)}


class Runtime:
    """A runtime command, with its --root. ``name`` is a command's name or path."""

    def __init__(self, name: str, paths: Paths) -> None:
        self.name = name
        self.is_own = os.path.basename(name) == OWN
        self.command = _command(name)
        self.state = paths.oci

    def start(
        self,
        verb: Sequence[str],
        *,
        options: Sequence[str] = (),
        stdin: bool = True,
        quiet: bool = False,
        stdout: int = 1,
    ) -> int:
        """Start ``runtime --root … OPTIONS VERB…`` and return its process id.

        It is a group of its own: of a ^C at the terminal, it hears once, through us. With ``stdin``
        false it reads /dev/null, and with ``quiet`` it says nothing, unless to another ``stdout``.
        """
        actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = []
        if not stdin:
            actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
        if quiet:
            actions += [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
        if stdout != 1:
            actions.append((os.POSIX_SPAWN_DUP2, stdout, 1))
        line = [*self.command, "--root", self.state, *options, *verb]
        try:
            return os.posix_spawn(
                line[0],
                line,
                os.environ,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                setsigdef=RESTORED,
            )
        except OSError as error:
            raise Error(f"cannot start the runtime {self.name}: {error.strerror}") from None

    def call(self, *verb: str, files: Sequence[int] = ()) -> bytes:
        """Do ``runtime VERB…``, to its end; what it printed. Raises Error with what its log says.

        ``files`` are descriptors that it inherits (as ``in_memory`` makes them); they are closed.
        """
        printed, log = in_memory(), in_memory()
        try:
            options = ["--log", fd_path(log), "--log-format", "json"]
            pid = self.start(verb, options=options, stdin=False, quiet=True, stdout=printed)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code:
                failed = f"{self.name} {verb[0]} failed: exit code {code}"
                raise Error(_last_error(fd_path(log)) or failed)
            return os.pread(printed, os.fstat(printed).st_size, 0)
        finally:
            for fd in (printed, log, *files):
                os.close(fd)

    def delete(self, ident: str) -> None:
        """End the container, if it still runs, and remove everything the runtime made for it."""
        pid = self.start(["delete", "--force", ident], stdin=False, quiet=not self.is_own)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status and self.is_own:
            raise Error(f"{self.name} delete: exit code {status}")

    def log_options(self, log: str = LOG) -> list[str]:
        """Options of ``run`` for runtimes whose exit code does not say why they failed."""
        return [] if self.is_own else ["--log", log, "--log-format", "json"]

    def failure(self, log: str, command: str, code: int = Error.exit_code) -> Error | None:
        """Why the runtime itself ended with ``code``, as its ``log`` says; None if it did not."""
        message = _last_error(log)
        if message is None:
            return None
        if self.is_own:
            return OWN_ERRORS.get(code, Error)(message)
        lower = message.lower()
        if any(words in lower for words in NOT_FOUND):
            return CommandNotFound(f"{command}: no such command in the container")
        if any(words in lower for words in NOT_EXECUTABLE):
            return CommandNotExecutable(f"{command}: cannot be executed")
        return Error(f"{self.name} could not run the container")


def in_memory(data: bytes = b"") -> int:
    """A file without a name, which ends with those who have it open: we and our children."""
    fd = os.memfd_create("minirun", 0)
    os.write(fd, data)
    return fd


def fd_path(fd: int) -> str:
    """The name by which a child can open a file that it has inherited."""
    return f"/proc/self/fd/{fd}"


def _command(name: str) -> list[str]:
    """The command line's beginning: our own runtime is found beside the program that runs."""
    if "/" in name:
        if not os.access(name, os.X_OK):
            raise NotFound(f"no such runtime: {name}")
        return [os.path.abspath(name)]
    folders = os.environ.get("PATH", os.defpath).split(":")
    if name == OWN:
        folders.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    for folder in filter(os.path.isabs, folders):
        if os.access(f"{folder}/{name}", os.X_OK):
            return [f"{folder}/{name}"]
    if name == OWN:
        project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        return [sys.executable, "-SI", "-c", SCRIPT.format(project)]
    if name.startswith("-") or not name:
        raise UsageError(f"{name!r} is not the name of a runtime")
    raise NotFound(f"no such runtime: {name}", hint=f"apt-get install {name}, or use {OWN}")


def _last_error(log: str) -> str | None:
    """The last message of level "error" in a runtime's log of JSON lines."""
    import json

    found = None
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
                    found = str(entry.get("msg", ""))
    except FileNotFoundError:
        return None
    return found
