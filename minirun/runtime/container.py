"""A container as the host remembers it: a directory below ``--root``, and what it says.

    ROOT/ID/config.json    the bundle's, as it was at ``create``: later edits change nothing
    ROOT/ID/state.json     bundle, annotations, cgroups: written before anything is made
    ROOT/ID/process.json   the first process: its pid and when it was started
    ROOT/ID/start          the socket that ``start`` connects to; gone once the command was started
    ROOT/ID/resources.json the limits, if ``update`` changed those of config.json

Each file is written once, for to replace one costs milliseconds on a disk. No daemon watches
containers, so ``status`` is never stored: it is worked out from what is there. ``start`` exists and
the process lives: "created". The process lives: "running", or if its cgroup is frozen "paused". A
pid counts only with the start time that was noted with it, for the kernel uses numbers again. The
time of ``state.json`` is the time of the container's creation.

Each command that changes a container holds a flock(2) on its directory, which dies with its holder.
``delete`` removes the directory last, so a delete that was interrupted can be done again.
"""

from __future__ import annotations

import fcntl
import os

from minirun import document
from minirun.errors import NotFound, StateError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.runtime.cgroup import Cgroup

VERSION = "1.3.0"  # of the runtime-spec
ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
ID_LENGTH = 255  # of a file name

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
# cgroup's version: where it says that it was told to freeze, even if not all stand still yet
FROZEN = {1: ("freezer.state", (b"FROZEN", b"FREEZING")), 2: ("cgroup.freeze", (b"1",))}

ALIVE = (CREATED, RUNNING, PAUSED)
ALLOWED = {  # operation: the states it is allowed in
    "start": (CREATED,),
    "kill": ALIVE,
    "delete": (CREATED, STOPPED),  # config.md has it that CREATED is not; runc and crun do it
    "pause": (CREATED, RUNNING),
    "resume": (PAUSED,),
    "update": ALIVE,
    "exec": (CREATED, RUNNING),
    "events": ALIVE,
    "ps": (*ALIVE, STOPPED),
    "checkpoint": (RUNNING,),
}


def check_id(container_id: str) -> str:
    """A name that is safe as a file name, before it is used as one."""
    good = (
        0 < len(container_id) <= ID_LENGTH
        and ID_CHARACTERS.issuperset(container_id)
        and container_id not in (".", "..")
        and not container_id.startswith("-")
    )
    if not good:
        raise UsageError(
            f"invalid container ID: {printable(container_id)!r}",
            hint="letters, digits and _+-. only, at most 255, not beginning with -",
        )
    return container_id


