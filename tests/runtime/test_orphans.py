"""RL01: processes whose parents have ended. Who reaps them, and what of those whom nobody reaps?"""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.runtime.bundles import Bundle

COUNT = 1000
MAKE = f"i=0; while [ $i -lt {COUNT} ]; do (true &); i=$((i+1)); done"
INITS = ("docker-init", "tini", "catatonit")  # as Docker and Podman mount them for --init


def zombies(parent: int) -> int:
    """Children of a process that have ended and whom it has not waited for: proc_pid_stat(5)."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    found = 0
    for child in children:
        try:
            stat = Path(f"/proc/{child}/stat").read_text()
        except FileNotFoundError:
            continue
        found += stat.rpartition(")")[2].split()[0] == "Z"
    return found


def settled(parent: int, wanted: int) -> int:
    deadline = time.monotonic() + 10
    while (found := zombies(parent)) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def start(bundle: Bundle, *command: str) -> int:
    bundle.create(*command)
    bundle.oci("start", bundle.id, check=True)
    return bundle.pid()


def is_dynamic(program: str) -> bool:
    return subprocess.run(["ldd", program], check=False, capture_output=True).returncode == 0


def test_an_init_reaps_them(bundle: Bundle, tidy):
    init = next(filter(None, map(shutil.which, INITS)), None)
    if init is None or is_dynamic(init):
        pytest.skip("no static init on this machine")
    shutil.copy(init, bundle.rootfs / "bin/init")
    pid = start(bundle, "/bin/init", "--", "sleep", "3600")
    bundle.oci("exec", bundle.id, "sh", "-c", MAKE, check=True)
    assert settled(pid, 0) == 0
    bundle.oci("delete", "--force", bundle.id, check=True)


def test_without_one_they_stay_until_the_container_ends(bundle: Bundle, tidy):
    """PID 1 is the image's command, and waits for nobody: then the kernel ends them with it."""
    pid = start(bundle, "sleep", "3600")
    bundle.oci("exec", bundle.id, "sh", "-c", MAKE, check=True)
    assert settled(pid, COUNT) == COUNT
    bundle.oci("kill", bundle.id, "KILL", check=True)
    bundle.wait_for("stopped", patience=10)
    bundle.oci("delete", bundle.id, check=True)


def test_the_runtime_reaps_those_that_become_its_own(ours):
    """In the host's PID namespace they are the foreground's: it adopts what create forks."""
    ours.linux["namespaces"] = [n for n in ours.linux["namespaces"] if n["type"] != "pid"]
    ours.process["args"] = ["sh", "-c", f"{MAKE}; exec sleep 3600"]
    ours.write()
    run = subprocess.Popen(ours.arguments("run", ours.id), cwd=ours.directory)
    try:
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        deadline = time.monotonic() + 20
        while "sleep" not in names(children):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert settled(run.pid, 0) == 0
    finally:
        ours.oci("delete", "--force", ours.id, check=True)
        assert run.wait(timeout=10) == 137


def names(children: Path) -> set[str]:
    found = set()
    for child in children.read_text().split():
        try:
            found.add(Path(f"/proc/{child}/comm").read_text().strip())
        except FileNotFoundError:
            continue
    return found
