"""SCMP_ACT_NOTIFY: an agent outside decides about the container's calls (seccomp_unotify(2)).

The agent here is a thread that takes one container process state, with the filter's listener, and
answers what it is asked with the errno of its choice.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundles import Bundle

RECEIVE, SEND = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE


class Agent(threading.Thread):
    """Answers ``asked`` calls with -``error``, or lets them go on where that is 0."""

    def __init__(self, path: Path, error: int, *, may_stay_open: bool = False,
                 server: socket.socket | None = None) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self.server = server or socket.socket(socket.AF_UNIX)
        if not server:
            self.server.bind(str(path))
            self.server.listen()
        self.server.settimeout(10)
        self.error, self.may_stay_open, self.closed = error, may_stay_open, False
        self.asked: list[tuple[int, int]] = []  # (pid, number of the call)
        self.state: dict = {}

    def run(self) -> None:
        connection, _ = self.server.accept()
        data, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        while data.count(b"{") != data.count(b"}"):  # runc and crun keep the connection open
            data += connection.recv(1 << 16)
        self.state = json.loads(data)
        self.closed = self.may_stay_open or connection.recv(1) == b""
        (listener,) = fds
        while True:
            notice = bytearray(80)
            try:
                fcntl.ioctl(listener, RECEIVE, notice)
            except OSError:  # the last process with the filter has ended
                break
            number, pid, _, call = struct.unpack_from("=QIIi", notice)
            self.asked.append((pid, call))
            flags = 0 if self.error else CONTINUE
            fcntl.ioctl(listener, SEND, struct.pack("=QqiI", number, 0, -self.error, flags))
        os.close(listener)


@pytest.fixture
def socket_path(tmp_path: Path) -> Iterator[Path]:
    """A short one: sun_path has 108 bytes."""
    path = Path(f"/tmp/agent-{os.getpid()}.sock")
    yield path
    path.unlink(missing_ok=True)


def notifying(bundle: Bundle, path: Path, *calls: str) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "listenerMetadata": "for the agent",
        "syscalls": [{"names": list(calls), "action": "SCMP_ACT_NOTIFY"}],
    }


@pytest.mark.parametrize("error", [errno.EDQUOT, 0])
def test_the_agent_decides(bundle, socket_path, error):
    agent = Agent(socket_path, error, may_stay_open=bundle.runtime in ("runc", "crun"))
    agent.start()
    notifying(bundle, socket_path, "mkdir", "mkdirat")
    bundle.config["annotations"] = {"a": "ä"}
    done = bundle.run("sh", "-c", "mkdir /tmp/new; ls /tmp; ls -l /proc/self/fd | wc -l")
    agent.join(10)
    words = ("quota exceeded", "new")
    assert (words[0] in done.stderr, words[1] in done.stdout) == (bool(error), not error), done
    assert done.stdout.split()[-1] == "5"  # total, 0, 1, 2, and the directory itself
    assert len(agent.asked) == 1 and agent.closed
    state = agent.state
    assert state["fds"] == ["seccompFd"] and state["metadata"] == "for the agent"
    assert state["state"]["id"] == bundle.id and state["state"]["annotations"] == {"a": "ä"}
    assert state["pid"] == state["state"]["pid"] > 0


def test_the_agent_may_decide_about_execve_too(ours, socket_path):
    """The listener is out of the house before the command is executed."""
    agent = Agent(socket_path, 0)
    agent.start()
    notifying(ours, socket_path, "execve", "openat")
    assert ours.run("echo", "hello").stdout == "hello\n"
    agent.join(10)
    assert agent.asked[0][0] == agent.state["pid"]


def test_with_preserved_descriptors_and_hooks(ours, socket_path):
    """Numbers of file descriptors are counted, not looked up: every way to count them."""
    for hook in (False, True):
        for preserved in (0, 2):
            agent = Agent(socket_path, errno.EDQUOT)
            agent.start()
            notifying(ours, socket_path, "mkdir", "mkdirat")
            kinds = {"startContainer": [{"path": "/bin/true"}]} if hook else {}
            ours.config["hooks"] = kinds
            read, write = os.pipe()
            fds = {3: read, 4: write}
            done = ours.run("mkdir", "/tmp/x", options=("--preserve-fds", str(preserved)),
                            **passing(fds if preserved else {}))  # fmt: skip
            os.close(read), os.close(write)
            agent.join(10)
            assert "quota exceeded" in done.stderr and len(agent.asked) == 1
            socket_path.unlink()


def passing(fds: dict[int, int]) -> dict:
    """Options of subprocess that give the runtime these file descriptors."""
    def place() -> None:
        copies = {number: fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for number, fd in fds.items()}
        for number, copy in copies.items():
            os.dup2(copy, number)

    return {"preexec_fn": place, "close_fds": False} if fds else {}


@pytest.mark.parametrize("calls", [("mkdir", "mkdirat"), ("execve", "mkdir", "mkdirat")])
def test_exec_has_an_agent_of_its_own(ours, socket_path, calls):
    """With the number of the new process, which is none of the container's first one."""
    first = Agent(socket_path, 0)
    first.start()
    notifying(ours, socket_path, *calls)
    ours.create("sleep", "60")
    ours.oci("start", ours.id, check=True)
    agent = Agent(socket_path, 0 if "execve" in calls else errno.EDQUOT, server=first.server)
    agent.start()
    done = ours.oci("exec", ours.id, "mkdir", "/tmp/new")
    agent.join(10)
    assert ("quota exceeded" in done.stderr) == ("execve" not in calls), done
    assert agent.state["pid"] == agent.asked[0][0] != ours.pid() and agent.closed
    assert agent.state["state"]["pid"] == ours.pid()
    assert agent.state["state"]["status"] == "running"
    ours.oci("kill", ours.id, "KILL", check=True)
    first.join(10)


def test_without_an_agent_there_is_no_container(bundle, socket_path):
    notifying(bundle, socket_path, "mkdir")
    assert "No such file" in bundle.refused() or bundle.runtime != "minirun-oci"


def test_an_agent_that_goes_away_ends_the_container(ours, socket_path):
    """What cannot be sent is an error: no command runs under a filter that nobody answers."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(socket_path))
    server.listen()
    notifying(ours, socket_path, "mkdir")
    ours.create("sh", "-c", "echo ran")
    server.close()
    done = ours.oci("start", ours.id)
    assert done.returncode == 125 and "listenerPath): Broken pipe" in done.stderr, done


def test_a_path_without_rules_that_need_it_is_ignored(bundle):
    """So says the spec; crun 1.8 wants the agent to be there all the same."""
    if bundle.runtime == "crun":
        pytest.skip("crun connects in any case")
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere"}
    assert bundle.run("true").returncode == 0


def test_what_we_tell_by_cannot_be_notified(ours, socket_path):
    for name in ("sendmsg", "sendto", "write"):
        notifying(ours, socket_path, name)
        agent = Agent(socket_path, 0)
        assert f"{name} cannot be notified" in ours.refused()
        agent.server.close()
        socket_path.unlink()


def test_the_size_of_a_notice_is_the_kernels():
    """struct seccomp_notif and seccomp_notif_resp: seccomp(2), SECCOMP_GET_NOTIF_SIZES."""
    sizes = (ctypes.c_uint16 * 3)()
    number = 317 if os.uname().machine == "x86_64" else 277
    assert ctypes.CDLL(None).syscall(number, 3, 0, sizes) == 0
    assert list(sizes) == [80, 24, 64]
