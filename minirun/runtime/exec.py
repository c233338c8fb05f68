"""One more process in a container that runs already: ``minirun-oci exec``.

Nothing is made here but a process, which joins what ``create`` has made::

    parent                       joiner                              the command
      │ fork ──────────────────────►│ enter the cgroup, the namespaces
      │ "filter" ──────────────────►│
      │ ◄────── "ready" (+ terminal)│
      │ ◄────────────────── "limit" │ exec of the trampoline
      │ resource limits             │
      │ "go" ──────────────────────►│
      │ ◄────────────────────── "on"│ all powers given up
      │                             │ clone ───────────────────────────►│
      │ ◄────────────────── its pid │ exit                              │
      │ priorities                                                      │
      │ "go" ──────────────────────────────────────────────────────────►│
      │ ◄──────────────────────────────────────────────────────── "on"  │ seccomp, execve
      │ ◄───────────────────────────────────────────────── end of file  │

setns(2) moves a process into namespaces of all kinds but one: into a PID namespace go only the
children that it gets from then on. That is our protection. The joiner, a Python with all powers,
is never in there for others to look at, to trace or to stop. What appears there is the trampoline's
child (trampoline.py): one sealed page, which has no power that the command is not to have, and
which others cannot trace before it is the command (PR_SET_DUMPABLE; CVE-2016-9962).

The clone is made with CLONE_PARENT, so that the command is a child of ours, to be waited for; and
when we leave it with --detach, it becomes a child of our caller's, if that is a subreaper.

Interface: STEPS, execute.
"""

from __future__ import annotations

import errno
import os

from minirun import errors, idmap, linux
from minirun.runtime import failure, namespaces, process, signals, sync, trampoline
from minirun.runtime import spec as specs
from minirun.runtime.execute import become, close_on_exec, find_command, say_ready
from minirun.runtime.step import take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.setup import Setup
    from minirun.runtime.trampoline import Call

LIMIT, GO, ON, TOLD = b"limit", b"go", b"on", b"told"


def execute(setup: Setup) -> None:
    """Start a process in a container; afterwards it runs, and ``setup.pid`` is its number."""
    try:
        take(STEPS, setup, setup.explainer)
    except BaseException:
        setup.channel.close()  # who waits for an answer ends
        process.reap(setup)
        raise


def hold_init(setup: Setup) -> None:
    """Take hold of the container's first process, by a file descriptor.

    why:    numbers of processes are used again; through the descriptor we join its namespaces, or
            none at all
    man:    pidfd_open(2)
    """
    setup.init = setup.container.pidfd()


def fork_joiner(setup: Setup) -> None:
    """Fork the process that goes into the container.

    why:    what we join ourselves we could not leave again
    shell:  nsenter --target PID --all …
    man:    fork(2), setns(2)
    """
    setup.first_child = linux.fork()
    if setup.first_child == 0:
        setup.become_child()
        process.live(setup, JOINER_STEPS)
    setup.end_of_child.close()


def await_command(setup: Setup) -> None:
    """Wait for the command's number, set its limits, and wait until it has been executed.

    why:    a limit such as RLIMIT_AS must not hit Python; raising one needs our powers
    shell:  prlimit --pid PID --nofile=1024:4096
    man:    prlimit(2), getrlimit(2)
    """
    process.send_filter(setup)
    suspicion = process.receive_ready(setup)
    while answer := setup.channel.socket.recv(sync.PACKET):
        if answer == ON:
            continue
        if answer == TOLD and setup.agent:
            setup.agent.finish(setup.pid)
            continue
        if answer == LIMIT:
            process.set_limits(setup.process, setup.first_child)
            setup.channel.socket.send(GO)
            continue
        if answer.endswith(b"]") or (result := trampoline.report(answer)[1]) < 0:
            raise failure.reason(answer, setup.process["args"][0], suspicion)
        setup.pid = result
        process.prioritise(setup.process, setup.pid)
        setup.channel.socket.send(GO)
    if not setup.pid:
        raise errors.StepError("the process was killed before the command was executed")
    os.waitpid(setup.first_child, 0)


STEPS = (hold_init, process.call_agent, fork_joiner, process.compile_filter, await_command)


def enter_cgroup(setup: Setup) -> None:
    """Enter the container's cgroup; all that come from this process will be in it.

    why:    what is started later shall not escape the limits either
    shell:  echo $$ > /sys/fs/cgroup/minirun/ID/cgroup.procs
    man:    cgroups(7), sched_setaffinity(2)
    """
    _run_on(setup, "initial")
    try:
        setup.cgroup.enter(setup.below)
    except OSError as error:
        if error.errno != errno.EBUSY or setup.below:
            raise
        # On v2 only leaves have processes: the container has moved its own to cgroups below.
        setup.cgroup.of(setup.container.state["pid"]).enter()
    _run_on(setup, "final")


