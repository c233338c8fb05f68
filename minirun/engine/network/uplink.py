"""The way out of an ordinary user's networks: slirp4netns(1) or pasta(1), one for all containers.

    container ── bridge ── NAT (firewall.py) ── tap0 ── uplink ── sockets of an ordinary process

In the user's network namespace (rootless.py) nothing leads to the machine's. The uplink opens a
network device there, tap0, reads the packets that are sent to it, and says with sockets of its own,
in the machine's namespace, what they say.

    RUN/uplink      locked by a process that starts the program, and ends it with the holder of the
                    namespaces; what the program says is in it

On tap0, 10.0.2.2 is the gateway, and 10.0.2.3 the name server that this machine itself asks
(upstream.py).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time

from minirun.errors import Error, NotFound, printable

TAP = "tap0"
# As the addresses of slirp4netns, for both: pasta would give tap0 those of this machine.
PASTA = (
    "pasta --foreground --quiet --config-net --ns-ifname tap0 --mtu 65520 --address 10.0.2.100 "
    "--netmask 24 --gateway 10.0.2.2 --dns-forward 10.0.2.3 --no-map-gw --no-netns-quit "
    "-t none -u none -T none -U none --netns"
).split()
SLIRP = (
    "slirp4netns --exit-fd 4 --configure --mtu 65520 --enable-ipv6 --disable-host-loopback "
    "--enable-sandbox --enable-seccomp --netns-type path"
).split()
# Keeps the lock (3) while the program runs, and runs it until the holder ends. slirp4netns ends
# also when nobody has the other end of 4. 13: Python ignores SIGPIPE; pasta calls that an error.
KEEP = """import os, select, sys
holder, *line = sys.argv[1:]
poller = select.poll()
poller.register(os.pidfd_open(int(holder)), select.POLLIN)
ended, open_end = os.pipe()
actions = [(os.POSIX_SPAWN_DUP2, 3, 3), (os.POSIX_SPAWN_DUP2, ended, 4)]
program = os.posix_spawn(line[0], line, os.environ, file_actions=actions, setsigdef=[13])
poller.register(os.pidfd_open(program), select.POLLIN)
poller.poll()
os.kill(program, 15)
"""
PATIENCE = 10.0  # seconds


def ensure(run: str) -> None:
    """Start the uplink, if there is none; afterwards there is a way out. To be called in the
    machine's network namespace, by root in the user's."""
    holder, started = _holder(run), False
    deadline = time.monotonic() + PATIENCE
    while not _is_up(holder):
        fd = os.open(f"{run}/uplink", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _lock(fd):
                if started:
                    raise Error(f"no way out of the user's networks: {_last_words(fd)}")
                _start(fd, holder, run)
                started = True
        finally:
            os.close(fd)
        if time.monotonic() > deadline:
            raise Error("no way out of the user's networks", hint=f"cat {run}/uplink")
        time.sleep(0.005)


def _holder(run: str) -> int:
    with open(f"{run}/holder", encoding="ascii") as file:
        return int(file.read().split()[0])


def _is_up(holder: int) -> bool:
    """Whether a default route leads out by tap0. proc_pid_net(5)"""
    with open(f"/proc/{holder}/net/route", encoding="ascii") as file:
        return any(line.split()[:2] == [TAP, "00000000"] for line in file)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_words(fd: int) -> str:
    said = os.pread(fd, 4096, 0).decode(errors="replace").split("\n")
    return printable(next((line for line in reversed(said) if line.strip()), "it just ended"))


def _start(fd: int, holder: int, run: str) -> None:
    """Start the program below a process that has the lock from now on; what it says is in the
    file."""
    line = [sys.executable, "-SIc", KEEP, str(holder), *_command(f"{run}/netns")]
    os.ftruncate(fd, 0)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, fd, 1),
        (os.POSIX_SPAWN_DUP2, fd, 2),
        (os.POSIX_SPAWN_DUP2, fd, 3),
    ]
    os.posix_spawn(line[0], line, os.environ, file_actions=actions, setpgroup=0)


def _command(namespace: str) -> list[str]:
    if program := shutil.which(SLIRP[0]):
        return [program, *SLIRP[1:], namespace, TAP]
    if program := shutil.which(PASTA[0]):
        return [program, *PASTA[1:], namespace]
    raise NotFound(
        "the networks of an ordinary user need slirp4netns or pasta",
        hint="apt-get install slirp4netns; or --network none, --network host",
    )
