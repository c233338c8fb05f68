"""What ``create`` and ``exec`` do alike: the making of a process that becomes a command.

It takes two: the parent, who stays outside, and the child, whose life is to take steps. These
functions and steps are used by both (create.py and init.py, exec.py), with those of execute.py.

Interface: receive, receive_ready, send_filter, set_limits, prioritise, reap (parent); live,
receive_filter, change_directory (child); and steps.
"""

from __future__ import annotations

import errno
import os

from minirun import errors, linux
from minirun.runtime import log, signals
from minirun.runtime import spec as specs
from minirun.runtime.step import take
from minirun.runtime.sync import PACKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.runtime.setup import Setup

SIG_SETMASK = 2
MFD_EXEC = 0x10


def receive(setup: Setup) -> list[Any]:
    """The child's next message; with the master of a terminal, that is handed on.

    An end of file is an error: then the child was killed, and not by us.
    """
    message, master = setup.channel.receive()
    if master is not None:
        from minirun.runtime import terminal

        setup.master = terminal.hand_out(master, setup.console_socket)
    if message:
        return message
    if setup.cgroup.oom_kills():
        raise errors.StepError(
            "killed by the out-of-memory killer before the command was started",
            hint=f"the memory limit of {setup.cgroup.memory_limit()} bytes is too small",
        )
    raise errors.StepError("the process was killed before the command was executed")


def receive_ready(setup: Setup) -> str:
    """Wait for the child's last message; what it suspects of the command's file."""
    _, suspicion, ungranted = receive(setup)
    if ungranted:
        names = errors.printable(", ".join(ungranted))
        log.warn([errors.Error(f"process.capabilities: cannot be granted: {names}")])
    return str(suspicion)


def compile_filter(setup: Setup) -> None:
    """Turn the rules about system calls into a program for the kernel.

    why:    the child, which will install it, has other things to do until then: two processors
            are done in half the time
    man:    seccomp(2)
    """
    if setup.linux("seccomp"):
        from minirun.runtime import seccomp

        setup.filter = seccomp.compile(setup.linux("seccomp"), os.uname().machine)
        setup.filter_flags = seccomp.flags(setup.linux("seccomp"))


def send_filter(setup: Setup) -> None:
    if setup.filter:
        try:
            setup.channel.send("filter", setup.filter_flags)
            setup.channel.socket.send(setup.filter)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the child has failed meanwhile; why, is the next that we receive


def receive_filter(setup: Setup) -> None:
    if setup.linux("seccomp"):
        (_, setup.filter_flags), _ = setup.channel.expect("filter")
        setup.filter = setup.channel.socket.recv(PACKET)


def prioritise(process: dict[str, Any], pid: int) -> None:
    """Set the scheduler and the priorities, with powers that the process has given up."""
    if process.get("scheduler") or process.get("ioPriority"):
        from minirun.runtime import scheduling

        scheduling.prioritise(pid, process)


def set_limits(process: dict[str, Any], pid: int) -> None:
    """Set the resource limits, when no Python of ours is in the way any more.

    Without CAP_SYS_RESOURCE they can be set only while the process is still root, as we are.
    """
    for limit in process.get("rlimits") or []:
        number = specs.RLIMITS[limit["type"]]
        try:
            linux.prlimit(pid, number, limit["soft"], limit["hard"])
        except PermissionError as error:
            raise errors.StepError(
                f"process.rlimits: {limit['type']} cannot be raised to {limit['hard']}",
                hint="ulimit -H shows what we may set at most without CAP_SYS_RESOURCE",
            ) from error


def reap(setup: Setup) -> None:
    """Collect the children of a set-up that failed: who called us may never do it."""
    for pid in filter(None, (setup.first_child, setup.pid)):
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:  # collected already
            pass


def live(setup: Setup, steps: tuple[Callable[[Setup], None], ...]) -> None:
    """The life of a child: it takes steps, and sends home what goes wrong. It never returns."""
    try:
        take(steps, setup, setup.explainer)
    except errors.Error as error:
        setup.channel.send_error(error)
    except BaseException as error:
        setup.channel.send_error(errors.Error(f"{type(error).__name__}: {error}"))
    finally:  # also when nobody is left to be told
        os._exit(errors.Error.exit_code)


def set_oom_score(setup: Setup) -> None:
    """Say how early the container shall die when the machine is out of memory.

    why:    in the user namespace the file is no longer ours; children inherit the score
    shell:  echo 500 > /proc/self/oom_score_adj
    man:    proc_pid_oom_score_adj(5)
    """
    score = setup.process.get("oomScoreAdj")
    if score is not None:
        try:
            linux.write_file("/proc/self/oom_score_adj", str(score))
        except PermissionError as error:
            raise errors.StepError(
                f"process.oomScoreAdj: {score}: only who has CAP_SYS_RESOURCE may lower it",
                hint="cat /proc/self/oom_score_adj shows what it is",
            ) from error


def call_agent(setup: Setup) -> None:
    """Connect to the seccomp agent, if rules of the filter ask it.

    why:    in a user namespace, and in the root, its socket may be out of reach
    man:    seccomp_unotify(2), unix(7)
    """
    if specs.notifies(setup.linux("seccomp") or {}):
        from minirun.runtime.agent import Agent

        setup.agent = Agent(setup.linux("seccomp"))


def begin_session(setup: Setup) -> None:
    """Begin a session, with clean signals and a keyring of the container's.

    why:    a terminal of the host must not be ours to type into; a keyring neither to read
    shell:  setsid …; keyctl new_session
    man:    setsid(2), session-keyring(7), ioctl_tty(2) (TIOCSTI)
    """
    linux.setsid()
    linux.signal_default(signals.PIPE)  # Python ignores these two, and what is ignored stays so
    linux.signal_default(signals.XFSZ)
    linux.sigprocmask(SIG_SETMASK, ())
    os.umask(0)
    if setup.new_keyring:
        linux.keyctl(linux.KEYCTL_JOIN_SESSION_KEYRING, f"_ses.{setup.container.id}")


def borrow_from_host(setup: Setup) -> None:
    """Open what we need of the host while its files are still there.

    why:    its /proc can be trusted; the program that will start the command takes a memfd
    man:    memfd_create(2)
    """
    setup.last_cap = int(_read("/proc/sys/kernel/cap_last_cap"))
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        setup.image = os.memfd_create("minirun-oci:init", flags | MFD_EXEC)
    except OSError:
        setup.image = os.memfd_create("minirun-oci:init", flags)  # before Linux 6.3
    setup.image_reader = os.open(f"/proc/self/fd/{setup.image}", os.O_RDONLY | os.O_CLOEXEC)
    if setup.process.get("apparmorProfile"):
        from minirun.runtime import apparmor

        setup.profile = apparmor.profile(setup.process["apparmorProfile"])
    if setup.linux("memoryPolicy"):
        from minirun.runtime import scheduling

        setup.memory_policy = scheduling.memory_policy(setup.linux("memoryPolicy"))


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def change_directory(setup: Setup, open_directory: Callable[[str], int]) -> None:
    path = setup.process["cwd"]
    try:
        fd = open_directory(path)
        linux.fchdir(fd)
        os.close(fd)
        os.getcwd()
    except OSError as error:
        shown, outside = errors.printable(path), error.errno in (errno.ELOOP, errno.ENOENT)
        why = "it leads outside the container" if outside else error.strerror
        raise errors.StepError(f"process.cwd: cannot chdir to {shown}: {why}") from error
