"""A pseudoterminal to try interactive commands at: keys, what is shown, sizes, the exit code.

    with Screen(["minirun", "run", "-it", "tiny", "sh"]) as shell:
        shell.expect("/ # ")
        shell.type("exit 7\\r")
        assert shell.finish() == 7
"""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

PATIENCE = 20  # seconds


class Screen:
    """A terminal with a command at it; what it shows is collected in ``seen``."""

    def __init__(self, command, env=None, size=(24, 80)):
        self.master, self.slave = pty.openpty()
        self.resize(*size)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process = subprocess.Popen(
            command,
            env=env,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )

    def resize(self, rows, columns):
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def type(self, text):
        os.write(self.master, text.encode())

    def read(self, seconds=0.1):
        if select.select([self.master], [], [], seconds)[0]:
            self.seen += os.read(self.master, 1 << 16)

    def expect(self, text):
        """Wait until ``text`` is shown; what was shown up to it is forgotten."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} is not in {self.seen.decode()!r}"
            self.read()
        before, _, self.seen = self.seen.partition(text.encode())
        return before.decode()

    def finish(self):
        """The exit code, once all output has been read; the terminal must be as it was."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.read()
        while select.select([self.master], [], [], 0)[0]:
            self.read()
        assert termios.tcgetattr(self.slave) == self.before
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
