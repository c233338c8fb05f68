"""Hooks: programs that are run at fixed moments of a container's life (config.md, "Hooks").

===============  ==========================================  =====================================
kind             when                                        where
===============  ==========================================  =====================================
prestart         create, all is mounted (deprecated)         outside
createRuntime    create, after prestart                      outside
createContainer  create, before pivot_root                   in the namespaces, the host's files
startContainer   start, before the command                   in the container, its files
poststart        start, after the command was executed       outside
poststop         delete                                      outside
===============  ==========================================  =====================================

Each one reads the container's state on its standard input. One that fails, or takes longer than its
timeout, fails the operation; a poststop hook only causes a warning, for what is gone is gone.
Interface: run, run_all_warning.
"""

from __future__ import annotations

import os
import select

from minirun import document
from minirun.errors import Error, StepError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> None:
    """Run the hooks of one kind in order; the first that fails ends it with a StepError."""
    for hook in (spec.get("hooks") or {}).get(kind) or []:
        _run_one(spec, kind, hook, document.dumps(state).encode())


def run_all_warning(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> list[Error]:
    """Run all hooks of one kind, whatever happens to each; what went wrong is returned."""
    failures = []
    for hook in (spec.get("hooks") or {}).get(kind) or []:
        try:
            _run_one(spec, kind, hook, document.dumps(state).encode())
        except Error as error:
            failures.append(error)
    return failures


def _run_one(spec: dict[str, Any], kind: str, hook: dict[str, Any], state: bytes) -> None:
    name = f"{kind} hook {printable(hook['path'])}"
    # Unlike pipes these hold any length, read or not.
    stdin, output = os.memfd_create("state"), os.memfd_create("output")
    try:
        os.write(stdin, state)
        os.lseek(stdin, 0, os.SEEK_SET)
        pid = os.posix_spawn(
            hook["path"],
            hook.get("args") or [hook["path"]],
            _environment(spec, kind, hook),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsigmask=(),
        )
        status = _wait(pid, name, hook.get("timeout"))
        if status:
            how = f"exited with {status}" if status > 0 else f"was killed by signal {-status}"
            raise StepError(f"{name} {how}{_last_words(output)}")
    except OSError as error:
        raise StepError(f"{name} cannot be run: {error.strerror}") from error
    finally:
        os.close(stdin)
        os.close(output)


def _environment(spec: dict[str, Any], kind: str, hook: dict[str, Any]) -> dict[str, str]:
    """The hook's ``env``. Without one, even an empty one, it is the command's for a hook in the
    container, and else our own, as with runc and crun."""
    env = hook.get("env")
    if env is None and kind != "startContainer":
        return dict(os.environ)
    return dict(entry.split("=", 1) for entry in (spec["process"]["env"] if env is None else env))


def _last_words(output: int) -> str:
    """What the hook said about its failure."""
    said = os.pread(output, 4096, max(0, os.fstat(output).st_size - 4096))
    lines = said.decode(errors="replace").strip().splitlines()
    return f": {printable(lines[-1])}" if lines else ""


def _wait(pid: int, name: str, timeout: int | None) -> int:
    """The exit status; after ``timeout`` seconds the hook is killed and is an error."""
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    in_time = poll.poll(timeout * 1000 if timeout else None)
    os.close(pidfd)
    if not in_time:
        os.kill(pid, 9)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not in_time:
        raise StepError(f"{name} took longer than its timeout of {timeout} s")
    return status
