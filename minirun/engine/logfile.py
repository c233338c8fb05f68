"""A container's log as its monitor writes it; logs.py reads it.

    1700000000123456789 o 6\n       nanoseconds since 1970, the stream (o or e), how many bytes
    hello\n                         and the bytes, as they were read

One header for what one read(2) gave, however many lines: so the log keeps any bytes, and costs
little where much is written. ``log`` is full after 10 MiB; then it becomes ``log.1``, and that
``log.2``, and what was there before is gone. A record is never cut in two.
"""

from __future__ import annotations

import os
import time

SIZE, FILES = 10 << 20, 3


class Log:
    """``size`` bytes in each of ``files`` files; no files: no log. It starts where it ended."""

    def __init__(self, path: str, size: int = SIZE, files: int = FILES) -> None:
        self.path, self.size, self.files = path, size, files
        self._fd = -1
        self._length = 0
        if files:
            self._open()

    def write(self, stream: bytes, data: bytes) -> None:
        """Add a record. OSError for a full disk: then the record is not in the log, not even in
        part, and the next one is tried anew."""
        if self._fd < 0:
            return
        if self._length >= self.size:
            self._rotate()
        record = b"%d %b %d\n%b" % (time.time_ns(), stream, len(data), data)
        try:
            written = os.write(self._fd, record)
            if written < len(record):
                written += os.write(self._fd, record[written:])  # the reason why it was not more
        except OSError:
            os.ftruncate(self._fd, self._length)
            raise
        self._length += written

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o600)
        self._length = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1
        names = [self.path, *(f"{self.path}.{number}" for number in range(1, self.files))]
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            if os.path.exists(newer):
                os.rename(newer, older)
        if self.files == 1:
            os.unlink(self.path)
        self._open()
