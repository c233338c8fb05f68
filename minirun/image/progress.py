"""What a pull tells the person who waits for it, on standard error.

    progress = choose(sys.stderr, quiet=False)

gives bars on a terminal, one plain line for each layer elsewhere (a log, a pipe), or nothing. All
three understand the same calls, which may come from several threads at once:

    expect(sizes)           the blobs that are missing: digest → bytes
    advance(digest, n)      n more bytes of it came
    say(digest, "unpacking")
    finish(digest)          the layer is ready
    warn(line)              something to know, also for who wants it quiet
    close(summary)          take the bars away; one line that says what it was, how much, how long
"""

from __future__ import annotations

import os
import time
from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

REDRAW = 0.1  # seconds; faster is only flicker
BAR = 24  # characters
SHOWN = 6  # layers at once: a pull has no more in the works


def choose(stream: TextIO, *, quiet: bool = False) -> Quiet:
    if quiet:
        return Quiet(stream)
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return Bars(stream)
    return Lines(stream)


def size_text(count: float) -> str:
    """A number of bytes as people read it, in Docker's units: 63100000 is "63.1MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.4g}TB"


def short(digest: str) -> str:
    return digest.partition(":")[2][:12]


class Quiet:
    """Says nothing, but for warnings if it has a stream for them."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.lock = Lock()

    def expect(self, sizes: dict[str, int]) -> None:
        pass

    def advance(self, digest: str, count: int) -> None:
        pass

    def say(self, digest: str, state: str) -> None:
        pass

    def finish(self, digest: str) -> None:
        pass

    def warn(self, line: str) -> None:
        with self.lock:
            self.write(f"warning: {line}")

    def close(self, summary: str = "") -> None:
        pass

    def write(self, line: str) -> None:
        if self.stream:
            self.stream.write(f"{line}\n")
            self.stream.flush()


class Lines(Quiet):
    """One line for each layer that is ready: nothing is ever drawn over."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.sizes: dict[str, int] = {}
        self.ready = 0

    def expect(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes

    def finish(self, digest: str) -> None:
        with self.lock:
            self.ready += 1
            count = f"layer {self.ready}/{len(self.sizes)}"
            self.write(f"{count} {short(digest)} {size_text(self.sizes[digest])}")

    def close(self, summary: str = "") -> None:
        if summary:
            self.write(summary)


class Bars(Lines):
    """A bar for each layer in the works and a line for all of them, drawn over ten times a second.

    The escape sequences are ECMA-48's: ``ESC[nA`` moves up n lines, ``ESC[J`` clears from here on.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.screen = stream
        self.arrived: dict[str, int] = {}
        self.states: dict[str, str] = {}
        self.drawn = 0  # lines on the screen that are ours
        self.last = 0.0
        self.started = time.monotonic()

    def advance(self, digest: str, count: int) -> None:
        with self.lock:
            self.arrived[digest] = self.arrived.get(digest, 0) + count
            self.states.setdefault(digest, "fetching")
            self._redraw()

    def say(self, digest: str, state: str) -> None:
        with self.lock:
            self.states[digest] = state
            self._redraw()

    def finish(self, digest: str) -> None:
        with self.lock:
            self.ready += 1
            self.states.pop(digest, None)
            self._redraw()

    def warn(self, line: str) -> None:
        with self.lock:
            self._draw([])
            self.write(f"warning: {line}")

    def close(self, summary: str = "") -> None:
        with self.lock:
            self._draw([])
            super().close(summary)

    def _redraw(self) -> None:
        now = time.monotonic()
        if now - self.last >= REDRAW:
            self.last = now
            width = os.get_terminal_size(self.screen.fileno()).columns
            rows = [self._row(digest) for digest in list(self.states)[:SHOWN]]
            self._draw([row[: width - 1] for row in (*rows, self._total())])

    def _row(self, digest: str) -> str:
        size, arrived = self.sizes.get(digest, 0), self.arrived.get(digest, 0)
        filled = BAR * arrived // size if size else BAR
        bar = "█" * filled + "░" * (BAR - filled)
        return f"{short(digest)} {bar} {size_text(size):>7} {self.states[digest]}"

    def _total(self) -> str:
        arrived, total = sum(self.arrived.values()), sum(self.sizes.values())
        rate = arrived / (time.monotonic() - self.started)
        return (
            f"{self.ready}/{len(self.sizes)} layers ready, "
            f"{size_text(arrived)} of {size_text(total)}, {size_text(rate)}/s"
        )

    def _draw(self, rows: list[str]) -> None:
        clear = f"\x1b[{self.drawn}A\r\x1b[J" if self.drawn else ""
        self.screen.write(clear + "".join(f"{row}\n" for row in rows))
        self.screen.flush()
        self.drawn = len(rows)