class Container:
    """One container; ``state`` is what its files say. Make one with ``create`` or ``load``."""

    def __init__(self, root: str, container_id: str) -> None:
        self.id = check_id(container_id)
        self.directory = os.path.join(root, container_id)
        self.state: dict[str, Any] = {"id": container_id, "bundle": "", "pid": None}

    @classmethod
    def create(
        cls, root: str, container_id: str, config: bytes, state: dict[str, Any]
    ) -> Container:
        """A new container, locked. ``config`` is the text of config.json."""
        container = cls(root, container_id)
        os.makedirs(root, mode=0o711, exist_ok=True)
        try:
            os.mkdir(container.directory, 0o700)
        except FileExistsError:
            raise StateError(
                f"container with id {container_id} exists already",
                hint=f"choose another, or: minirun-oci delete --force {container_id}",
            ) from None
        container.lock()
        container.write("config.json", config)
        container.record("state.json", state)
        return container

    @classmethod
    def load(cls, root: str, container_id: str, *, lock: bool = True) -> Container:
        """The container of that ID. With ``lock``, once nobody else is at work on it.

        What a ``create`` that was killed had not written yet is missing in ``state``.
        """
        container = cls(root, container_id)
        try:
            if lock:
                container.lock()
            elif not os.path.isdir(container.directory):
                raise FileNotFoundError
        except FileNotFoundError:
            raise NotFound(f"container {container_id!r} does not exist") from None
        for name in ("state.json", "process.json"):
            try:
                container.state.update(document.loads(container.read(name), name))
            except FileNotFoundError:
                break
        return container

    def lock(self) -> None:
        """Wait until no other command is at work on this container; held as long as we live.

        FileNotFoundError if the container is gone, perhaps removed while we waited.
        """
        self.lock_fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self.lock_fd, fcntl.LOCK_EX)
        if os.fstat(self.lock_fd).st_nlink == 0:
            raise FileNotFoundError(2, "removed by another command", self.directory)

    def unlock(self) -> None:
        os.close(self.lock_fd)
        del self.lock_fd

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def read(self, name: str) -> bytes:
        with open(self.path(name), "rb") as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        write_whole(self.path(name), data)

    def record(self, name: str, facts: dict[str, Any]) -> None:
        """Add facts to the state, and write them to a file of their own."""
        self.state.update(facts)
        self.write(name, document.dumps(facts).encode())

    def config(self) -> dict[str, Any]:
        """The config.json that the container was created with."""
        config: dict[str, Any] = document.loads(self.read("config.json"), "config.json")
        return config

    def cgroup(self) -> Cgroup | None:
        """Where its processes are counted and limited; None if it died before that was decided."""
        from minirun.runtime.cgroup import Cgroup

        record = self.state.get("cgroup")
        return Cgroup.from_json(record) if record else None

    def pids(self) -> set[int]:
        """Its processes: those in its cgroup, or if it has none, in its PID namespace."""
        cgroup, first = self.cgroup(), self.state["pid"]
        if cgroup and cgroup.trees:
            return cgroup.pids()
        if not first or start_time(first) != self.state["startTime"]:
            return set()
        if _namespace_pid(first) != 1:  # others are in there, too
            return {first}
        pids = map(int, filter(str.isdecimal, os.listdir("/proc")))
        namespace = _pid_namespace(first)
        return {pid for pid in pids if namespace and _pid_namespace(pid) == namespace}

    def status(self) -> str:
        """created, running, stopped, or creating: see the module's docstring."""
        pid = self.state["pid"]
        if pid is None:
            return CREATING if self.is_locked() else STOPPED
        if start_time(pid) != self.state["startTime"]:
            return STOPPED
        if self._is_frozen():
            return PAUSED
        return CREATED if os.path.exists(self.path("start")) else RUNNING

    def _is_frozen(self) -> bool:
        """As Cgroup.is_frozen, without its imports: ``state`` is asked a thousand times."""
        record = self.state["cgroup"]
        for version, mount, controllers in record["trees"]:
            if version == 2 or "freezer" in controllers:
                file, words = FROZEN[version]
                try:
                    with open(f"{mount}{record['path']}/{file}", "rb") as stream:
                        return stream.read().strip() in words
                except OSError:
                    return False
        return False

    def is_locked(self) -> bool:
        """Is another command at work on it? (Always false of one that we have locked.)"""
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return not hasattr(self, "lock_fd")
        finally:
            os.close(fd)
        return False

    def pidfd(self) -> int:
        """A file descriptor of the first process, pidfd_open(2); StateError if it is gone."""
        pid = self.state["pid"]
        try:
            pidfd = os.pidfd_open(pid) if pid else -1
        except ProcessLookupError:
            pidfd = -1
        # checked with the pidfd in hand: it cannot become another's
        if pidfd < 0 or start_time(pid) != self.state["startTime"]:
            raise StateError(f"container not running: {self.id!r} has stopped")
        return pidfd

    def require(self, operation: str) -> None:
        """Refuse what the container's status does not allow (ALLOWED)."""
        status = self.status()
        if status not in ALLOWED[operation]:
            # The words "container not running" are what containerd looks for.
            why = "" if status in ALIVE else "container not running: "
            raise StateError(f"{why}cannot {operation} container {self.id!r} that is {status}")

    def report(self, status: str | None = None) -> dict[str, Any]:
        """The state of the runtime-spec, as ``state`` prints it and hooks read it."""
        status = status or self.status()
        report: dict[str, Any] = {"ociVersion": VERSION, "id": self.id}
        if status != STOPPED and self.state["pid"]:
            report["pid"] = self.state["pid"]
        report |= {"status": status, "bundle": self.state["bundle"]}
        if self.state.get("annotations"):
            report["annotations"] = self.state["annotations"]
        return report

    def details(self) -> dict[str, Any]:
        """What ``state`` and ``list`` print, as runc does: the report and a few facts."""
        directory = os.stat(self.directory)
        try:
            created = os.stat(self.path("state.json")).st_mtime_ns
        except FileNotFoundError:  # a create was killed as early as that
            created = directory.st_mtime_ns
        report = self.report()
        report.setdefault("pid", 0)
        report["rootfs"] = self.state.get("rootfs", "")
        report["created"] = timestamp(created)
        report["owner"] = user_name(directory.st_uid)
        return report

    def remove(self) -> None:
        """Forget the container. What others need in order to do this again goes last."""
        for name in sorted(os.listdir(self.directory), key="state.json".__eq__):
            os.unlink(self.path(name))
        os.rmdir(self.directory)


def write_whole(path: str, data: bytes) -> None:
    """A file that readers see whole or not at all: the new one takes the name of the old."""
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)


def timestamp(nanoseconds: int) -> str:
    """RFC 3339, in UTC."""
    from time import gmtime, strftime

    seconds, fraction = divmod(nanoseconds, 10**9)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(seconds))}.{fraction:09}Z"


def user_name(uid: int) -> str:
    """The name of a user of this machine; "#1000" for one without."""
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def containers(root: str, pattern: str = "") -> Iterator[Container]:
    """All containers below ``root`` whose ID the regular expression matches, by name.

    FileNotFoundError if there is no such directory.
    """
    import re

    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--regex {printable(pattern)}: {error}") from None
    for name in filter(wanted.search, sorted(os.listdir(root))):
        try:
            yield Container.load(root, name, lock=False)
        except (NotFound, UsageError):  # deleted meanwhile, or nothing of ours
            continue


def _namespace_pid(pid: int) -> int:
    """The number that a process has in its own PID namespace (NSpid of proc_pid_status(5))."""
    with open(f"/proc/{pid}/status", "rb") as file:
        return int(file.read().partition(b"\nNSpid:")[2].partition(b"\n")[0].split()[-1])


def _pid_namespace(pid: int) -> int:
    """The number of a process's PID namespace; 0 if it is gone, or not ours to look into."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0


def start_time(pid: int) -> int | None:
    """When a process was started, in ticks since boot; None when there is none, or only a zombie.

    proc_pid_stat(5): the name of the program, in brackets, may itself contain brackets and blanks.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if words[0] in (b"Z", b"X") else int(words[19])
