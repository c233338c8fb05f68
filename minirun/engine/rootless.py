"""The engine of an ordinary user: a user namespace in which they are root, one for all commands.

    minirun ──forks──► holder: sleeps in namespaces of its own (user, mount, network)
       └─ setns(2) ────► the same ones: from here on root, but only of what is the user's

In a user namespace its root may mount, map and make networks; outside, they are who they were
before. What one command mounts the next has to see, so all join the same namespaces, and since
those end with the last process in them, a small one stays: the holder. It is found by a file,

    RUN/holder      its content says who the holder is; every command and every monitor that is in
                    the namespaces has a shared lock on it
    RUN/netns       the network namespace, to be joined by those who mean it (``enter_network``):
                    the others stay in the machine's, as they pull images and publish ports

The holder waits for an exclusive lock of that file. The kernel gives it when nobody else is left;
then the holder removes the file and ends, and nothing remains. If the holder is killed, any other
process in the namespaces leads the next command there, and that starts a new holder.

User 0 in the namespace is the user. Users 1, 2, … are those that root has lent them in /etc/subuid,
which newuidmap(1) maps; without any, there is one user only, and files of an image are all theirs.

user_namespaces(7), subuid(5), flock(2)
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from contextlib import suppress

from minirun import idmap, linux
from minirun.errors import Error, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.idmap import Row

    Document = dict[str, Any]

MADE = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWNET
JOINED = linux.CLONE_NEWUSER | linux.CLONE_NEWNS
# What a holder does: it waits for the lock of the file that it has open as 3.
HOLD = """import fcntl, os, sys
fcntl.flock(3, fcntl.LOCK_EX)
if os.fstat(3).st_nlink:
    os.unlink(sys.argv[1])
"""
# The user's network namespace does nothing but forward, also what comes by an uplink that begins
# later; and it takes an IPv6 address from that all the same. ip-sysctl.rst
ROUTER = (
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/forwarding", "1"),
    ("ipv6/conf/default/accept_ra", "2"),
)
READY = b"."
PROGRAMS = "newuidmap", "newgidmap"


def enter(run: str) -> int:
    """Become root in the user's namespaces, which are made if there are none.

    ``run`` is the store's directory of what only a running machine has. Returns a descriptor that
    keeps the namespaces as long as it is open, in this process or in another that it is given to.
    """
    here = os.getcwd()
    os.makedirs(run, 0o700, exist_ok=True)
    while (lock := _attend(f"{run}/holder")) is None:
        pass  # the last one to leave removed the file before we had its lock
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # setns(2) took it away, and with it /proc/self
    try:
        os.chdir(here)
    except OSError as error:
        reason = f"{here}: {error.strerror}, in the user namespace of our containers"
        raise Error(reason, hint="cd somewhere else") from error
    return lock


def _attend(path: str) -> int | None:
    """Lock the file and join the namespaces, or make both; None if the file was removed."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    if not os.pread(fd, 1, 0):
        fcntl.flock(fd, fcntl.LOCK_EX)  # this may let somebody else go first
    if not os.fstat(fd).st_nlink:
        os.close(fd)
        return None
    if content := os.pread(fd, 100, 0).decode():
        fcntl.flock(fd, fcntl.LOCK_SH)
        _join(fd, path, content)
    else:
        _make(fd, path)
    return fd


def _make(fd: int, path: str) -> None:
    """Make the namespaces and their holder, and join. The lock is ours alone so far."""
    rows = _rows()
    mapped, tell_mapped = os.pipe()
    holder, said = _child(lambda tell: _hold(path, tell, mapped))
    try:
        _expect(READY, said)
        idmap.write(holder, rows)
        os.write(tell_mapped, READY)
        _expect(b"", said)
    finally:
        for pipe in (mapped, tell_mapped, said):
            os.close(pipe)
    _write(fd, holder)
    fcntl.flock(fd, fcntl.LOCK_SH)
    _set_namespaces(holder)


def _hold(path: str, tell: int, mapped: int) -> None:
    """In the child: make the namespaces, be root in them, and become the holder."""
    linux.unshare(MADE)
    os.write(tell, READY)
    os.read(mapped, 1)
    linux.setresgid(0, 0, 0)
    linux.setresuid(0, 0, 0)
    for name, value in ROUTER:
        with suppress(FileNotFoundError):  # a kernel without IPv6
            linux.write_file(f"/proc/sys/net/{name}", value)
    network = os.path.dirname(path) + "/netns"
    os.close(os.open(network, os.O_WRONLY | os.O_CREAT, 0o600))
    linux.mount("/proc/self/ns/net", network, None, linux.MS_BIND)
    _become_holder(path)


def _succeed(path: str) -> None:
    """In the child: be the holder in the place of one that was killed."""
    enter_network(os.path.dirname(path))
    _become_holder(path)


def _become_holder(path: str) -> None:
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.dup2(os.open(path, os.O_RDWR), 3)
    os.execve(sys.executable, [sys.executable, "-SIc", HOLD, path], {})


def _child(action: Callable[[int], None]) -> tuple[int, int]:
    """Fork a child that does it: its process id, and a pipe. Through that come the child's own
    words, then the number of an error, or none if it has executed another program."""
    said, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, said
    try:
        os.close(said)
        action(tell)
    except OSError as error:
        os.write(tell, str(error.errno).encode())
    finally:
        os._exit(1)


