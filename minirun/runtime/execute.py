"""The last two steps of the child: to find the command's file, and to become it.

Between the two the container is "created": all is ready, and it waits for ``start``. Who waits is
no longer this Python but the trampoline (trampoline.py), unless there are startContainer hooks, for
those take a program that can run them.
"""

from __future__ import annotations

import fcntl
import os
import stat

from minirun import linux
from minirun.runtime import capabilities, command, hooks, powers, trampoline
from minirun.runtime.container import CREATED, RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from minirun.runtime.setup import Setup

DOMAINS = {"LINUX": 0x0, "LINUX32": 0x8}  # PER_LINUX, PER_LINUX32: personality(2)
TIOCSCTTY = 0x540E  # make stdin the terminal that this session is controlled by: ioctl_tty(2)
F_SEAL_ALL = 0xF  # no seal may be added, no shrinking, growing, writing: memfd_create(2)


def find_command(setup: Setup) -> None:
    """Find the command's file, as a shell would.

    why:    what cannot be run is better said by "create", with the reason, than by "start"
    shell:  command -v sh
    man:    execvp(3), execve(2), elf(5)
    """
    variables = dict(entry.split("=", 1) for entry in setup.process.get("env") or [])
    if not variables.get("HOME"):
        uid = (setup.process.get("user") or {}).get("uid") or 0
        variables["HOME"] = command.home(uid)
    # of several with one name the last one counts, lest a program finds the first
    environment = setup.process["env"] = [f"{name}={value}" for name, value in variables.items()]
    setup.path, setup.suspicion = command.find(setup.process["args"][0], environment)


def execute(setup: Setup) -> None:
    """Wait for "start", give up all powers but those granted, and execute the command.

    why:    last, because the set-up needed them; made by the trampoline, see trampoline.py
    shell:  setpriv --bounding-set -all --no-new-privs --reuid 1000 --regid 1000 --clear-groups CMD
    man:    capabilities(7), seccomp(2), execve(2)
    """
    door = 3 + setup.preserved
    if (setup.spec.get("hooks") or {}).get("startContainer"):
        become(setup, _wait_for_start(setup), [close_on_exec(door)], [], door)
    say_ready(setup)
    # accept(2) takes the lowest free number, which is the one after those that we keep.
    calls: list[trampoline.Call] = [("accept4", door, 0, 0, os.O_CLOEXEC), close_on_exec(door)]
    become(setup, setup.listener.fileno(), calls, [], door + 1 + len(setup.helpers()))


def say_ready(setup: Setup, master: int | None = None) -> None:
    """Tell the parent that only the command is left to do, and what it will have to do without."""
    _, ungranted = capabilities.granted(setup.process.get("capabilities") or {})
    setup.channel.send("ready", setup.suspicion, ungranted, fd=master)


def close_on_exec(fd: int) -> trampoline.Call:
    return "fcntl", fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC


def become(
    setup: Setup,
    kept: int,
    before: list[trampoline.Call],
    between: list[trampoline.Call],
    error_fd: int,
) -> NoReturn:
    """Execute the trampoline, which gives up the powers and executes the command.

    It has ``kept`` as the first file descriptor above those that the command is to have; what fails
    is told to ``error_fd``. It makes the calls ``before`` when it still has all powers, and those
    ``between`` when nothing but the seccomp filter is left to do.
    """
    process, first = setup.process, 3 + setup.preserved
    user = process.get("user") or {}
    _own_standard_streams(user.get("uid") or 0, bool(process.get("terminal")))
    os.umask(0o022 if user.get("umask") is None else user["umask"])
    if setup.memory_policy:
        linux.set_mempolicy(*setup.memory_policy)
    needs_admin = bool(setup.filter) and not process.get("noNewPrivileges")
    calls = [*before, *powers.calls(process, setup.last_cap, setup.may_set_groups, needs_admin)]
    calls += between
    if process.get("terminal"):
        calls.append(("ioctl", 0, TIOCSCTTY, 0))
    keep = [kept, *setup.helpers()]
    last = first + len(keep) - 1
    free = max(error_fd, last) + 1  # the lowest: what the next call returns that opens something
    if setup.profile:
        calls += setup.profile.calls(last, free)
    if setup.filter:
        calls.append(powers.seccomp(setup.filter, setup.filter_flags))
    if setup.agent:
        status = RUNNING if setup.agent.told else CREATED
        calls += setup.agent.calls(first + 1, free, setup.container.report(status))
    calls.append(("execve", _text(setup.path), _texts(process["args"]), _texts(process["env"])))
    for name, *values in calls:
        linux.told(str(name), tuple(values), 0)
    image = trampoline.build(calls, error_fd)
    if setup.linux("personality"):  # last: it changes what uname(2) tells of the machine
        linux.personality(DOMAINS[setup.linux("personality")["domain"]])
    _execute(setup, image, keep, first)


def _text(text: str) -> bytes:
    return os.fsencode(text) + b"\0"


def _texts(texts: list[str]) -> list[trampoline.Argument]:
    return [*map(_text, texts), 0]


def _own_standard_streams(uid: int, terminal: bool) -> None:
    """Let the command's user open /dev/stdout anew. Terminals and files of the host's, which others
    use too, keep their owner."""
    for fd in (0, 1, 2):
        if terminal or stat.S_ISFIFO(os.fstat(fd).st_mode):
            try:
                os.fchown(fd, uid, -1)
            except OSError:
                pass  # of another user namespace; the open file works all the same


def _wait_for_start(setup: Setup) -> int:
    """Wait here, not in the trampoline, and run the startContainer hooks; the connection's fd."""
    say_ready(setup)
    connection, _ = setup.listener._accept()  # type: ignore[attr-defined]
    setup.listener.close()
    setup.channel.move(connection)  # from now on "start" is whom to tell
    hooks.run(setup.spec, "startContainer", setup.container.report("created"))
    return int(connection)


def _execute(setup: Setup, image: bytes, keep: list[int], first: int) -> NoReturn:
    """Execute ``image`` with ``keep`` as ``first``, ``first + 1``, …; those above end with that."""
    os.write(setup.image, image)
    fcntl.fcntl(setup.image, fcntl.F_ADD_SEALS, F_SEAL_ALL)
    os.close(setup.image)  # a file that is open for writing cannot be executed (ETXTBSY)
    above = first + len(keep)
    reader = fcntl.fcntl(setup.image_reader, fcntl.F_DUPFD_CLOEXEC, above)
    keep = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in keep]
    setup.channel.move(fcntl.fcntl(setup.channel.fileno(), fcntl.F_DUPFD_CLOEXEC, above))
    linux.close_range(first, flags=linux.CLOSE_RANGE_CLOEXEC)
    for number, fd in enumerate(keep, first):
        os.dup2(fd, number)
    if os.geteuid():
        powers.keep()
    setup.tell()
    os.execve(reader, ["minirun-oci init"], {})
