"""A container's terminal, and ours in front of it.

    keyboard ─► our terminal (raw: every key is passed on, also ^C)
                     │ ▲
                     ▼ │  stdin.py, attach.py
                pseudoterminal's master ◄──► slave = /dev/pts/0 in the container (makes ^C a SIGINT)

The runtime makes the pseudoterminal, inside the container, and sends the master's descriptor to
whoever attends to it (console.py). pty(7), termios(3)
"""

from __future__ import annotations

import fcntl
import os
import select
import sys
import termios

from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHUNK = 1 << 16
MOST_WAITING = 1 << 20  # bytes typed ahead that the container has not read
END_OF_FILE = b"\x04"  # ^D, which a terminal turns into the end of its input
IFLAG, OFLAG, CFLAG, LFLAG, CC = 0, 1, 2, 3, 6  # indexes of tcgetattr's list


class Detached(Exception):
    """The keys were typed that let go of the container."""


def raw(attributes: list[Any]) -> list[Any]:
    """Terminal attributes for passing every key on: cfmakeraw(3), and output is left alone."""
    mode = list(attributes)
    mode[IFLAG] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    mode[OFLAG] &= ~termios.OPOST
    mode[CFLAG] = mode[CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    characters = list(mode[CC])
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    mode[CC] = characters
    return mode


def window_size() -> bytes | None:
    """struct winsize of our terminal, or None where there is none. ioctl_tty(2)"""
    for fd in (0, 1, 2):
        try:
            return fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            continue
    return None


def console_size() -> dict[str, int] | None:
    """The same in characters, as config.json wants it."""
    size = window_size()
    if size is None:
        return None
    height, width = (int.from_bytes(size[at : at + 2], sys.byteorder) for at in (0, 2))
    return {"height": height, "width": width}


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # an output that another program made non-blocking
            select.select([], [fd], [])


def check_interactive() -> None:
    """``-it`` wants a terminal to connect: bytes from a pipe would mean keys."""
    if not os.isatty(0):
        raise Error(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
            hint="leave out -t, or use -t without -i",
        )