def _expect(word: bytes, said: int) -> None:
    """Wait for this word of the child's; what else it says is an error, and raised."""
    heard = os.read(said, len(word) or 4)
    if heard == word:
        return
    number = int((heard + os.read(said, 4)) or errno.EIO)
    error = OSError(number, os.strerror(number))
    raise Error(
        f"cannot make a user namespace for user {os.geteuid()}: {error.strerror}",
        hint=idmap.remedy(error) or "sudo minirun …",
    )


def _join(fd: int, path: str, content: str) -> None:
    """Join the namespaces that the file tells of, by the holder or by who else is in them."""
    holder, _, identity = content.partition(" ")
    if _identity(holder) == identity:
        _set_namespaces(int(holder))
        return
    others = (pid for pid in os.listdir("/proc") if pid.isdecimal() and _identity(pid) == identity)
    survivor = next(others, None)
    if survivor is None:  # all that were in there have been killed
        fcntl.flock(fd, fcntl.LOCK_EX)
        _make(fd, path)
        return
    _set_namespaces(int(survivor))
    child, said = _child(lambda _: _succeed(path))
    _expect(b"", said)
    os.close(said)
    _write(fd, child)


def _identity(pid: int | str) -> str:
    """Which namespaces a process is in; "" if there is no such process, or is not the user's."""
    with suppress(OSError):
        user, mount = (os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in ("user", "mnt"))
        return f"{user} {mount}"
    return ""


def _write(fd: int, holder: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{holder} {_identity(holder)}".encode(), 0)


def _set_namespaces(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    linux.setns(pidfd, JOINED)
    os.close(pidfd)


def enter_network(run: str) -> None:
    """Join the network namespace in which the user's bridges are, for good."""
    fd = os.open(f"{run}/netns", os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(fd, linux.CLONE_NEWNET)
    except OSError as error:  # EINVAL: an empty file, on which nothing is mounted here
        raise Error(
            f"{run}/netns is no network namespace here: {os.strerror(error.errno or 0)}",
            hint="leave the namespace that you have made yourself (unshare, podman unshare)",
        ) from error
    finally:
        os.close(fd)


def in_network(run: str, action: Callable[[], object]) -> None:
    """Do it in the network namespace in which the user's bridges are, and be back afterwards.

    A child does it: who has no power over the machine's network cannot return to it (setns(2)).
    What goes wrong there is raised here as Error.
    """
    heard, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            enter_network(run)
            action()
        except (Error, OSError) as problem:
            error = problem if isinstance(problem, Error) else from_os_error(problem)
            os.write(tell, f"{error.message}\0{error.hint or ''}".encode(errors="replace"))
        except BaseException as problem:
            os.write(tell, f"minirun itself went wrong: {problem!r}\0".encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(tell)
    with open(heard, encoding="utf-8") as pipe:
        message, _, hint = pipe.read().partition("\0")
    os.waitpid(child, 0)
    if message:
        raise Error(message, hint=hint or None)


def _rows() -> dict[str, list[Row]]:
    """Who is who in the namespace: the user is root, and who was lent to them follows."""
    folders = os.environ.get("PATH", os.defpath).split(":")
    has_programs = all(any(os.access(f"{f}/{name}", os.X_OK) for f in folders) for name in PROGRAMS)
    own = {"uid": os.geteuid(), "gid": os.getegid()}
    ranges = {kind: lent(kind) for kind in own}
    if not has_programs or not all(ranges.values()):
        ranges = {kind: [] for kind in own}
    return {kind: _row_after_row([(own[kind], 1), *ranges[kind]]) for kind in own}


def _row_after_row(ranges: list[tuple[int, int]]) -> list[Row]:
    """
    >>> _row_after_row([(1000, 1), (100000, 65536), (300000, 10)])
    [(0, 1000, 1), (1, 100000, 65536), (65537, 300000, 10)]
    """
    rows, free = [], 0
    for first, size in ranges:
        rows.append((free, first, size))
        free += size
    return rows


def lent(kind: str) -> list[tuple[int, int]]:
    """The ranges (first, how many) that root has lent us: subuid(5), subgid(5)."""
    import pwd

    names = {str(os.geteuid())}
    with suppress(KeyError):
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    found = []
    with suppress(FileNotFoundError), open(f"/etc/sub{kind}", encoding="utf-8") as file:
        for line in file:
            name, _, numbers = line.strip().partition(":")
            first, _, size = numbers.partition(":")
            if name in names and first.isdecimal() and size.isdecimal():
                found.append((int(first), int(size)))
    return found


def fit(spec: Document, options: Mapping[str, Any]) -> None:
    """Take out of config.json what nobody asked for and cannot be had in the user's namespace.

    What was asked for stays: the runtime says why it cannot be had, if it cannot. Limits need
    cgroups that root has given away.
    """
    if not options.get("pids_limit"):
        spec["linux"]["resources"].pop("pids", None)
    if sum(size for _, _, size in idmap.read("gid")) > 1:
        return
    user = spec["process"]["user"]
    user.pop("additionalGids", None)
    if user["uid"] or user["gid"]:
        raise Error(
            f"user {user['uid']}:{user['gid']} cannot be had: you have no ID but your own",
            hint="-u 0, or have some lent to you: apt-get install uidmap; man 5 subuid",
        )
    for mount in spec["mounts"]:
        mount["options"] = [option for option in mount["options"] if option != "gid=5"]
