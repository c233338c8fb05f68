"""The containers of a store, and cleaning up after those who made them and died.

A container is a directory, containers/<id>/ (container.py). Its life, and what holds it together:

    claim     live/<id> is made and locked, then container.json is written: before anything else
              exists, everybody can see what would have to be cleaned up
    (owned)   the owner holds the lock of live/<id>: the command that creates or starts it, then
              its monitor, which inherits the lock; the runtime they start holds runtime.lock
    settle    unmounted and, with --rm, removed; then live/<id> goes: nothing is left to do

The kernel releases a lock when its holder dies, however it dies. So a file in live/ that can be
locked belongs to nobody, and ``sweep``, with which every command begins, settles that container.

Interface: claim, adopt, release, remove; find, find_all, all, is_live; sweep.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from minirun.engine import container as records
from minirun.engine.container import (
    DAMAGED,
    EXITED,
    LOST,
    SHORT,
    UNDER_WAY,
    Container,
    check_name,
)
from minirun.errors import Error, NotFound, StateError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from minirun.engine.container import Record
    from minirun.engine.paths import Paths

ID_LENGTH = 64  # hexadecimal digits, as Docker's
KILLED = 137  # the exit code of a container whose owner died: it was ended with SIGKILL
PATIENCE = 10.0  # seconds to wait for a runtime whose container was killed


class Containers:
    """All containers of one store."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def claim(self, name: str | None, record: Record) -> Container:
        """A new container that this process owns, with an id and a name of its own.

        Raises StateError when the name is taken. Afterwards a crash leaves nothing that ``sweep``
        does not see.
        """
        if name is not None:
            check_name(name)
        ident = os.urandom(ID_LENGTH // 2).hex()
        while (live := self._lock(ident, os.O_CREAT)) is None:
            pass  # a sweep found the file before we had the lock: it takes it for a leftover
        directory = f"{self.paths.containers}/{ident}"
        container = Container(directory, {"id": ident, "created": time.time(), **record}, live=live)
        os.mkdir(directory, 0o700)
        try:
            self._name(container, name)
        except StateError:
            self.remove(container)
            raise
        return container

    def _name(self, container: Container, name: str | None) -> None:
        """Give it ``name`` or, if that is None, any free one; written down before it is taken."""
        from minirun.engine import names

        for candidate in names.candidates(container.id) if name is None else (name,):
            container.save(name=candidate)
            try:
                self._take_name(candidate, container.id)
                return
            except StateError:
                if name is not None:
                    raise
        raise StateError("no free name for the container", hint="choose one: --name NAME")

    def _take_name(self, name: str, ident: str) -> None:
        """A name is a symbolic link: the kernel lets exactly one process make it."""
        link = f"{self.paths.names}/{name}"
        for _ in range(2):
            try:
                os.symlink(ident, link)
                return
            except FileExistsError:
                other = os.readlink(link)
            if os.path.exists(f"{self.paths.containers}/{other}"):
                raise StateError(
                    f"the name {name!r} is already in use by container {other[:SHORT]}",
                    hint=f"minirun rm {name}, or choose another name",
                )
            os.unlink(link)

    def _holder(self, name: str) -> str | None:
        """The id of the container with this name."""
        try:
            return os.readlink(f"{self.paths.names}/{name}")
        except FileNotFoundError:
            return None

    def rename(self, container: Container, name: str) -> None:
        """Give it another name; StateError if that is taken."""
        check_name(name)
        before = container.name
        self._take_name(name, container.id)
        container.save(name=name)
        if self._holder(before) == container.id and before != name:
            os.unlink(f"{self.paths.names}/{before}")

    def adopt(self, container: Container) -> bool:
        """Become the owner of a container that is at rest; False if somebody attends to it."""
        live = self._lock(container.id, os.O_CREAT)
        container.live = -1 if live is None else live
        return live is not None

    def remove(self, container: Container) -> None:
        """Take away the files, the name, the claim, in this order: a crash in between is swept."""
        from minirun.image import tree

        parent = tree.open_directory(self.paths.containers)
        try:
            tree.remove(container.id, parent)
        finally:
            os.close(parent)
        for name in os.listdir(self.paths.names):  # the record of one that crashed may lack it
            if self._holder(name) == container.id:
                os.unlink(f"{self.paths.names}/{name}")
        self.release(container)

    def release(self, container: Container) -> None:
        """Give up ownership: nothing of the container is running, mounted or half made."""
        with suppress(FileNotFoundError):  # a monitor that died has left its socket
            os.unlink(f"{self.paths.attach}/{container.id}")
        os.unlink(f"{self.paths.live}/{container.id}")
        if container.live >= 0:
            os.close(container.live)
            container.live = -1

    def all(self, *, attended: bool = False) -> list[Container]:
        """Every container with a readable record, the newest first; or only those that somebody
        attends to: all that run are among them."""
        idents = os.listdir(self.paths.live if attended else self.paths.containers)
        found = (self.load(ident) for ident in idents)
        return sorted(
            (container for container in found if container is not None),
            key=lambda container: -float(container.record.get("created", 0)),
        )

    def find(self, text: str) -> Container:
        """The container with this name, this id, or the only one whose id begins like this."""
        check_name(text)
        ident = self._holder(text)
        if ident is None:
            fitting = [i for i in os.listdir(self.paths.containers) if i.startswith(text)]
            if len(fitting) > 1:
                raise UsageError(f"multiple IDs found with provided prefix: {text}")
            ident = fitting[0] if fitting else text
        container = self.load(ident)
        if container is None:
            raise NotFound(f"no such container: {text}", hint="for a list: minirun ps -a")
        return container

    def find_all(self, texts: Iterable[str]) -> list[Container]:
        """Those containers, in this order."""
        return [self.find(text) for text in texts]

    def load(self, ident: str) -> Container | None:
        """The container with this id, as its files say; None if there is none.

        Nobody attends to it and it is said to be running: then it ended with the machine.
        """
        directory = f"{self.paths.containers}/{ident}"
        record = records.read(directory + "/container.json")
        if record is None:
            return None
        mark = f"{self.paths.live}/{ident}"
        live = os.path.exists(mark)  # asked first: it may end meanwhile
        state = records.read(directory + "/state.json") or {}
        if DAMAGED in (record.get("status"), state.get("status")):
            record, state = {"id": ident, "name": "", **record}, {"status": DAMAGED}
        elif state.get("status") in UNDER_WAY and not live and not os.path.exists(mark):
            state |= {"status": EXITED, "exitCode": LOST, "pid": 0}
        return Container(directory, record, state)

    def is_live(self, container: Container) -> bool:
        """Whether somebody attends to it: if not, nothing of it is running."""
        return os.path.exists(f"{self.paths.live}/{container.id}")

    def sweep(self, settle: Callable[[Container], None], complain: Callable[[str], None]) -> None:
        """Settle every container whose owner is dead. What fails is told, and tried again by the
        next command: one that cannot be cleaned up must not stop the others."""
        for ident in os.listdir(self.paths.live):
            fd = self._lock(ident)
            if fd is None:
                continue
            directory = f"{self.paths.containers}/{ident}"
            container = self.load(ident) or Container(directory, {"autoRemove": True})
            container.live = fd
            try:
                settle(container)
            except (Error, OSError) as error:
                complain(f"cannot clean up container {ident[:SHORT]}: {error}")
                os.close(fd)

    def _lock(self, ident: str, create: int = 0) -> int | None:
        """The lock of live/<id>, or None when another process has it or it is gone."""
        path = f"{self.paths.live}/{ident}"
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | create, 0o600)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink:
                    return fd
            except BlockingIOError:
                os.close(fd)
                return None
            os.close(fd)  # removed between the open and the lock: look again


def wait_for_runtime(directory: str, end: Callable[[], None]) -> None:
    """Return once no process of the container's runtime is left; ``end()`` is called until then.

    A runtime that was just starting when its engine died knows nothing of that: it would still
    make its container after a first ``delete`` found none.
    """
    end()
    try:
        fd = os.open(directory + "/runtime.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return

    def has_ended() -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            end()
            return False
        return True

    try:
        wait_until(has_ended, f"the runtime of container {os.path.basename(directory)[:SHORT]}")
    finally:
        os.close(fd)


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Ask ``done()`` again and again; StateError if the patience for ``what`` is over."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise StateError(f"{what} does not end")
        time.sleep(0.02)