def _run_on(setup: Setup, when: str) -> None:
    """The processors of execCPUAffinity: "initial" before we enter the cgroup, "final" after."""
    if cpus := (setup.process.get("execCPUAffinity") or {}).get(when):
        from minirun.runtime import scheduling

        scheduling.set_affinity(cpus, f"process.execCPUAffinity.{when}")


def join_namespaces(setup: Setup) -> None:
    """Join the namespaces of the container's first process, all at once.

    why:    from here on we see what the container sees; but it does not see us
    shell:  nsenter --target PID --user --mount --uts --ipc --net --cgroup --pid
    man:    setns(2), pid_namespaces(7), prctl(2) (PR_SET_DUMPABLE)
    """
    if setup.process.get("terminal"):
        import minirun.runtime.terminal  # noqa: F401 (from here on the files are the container's)
    pid, kinds = setup.container.state["pid"], specs.namespaces(setup.spec)
    uid, gid, setup.may_set_groups = idmap.identity(setup.process, pid)
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # where there is no PID namespace we are seen after all
    linux.setns(setup.init, namespaces.flags(kinds))
    if "mount" not in kinds:
        linux.fchdir(root)
        os.chroot(".")
    if "user" in kinds:
        idmap.become(uid, gid)


def open_terminal(setup: Setup) -> None:
    """Open a pseudo-terminal in the container's /dev/pts and make it stdin, stdout and stderr.

    why:    so that a shell inside has job control; its other end goes to who shows it to a person
    shell:  script -c 'sh' /dev/null
    man:    pty(7), pts(4), ioctl_tty(2)
    """
    if not setup.process.get("terminal"):
        return
    from minirun.runtime import terminal

    size = setup.process.get("consoleSize")
    setup.master, slave = terminal.open_pair(linux.AT_FDCWD, size)
    terminal.use(slave)


def enter_directory(setup: Setup) -> None:
    """Go to the working directory, and make sure that it lies in the container.

    why:    a path such as /proc/1/root may lead elsewhere (CVE-2024-21626)
    shell:  cd /work
    man:    chdir(2), openat2(2), getcwd(2)
    """
    process.change_directory(setup, _open_directory)


def _open_directory(path: str) -> int:
    try:
        flags, resolve = os.O_PATH | os.O_DIRECTORY, linux.RESOLVE_NO_MAGICLINKS
        return linux.openat2(linux.AT_FDCWD, path, flags, resolve=resolve)
    except FileNotFoundError:  # create would make it
        raise errors.StepError(
            f"process.cwd: cannot chdir to {errors.printable(path)}: no such file or directory"
        ) from None


def become_command(setup: Setup) -> None:
    """Give up all powers but those granted, appear in the container, and execute the command.

    why:    in this order, so that nobody in there meets a process that can do more than they;
            made by the trampoline, see trampoline.py
    shell:  setpriv --bounding-set -all --no-new-privs --reuid 1000 --regid 1000 --clear-groups CMD
    man:    clone(2), capabilities(7), seccomp(2), execve(2)
    """
    process.receive_filter(setup)
    say_ready(setup, setup.master)
    error_fd = 3 + setup.preserved
    wait: list[Call] = [
        ("recvfrom", error_fd, 0, 0, 0, 0),  # returns at the end of file, too: our parent is dead
        ("sendto", error_fd, ON, len(ON), linux.MSG_NOSIGNAL, 0),  # then this fails
    ]
    be_limited: list[Call] = [
        close_on_exec(error_fd),
        ("sendto", error_fd, LIMIT, len(LIMIT), linux.MSG_NOSIGNAL, 0),
        *wait,
    ]
    appear: list[Call] = [
        ("prctl", linux.PR_SET_DUMPABLE, 0),  # execve has undone it, and will again
        ("clone", linux.CLONE_PARENT | signals.CHLD, 0, 0, 0, 0),
        ("setsid",),
        *wait,
    ]
    if setup.agent:
        setup.agent.told = ("sendto", error_fd, TOLD, len(TOLD), linux.MSG_NOSIGNAL, 0)
    become(setup, setup.channel.fileno(), be_limited, appear, error_fd)


JOINER_STEPS = (
    enter_cgroup,
    process.set_oom_score,
    process.begin_session,
    process.borrow_from_host,
    join_namespaces,
    open_terminal,
    enter_directory,
    find_command,
    become_command,
)
