"""What a command may leave behind on a machine, counted: nothing is what it should be.

    before = snapshot()
    ...
    assert left(before) == {}

Some things go a moment after the process that had them (keys, cgroups, network namespaces):
``left`` looks again until nothing is left or its patience ends.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
FOLDERS = ("/run", "/run/netns", "/run/minirun", "/run/minirun/oci", "/var/lib", "/var/lib/minirun",
           "/var/lib/minirun/containers", "/dev/shm")

Snapshot = dict[str, set[str]]


def snapshot() -> Snapshot:
    return {
        "mounts": mounts(),
        "cgroups": {folder for folder, _, _ in os.walk(CGROUPS)},
        "interfaces": set(os.listdir("/sys/class/net")),
        "keyrings": keyrings(),
        "processes": descendants(os.getppid(), but=os.getpid()) | descendants(os.getpid()),
        "nftables": ruleset(),
        "files": {f"{folder}/{name}" for folder in FOLDERS for name in listing(folder)},
    }


def left(before: Snapshot, *, patience: float = 5) -> Snapshot:
    """What is there now and was not before; kinds of which nothing is left are left out."""
    deadline = time.monotonic() + patience
    while True:
        now = snapshot()
        more = {kind: now[kind] - before[kind] for kind in now}
        more = {kind: things for kind, things in more.items() if things}
        if not more or time.monotonic() > deadline:
            return more
        time.sleep(0.1)


def mounts() -> set[str]:
    """Each as "mount point (type)": see proc_pid_mountinfo(5)."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        found.add(f"{fields[4]} ({fields[fields.index('-') + 1]})")
    return found


def keyrings() -> set[str]:
    """Each container is given a session keyring: "serial number description", proc_keys(5)."""
    lines = [line.split() for line in Path("/proc/keys").read_text().splitlines()]
    return {f"{line[0]} {line[8]}" for line in lines if line[7] == "keyring"}


def descendants(pid: int, but: int = 0) -> set[str]:
    """The living processes below ``pid``, as "pid command line"; zombies do not count."""
    found = set()
    for child in set(children(pid)) - {but}:
        state = Path(f"/proc/{child}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] not in "ZX":
                line = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
                found.add(f"{child} {line.decode(errors='replace').strip()}")
        except OSError:
            continue  # it ended while we looked
        found |= descendants(child)
    return found


def children(pid: int) -> list[int]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        texts = [Path(f"/proc/{pid}/task/{task}/children").read_text() for task in tasks]
    except OSError:
        return []
    return [int(child) for text in texts for child in text.split()]


def ruleset() -> set[str]:
    if shutil.which("nft") is None:
        return set()
    listed = subprocess.run(["nft", "list", "ruleset"], check=False, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
