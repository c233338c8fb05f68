"""What happens to containers, images, networks and volumes, one line of JSON each.

    {"Type": "container", "Action": "die", "Actor": {"ID": "4f…", "Attributes": {"exitCode": "0"}},
     "time": 1700000000, "timeNano": 1700000000123456789}

There is no daemon that could tell of it: who does a thing appends a line to run/events, and
``minirun events`` reads them. Writers agree by O_APPEND and a lock of microseconds. A full file
becomes events.1, in place of the one before; as everything below run/, both end with the machine.

Types and actions are Docker's: https://docs.docker.com/reference/cli/docker/system/events/

    container   archive-path attach commit create destroy die exec_create exec_die exec_start export
                extract-to-dir health_status: healthy kill oom pause rename restart start stop top
                unpause update
    image       delete import pull tag untag
    network     connect create destroy disconnect
    volume      create destroy

Interface: emit, of_container to tell; follow to hear.
"""

from __future__ import annotations

import fcntl
import os
import time
from _json import encode_basestring_ascii as quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import Any, BinaryIO

    from minirun.engine.container import Container
    from minirun.engine.paths import Paths

    Event = dict[str, Any]

LARGEST = 1 << 20  # bytes of the file; about 3,000 events
OLD = ".1"
PATIENCE = 0.1  # seconds between two looks for news
SECOND = 10**9


def emit(paths: Paths, kind: str, action: str, ident: str, /, **attributes: object) -> None:
    """Tell that ``action`` has happened to the ``kind`` of thing called ``ident``.

    Nothing fails because it cannot be told: a full disk must not keep a container from stopping.
    (The json module is not used: a container's monitor imports this, and stays as long as it does.)
    """
    now = time.time_ns()
    pairs = ", ".join(f"{quoted(name)}: {quoted(str(v))}" for name, v in sorted(attributes.items()))
    line = (
        f'{{"Type": {quoted(kind)}, "Action": {quoted(action)}, '
        f'"Actor": {{"ID": {quoted(ident)}, "Attributes": {{{pairs}}}}}, '
        f'"time": {now // SECOND}, "timeNano": {now}}}\n'
    )
    try:
        _append(paths.events, line.encode())
    except OSError:
        pass


def of_container(paths: Paths, container: Container, action: str, /, **more: object) -> None:
    """The same of a container, whose image, name and labels go with it."""
    record = container.record
    labels = record.get("labels") or {}
    known = {**labels, "image": record.get("image", ""), "name": container.name, **more}
    emit(paths, "container", action, container.id, **known)


def _append(path: str, line: bytes) -> None:
    """One line more; a file that is full steps aside. Under the lock nobody else writes, and who
    has waited for it sees that the file has another name by now."""
    while True:
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not _is_at(path, fd):
                continue
            if os.fstat(fd).st_size < LARGEST:
                os.write(fd, line)
                return
            os.rename(path, path + OLD)
        finally:
            os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_at(path: str, fd: int) -> bool:
    """Whether the open file still has this name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def follow(paths: Paths, ended: Callable[[], bool]) -> Iterator[Event]:
    """All events that are still known, oldest first, and then each as it comes.

    ``ended()`` is asked whenever there are no more just now: true ends it.
    """
    path, begun = paths.events, False
    while True:
        with open(_open(path), "rb") as file:
            if not begun and not _is_at(path + OLD, file.fileno()):
                yield from _kept(path + OLD)
            begun = True
            if (yield from _tail(file, path, ended)):
                return


def _kept(path: str) -> Iterator[Event]:
    """The events of the file that was full."""
    try:
        with open(path, "rb") as file:
            yield from _parsed(file.read().split(b"\n"))
    except FileNotFoundError:
        return


def _tail(file: BinaryIO, path: str, ended: Callable[[], bool]) -> Generator[Event, None, bool]:
    """The events of one file, until it has stepped aside (false) or all has ``ended`` (true)."""
    rest = b""
    while True:
        over, full = ended(), not _is_at(path, file.fileno())  # asked first: then we read it all
        *lines, rest = (rest + file.read()).split(b"\n")
        yield from _parsed(lines)
        if over or full:
            return over
        time.sleep(PATIENCE)


def _parsed(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events of whole lines; one that a full disk has cut off is left out."""
    import json

    for line in filter(None, lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
