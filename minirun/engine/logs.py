"""``minirun logs``: what a container has printed, from the files that its monitor writes.

logfile.py says what is in them. One that is full is renamed, also while we read: an open file stays
the same file, and by its inode number it is known again under its new name.

Interface: Log.read, Log.tail, Log.follow; Printer.
"""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import count

from minirun.engine.terminal import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    Record = tuple[int, bytes, bytes]  # nanoseconds since 1970, stream, bytes

PATIENCE = 0.05  # seconds between two looks for more
LONGEST_HEADER = 64
BUFFER = 1 << 20
OUTPUT = {b"o": 1, b"e": 2}


class Log:
    """The log at ``path``, and how far it has been read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: BinaryIO | None = None  # the newest that was read, at its end

    def _open_all(self) -> list[BinaryIO]:
        """The files, the oldest first. Opened from the newest on: what is renamed meanwhile is met
        again under its older name, and so none is missed."""
        found: dict[int, BinaryIO] = {}
        for number in count():
            try:
                file = open(self.path + (f".{number}" if number else ""), "rb", BUFFER)  # noqa: SIM115
            except FileNotFoundError:
                if number:
                    break
                continue
            found.setdefault(os.fstat(file.fileno()).st_ino, file)
        return list(found.values())[::-1]

    def read(self) -> Iterator[Record]:
        """All that there is, and at the next call what has come since. Where the container writes
        faster than we read, files may be gone before we come to them."""
        if self._file:
            yield from _records(self._file)
        for file in self._newer():
            if self._file:
                self._file.close()
            self._file = file
            yield from _records(file)

    def _newer(self) -> list[BinaryIO]:
        """The files that were begun after the one we are at."""
        files = self._open_all()
        if self._file is None:
            return files
        inodes = [os.fstat(file.fileno()).st_ino for file in files]
        here = os.fstat(self._file.fileno()).st_ino
        return files[inodes.index(here) + 1 :] if here in inodes else files

    def tail(self, lines: int, is_wanted: Callable[[Record], bool]) -> list[Record]:
        """The last lines of what is wanted; what has come since then, ``read`` gives."""
        kept: deque[tuple[int, Record]] = deque()  # with the number of line ends in it
        ends = 0
        for record in filter(is_wanted, self.read()):
            kept.append((record[2].count(b"\n"), record))
            ends += kept[-1][0]
            while ends - kept[0][0] > lines:
                ends -= kept.popleft()[0]
        return _last((record for _, record in reversed(kept)), lines)

    def follow(self, is_over: Callable[[], bool]) -> Iterator[Record]:
        """What comes from now on, until ``is_over()``."""
        while True:
            over = is_over()  # asked first: then all that there will be is there
            yield from self.read()
            if over:
                return
            time.sleep(PATIENCE)


def _records(file: BinaryIO) -> Iterator[Record]:
    """The records from here on; one that is not whole yet is left for the next time."""
    while True:
        place = file.tell()
        line = file.readline(LONGEST_HEADER)
        header = _parse(line)
        if header is None:
            if not line.endswith(b"\n") and len(line) < LONGEST_HEADER:  # the end, for now
                file.seek(place)
                return
            continue  # what a power cut has spoilt
        moment, stream, length = header
        data = file.read(length)
        if len(data) < length:
            file.seek(place)
            return
        yield moment, stream, data


def _parse(line: bytes) -> tuple[int, bytes, int] | None:
    words = line.split()
    if not line.endswith(b"\n") or len(words) != 3 or words[1] not in OUTPUT:
        return None
    if not (words[0].isdigit() and words[2].isdigit()):
        return None
    return int(words[0]), words[1], int(words[2])


def _last(records: Iterable[Record], lines: int) -> list[Record]:
    """What of the records, of which the last is given first, belongs to the last ``lines`` lines.

    >>> _last([(2, b"o", b"b\\nc\\n"), (1, b"o", b"a\\n")], 2)
    [(2, b'o', b'b\\nc\\n')]
    """
    kept: list[Record] = []
    ends = lines  # line ends to go back; one more if there is one after the last line
    for moment, stream, data in records:
        if not kept:
            ends += data.endswith(b"\n")
        place = len(data)
        while ends and place >= 0:
            place = data.rfind(b"\n", 0, place)
            ends -= place >= 0
        kept.append((moment, stream, data[place + 1 :]))
        if not ends:
            break
    return [record for record in reversed(kept) if record[2]] if lines else []


class Printer:
    """Writes records to standard output and standard error, from ``since`` to ``until`` (both in
    nanoseconds since 1970), with ``stamps`` before each line."""

    def __init__(self, *, since: int, until: int | None, stamps: bool) -> None:
        self.since, self.until, self.stamps = since, until, stamps
        self._at_start = dict.fromkeys(OUTPUT, True)

    def is_wanted(self, record: Record) -> bool:
        return record[0] >= self.since and (self.until is None or record[0] <= self.until)

    def show(self, records: Iterable[Record]) -> None:
        for record in records:
            if self.is_wanted(record):
                _, stream, data = record
                write_all(OUTPUT[stream], self._stamped(*record) if self.stamps else data)

    def _stamped(self, moment: int, stream: bytes, data: bytes) -> bytes:
        """The time before each line that begins here."""
        stamp = precise(moment).encode() + b" "
        text = data.removesuffix(b"\n").replace(b"\n", b"\n" + stamp)
        if self._at_start[stream]:
            text = stamp + text
        self._at_start[stream] = data.endswith(b"\n")
        return text + b"\n" * self._at_start[stream]


def precise(moment: int) -> str:
    """RFC 3339 in UTC, to the nanosecond, as Docker prints it."""
    seconds, fraction = divmod(moment, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09}Z"
