"""Terminals: through a console socket, and in the foreground of our own."""

import array
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from tests.runtime.bundles import Bundle


def read_until(fd: int, words: bytes, patience: float = 10) -> bytes:
    """What a terminal shows, until it shows ``words``."""
    shown = b""
    deadline = time.monotonic() + patience
    while words not in shown:
        left = deadline - time.monotonic()
        assert left > 0 and select.select([fd], [], [], left)[0], shown
        try:
            data = os.read(fd, 4096)
        except OSError:  # EIO: the other end is closed
            data = b""
        assert data, shown
        shown += data
    return shown


def receive_master(server: socket.socket) -> int:
    connection, _ = server.accept()
    with connection:
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    return array.array("i", ancillary[0][2])[0]


def with_terminal(bundle: Bundle, *args: str) -> None:
    bundle.process["terminal"] = True
    bundle.process["args"] = list(args)
    bundle.write()


def test_console_socket(bundle):
    bundle.process["consoleSize"] = {"height": 33, "width": 77}
    with_terminal(bundle, "sh", "-c", "tty; stty size; ls -l /dev/console; read x; echo got $x")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(bundle.directory / "console"))
        server.listen()
        process = subprocess.Popen(
            bundle.arguments("create", "--console-socket", "console", bundle.id),
            cwd=bundle.directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        master = receive_master(server)
        assert process.wait() == 0
    assert os.major(os.fstat(master).st_rdev) in (5, 128)  # CVE-2025-52565
    bundle.oci("start", bundle.id, check=True)
    shown = read_until(master, b"/dev/console")
    assert b"/dev/pts/0" in shown
    if bundle.runtime != "crun":
        assert b"33 77" in shown
    os.write(master, b"hello\n")
    read_until(master, b"got hello")
    os.close(master)


def test_detached_without_a_console_socket_is_refused(bundle):
    with_terminal(bundle, "true")
    assert bundle.oci("create", bundle.id).returncode != 0
    assert bundle.listed() == []


def test_console_socket_without_a_terminal_is_refused(ours):
    ours.write()
    assert ours.oci("create", "--console-socket", "x", ours.id).returncode == 125


def test_console_socket_that_nobody_listens_on(ours):
    with_terminal(ours, "true")
    done = ours.oci("create", "--console-socket", "nobody", ours.id)
    assert done.returncode == 125 and "console socket" in done.stderr
    assert ours.listed() == []


class Foreground:
    """``run`` on a terminal of ours."""

    def __init__(self, bundle: Bundle, rows: int = 24, columns: int = 80) -> None:
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            bundle.arguments("run", bundle.id), cwd=bundle.directory, start_new_session=True,
            stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def mode(self) -> list:
        return termios.tcgetattr(self.slave)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def foreground(ours):
    made = []

    def start(*args: str) -> Foreground:
        with_terminal(ours, *args)
        made.append(Foreground(ours))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_foreground_terminal(foreground):
    """RL05: raw while it runs, every key passed on, the mode restored, the exit code ours."""
    script = "stty size; echo ready; read x; echo \"got $x\"; sleep 0.2; exit 9"
    run = foreground("sh", "-c", script)
    assert b"24 80" in read_until(run.master, b"ready")
    assert run.mode() != run.before
    os.write(run.master, b"abc\r")
    read_until(run.master, b"got abc")
    assert run.process.wait(timeout=10) == 9
    assert run.mode() == run.before


def test_control_c_goes_to_the_container(foreground):
    run = foreground("sh", "-c", "trap 'echo interrupted; exit 5' INT; echo ready; sleep 5")
    read_until(run.master, b"ready")
    os.write(run.master, b"\x03")
    read_until(run.master, b"interrupted")
    assert run.process.wait(timeout=10) == 5


def test_resizes(foreground):
    """RL05"""
    run = foreground("sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done")
    read_until(run.master, b"ready")
    for rows in range(30, 60):
        run.resize(rows, 100)
        run.process.send_signal(signal.SIGWINCH)
    read_until(run.master, b"59 100")


def test_a_storm_of_resizes_costs_nothing(foreground):
    """RL05, CVE-2022-23471: the last one counts, and no file or thread more is there after it."""
    run = foreground("sh", "-c", "echo ready; read x; stty size; sleep 60")
    read_until(run.master, b"ready")

    def had() -> tuple[list[str], list[str]]:
        return tuple(sorted(os.listdir(f"/proc/{run.process.pid}/{kind}"))
                     for kind in ("fd", "task"))  # fmt: skip

    before = had()
    for rows in range(1, 1001):
        run.resize(rows, 100)
        run.process.send_signal(signal.SIGWINCH)
    os.write(run.master, b"\r")
    read_until(run.master, b"1000 100")
    assert had() == before


def test_a_runtime_that_is_killed_takes_its_terminal_along(ours, foreground, tidy):
    """RL05, CR10: who reads from it sees its end. (Of signals PID 1 is spared, with runc too.)"""
    run = foreground("sh", "-c", "echo ready; read x; exit 3")
    read_until(run.master, b"ready")
    run.process.kill()
    run.process.wait()
    ours.wait_for("stopped")
    ours.oci("delete", ours.id, check=True)


def test_the_terminal_is_restored_when_the_container_is_killed(ours, foreground):
    """RL05"""
    run = foreground("sh", "-c", "echo ready; sleep 60")
    read_until(run.master, b"ready")
    ours.oci("kill", ours.id, "KILL", check=True)
    assert run.process.wait(timeout=10) == 137
    assert run.mode() == run.before


def test_all_output_arrives(foreground):
    """RL06: also what was written just before the end, and through a slow reader."""
    run = foreground("sh", "-c", "seq 1 20000; printf END")
    shown = read_until(run.master, b"END", patience=20)
    assert shown.count(b"\r\n") == 20000
    assert run.process.wait(timeout=10) == 0


def test_output_to_a_pipe_that_closes(ours):
    ours.process["args"] = ["yes"]
    ours.write()
    process = subprocess.Popen(ours.arguments("run", ours.id), cwd=ours.directory,
                               stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.wait(timeout=10) == 1  # PID 1 is spared the signal, and told of the error


def test_what_goes_into_a_pipe_has_plain_line_ends_from_the_first_on(bundle):
    """However soon the command writes: the terminal is as it is to be before it begins."""
    if bundle.runtime in ("runc", "crun"):
        pytest.skip("without a terminal for its own input it runs none that has one")
    bundle.process.update(terminal=True, args=["echo", "line"])
    bundle.write()
    for number in range(8):
        done = subprocess.run(
            bundle.arguments("run", f"{bundle.id}-{number}"), cwd=bundle.directory,
            capture_output=True, stdin=subprocess.DEVNULL, start_new_session=True, check=False,
        )  # fmt: skip
        assert done.stdout == b"line\n", done
