"""Terminals: the container's pseudo-terminal, and what a foreground ``run -t`` does with ours.

A pseudo-terminal has two ends (pty(7)). The *slave* is the container's stdin, stdout and stderr,
and its controlling terminal. The *master* goes out to whoever shows it to a person: to the owner of
``--console-socket`` (SCM_RIGHTS), or to ourselves. It is opened in the container's own devpts, so
that /dev/pts/0 means the same to its programs.

Interface: open_pair, use, hand_out (create, exec); Proxy (run, exec).
"""

from __future__ import annotations

import fcntl
import os
import select
import termios
import tty
from struct import pack, unpack

from minirun import linux
from minirun.errors import SpecError, StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIOCGPTPEER, TIOCSPTLCK = 0x5441, 0x40045431
PTMX = os.makedev(5, 2)
CHUNK = 64 * 1024


def open_pair(root_fd: int, size: dict[str, int] | None) -> tuple[int, int]:
    """(master, slave) of a new pseudo-terminal of the devpts below ``root_fd``.

    The slave is asked of the master (TIOCGPTPEER): its path is the container's to tamper with
    (CVE-2025-52565).
    """
    try:
        resolve = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_SYMLINKS
        flags = os.O_RDWR | os.O_NOCTTY
        master = linux.openat2(root_fd, "/dev/pts/ptmx", flags, resolve=resolve)
    except OSError as error:
        raise SpecError(
            f"process.terminal: no /dev/pts/ptmx in the container: {error.strerror}",
            hint="a terminal needs a mount of type devpts at /dev/pts",
        ) from error
    is_devpts = linux.fstatfs_type(master) == linux.DEVPTS_SUPER_MAGIC
    if not is_devpts or os.fstat(master).st_rdev != PTMX:
        raise StepError("/dev/pts/ptmx in the container is not a pseudo-terminal's")
    fcntl.ioctl(master, TIOCSPTLCK, pack("i", 0))
    slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    if size:
        set_size(master, size["height"], size["width"])
    return master, slave


def use(slave: int) -> None:
    """Make ``slave`` stdin, stdout and stderr."""
    for fd in (0, 1, 2):
        linux.dup2(slave, fd)


def set_size(fd: int, height: int, width: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, pack("HHHH", height & 0xFFFF, width & 0xFFFF, 0, 0))


def copy_size(from_fd: int, to_fd: int) -> None:
    """Give one terminal the size of another, if that has one."""
    try:
        size = fcntl.ioctl(from_fd, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return  # not a terminal
    set_size(to_fd, *unpack("HHHH", size)[:2])


def hand_out(master: int, console_socket: str) -> int | None:
    """Give the master to the owner of ``console_socket``. "" is us: then it is returned, and made
    ready for what we write to, before the command begins."""
    if not console_socket:
        copy_size(0, master)
        if not os.isatty(1):  # for a file, or another program, lines end as they were written
            mode = termios.tcgetattr(master)
            mode[1] &= ~termios.ONLCR
            termios.tcsetattr(master, termios.TCSANOW, mode)
        return master
    send_master(console_socket, master)
    os.close(master)
    return None


def send_master(path: str, master: int, what: str = "console") -> None:
    """Hand the master (or another file descriptor) to the program that listens at ``path``."""
    from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, socket

    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.connect(path)
        rights = (SOL_SOCKET, SCM_RIGHTS, master.to_bytes(4, "little"))
        connection.sendmsg([what.encode()], [rights])
    except OSError as error:
        raise StepError(f"{what} socket {path}: {error.strerror}") from error
    finally:
        connection.close()


class Proxy:
    """Our terminal in raw mode, and what is typed and shown carried to and from the master.

    A context manager: whatever happens, our terminal gets back the mode it had.
    """

    def __init__(self, master: int) -> None:
        self.master = master
        self.saved: list[Any] | None = None
        self.input = [0]  # [] once our standard input has ended
        self.to_master = b""

    def __enter__(self) -> Proxy:
        if os.isatty(0):
            self.saved = termios.tcgetattr(0)
            tty.setraw(0)
            copy_size(0, self.master)
        os.set_blocking(self.master, False)
        return self

    def __exit__(self, *_: object) -> None:
        if self.saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self.saved)

    def resize(self) -> None:
        copy_size(0, self.master)

    def pump(self, also: int) -> bool:
        """Carry what is there to be carried; waits for that or for ``also`` to be readable, and
        returns whether it is."""
        typed = self.input if len(self.to_master) < CHUNK else []
        writing = [self.master] if self.to_master else []
        readable, writable, _ = select.select([self.master, also, *typed], writing, [])
        if 0 in readable and typed:
            data = os.read(0, CHUNK)
            self.to_master += data
            if not data:
                self.input = []
        if writable:
            self.to_master = self.to_master[os.write(self.master, self.to_master) :]
        if self.master in readable and not self.show():
            return True
        return also in readable

    def show(self) -> bool:
        """Print what the container has written; False when its side is closed."""
        try:
            data = os.read(self.master, CHUNK)
        except BlockingIOError:
            return True
        except OSError:  # EIO: no process has the slave open any more
            return False
        while data:
            data = data[os.write(1, data) :]
        return True

    def drain(self) -> None:
        """Print all that the container wrote before it ended."""
        while select.select([self.master], [], [], 0)[0] and self.show():
            pass
