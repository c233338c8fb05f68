"""One container: a directory, and what its files say.

    container.json   the record: what it is. Changed by commands (create, rename, update)
    state.json       its life: how it is and was. Changed by its owner only (see containers.py)
    spec.json        config.json without what only a start knows
    config.json      what the runtime got at the last start
    log, log.1, …    what it printed (logs.py)
    rootfs/ upper/ work/   its files, mounted while it runs

Both documents are written whole, so that who reads sees the old one or the new one. What cannot be
read is a container "damaged", which can be listed and removed.

The record: id, name, created (seconds since 1970), image, imageId, diffIds, command, runtime,
options (the flags of run and create), labels, mounts, networks, stopSignal, autoRemove …
The state: status (one of STATUSES), pid, startTime (of the pid, in ticks since boot), started and
finished (seconds since 1970), exitCode, oomKilled, error, restarts, health …
"""

from __future__ import annotations

import fcntl
import os

from minirun import document
from minirun.errors import SpecError, StateError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]

RECORD, STATE = "container.json", "state.json"
SHORT = 12
LONGEST_NAME = 128
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")

CREATED, RUNNING, PAUSED, RESTARTING = "created", "running", "paused", "restarting"
EXITED, DAMAGED = "exited", "damaged"
STATUSES = (CREATED, RUNNING, PAUSED, RESTARTING, EXITED, DAMAGED)
UP = (RUNNING, PAUSED)  # a process of it is there
UNDER_WAY = (*UP, RESTARTING)  # somebody attends to it
LOST = 255  # the exit code of a container that ended with its machine, as Docker gives it


class Container:
    """One container: its directory, what its files say, and the lock if this process owns it."""

    def __init__(
        self, directory: str, record: Record, state: Record | None = None, live: int = -1
    ) -> None:
        self.directory, self.record, self.live = directory, record, live
        self.state: Record = state if state is not None else {}

    @property
    def id(self) -> str:
        return os.path.basename(self.directory)

    @property
    def name(self) -> str:
        return str(self.record.get("name", ""))

    @property
    def status(self) -> str:
        """One of STATUSES."""
        return str(self.state.get("status", CREATED))

    @property
    def options(self) -> Record:
        """The flags of ``run`` or ``create`` that made it."""
        found: Record = self.record.get("options") or {}
        return found

    @property
    def is_up(self) -> bool:
        """Whether it has a process: it is running, or paused."""
        return self.status in UP

    def require_running(self, *, or_paused: bool = False) -> None:
        """Raise StateError unless it is running; or paused, if that will do."""
        if self.status == PAUSED and not or_paused:
            raise StateError(
                f"container {self.name} is paused", hint=f"minirun unpause {self.name}"
            )
        if not self.is_up:
            raise StateError(
                f"container {self.name} is not running", hint=f"minirun start {self.name}"
            )

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    def save(self, **changes: object) -> None:
        """Change the record, on disk too. Others may do so at this moment: theirs stays."""
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            self.record = (read(self.path(RECORD)) or self.record) | changes
            write(self.path(RECORD), self.record)
        finally:
            os.close(fd)

    def save_state(self, **changes: object) -> None:
        """Change the state, on disk too: for the owner of the container only."""
        self.state.update(changes)
        write(self.path(STATE), self.state)

    def reload_state(self) -> None:
        """What another owner has made of it meanwhile."""
        self.state = read(self.path(STATE)) or self.state

    def lock_runtime(self) -> int:
        """A locked file for the runtime to inherit: as long as one of its processes lives, so
        does the lock. (A file and not the directory: through a directory that a runtime forgets
        to close, the container could walk out. CVE-2024-21626)"""
        fd = os.open(self.path("runtime.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd


def read(path: str) -> Record | None:
    """A document; None if there is none. One that cannot be understood is ``{"status": damaged}``,
    for that is what becomes of the container."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # ``ps`` reads 1,000: open() asks for more
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        found = document.loads(os.read(fd, os.fstat(fd).st_size), path)
    except SpecError:
        found = None
    finally:
        os.close(fd)
    return found if isinstance(found, dict) else {"status": DAMAGED}


def write(path: str, record: Record) -> None:
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(document.pretty(record) + "\n")
    os.rename(path + ".new", path)


def start_time(pid: int) -> int:
    """When a process was started, in ticks since boot: with the pid, it names one process for ever.
    0 when there is none. proc_pid_stat(5): the name, in brackets, may itself contain brackets."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def check_name(text: str) -> None:
    """Refuse what is no name or id, before it becomes part of a path."""
    fits = text and text[0] in LETTERS and LETTERS.union("_.-").issuperset(text)
    if not fits or len(text) > LONGEST_NAME:
        raise UsageError(
            f"{printable(text)[:80]!r} is not a name of a container",
            hint="letters, digits, '_', '.' and '-', and the first a letter or digit",
        )
