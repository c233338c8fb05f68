"""create, start, state, kill, delete: what each one does, allows and leaves."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from minirun.runtime.container import start_time


def fds_of(pid: int) -> dict[str, str]:
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        found[name] = os.readlink(f"/proc/{pid}/fd/{name}")
    return found


def test_life(bundle, tidy):
    bundle.config["annotations"] = {"org.example.key": "value"}
    bundle.create("sh", "-c", "echo started > /tmp/x; sleep 60")
    state = bundle.state()
    assert (state["status"], state["id"], state["bundle"]) == (
        "created", bundle.id, str(bundle.directory)
    )  # fmt: skip
    assert state["annotations"]["org.example.key"] == "value"
    assert state["ociVersion"].startswith("1.")
    assert not (bundle.rootfs / "tmp/x").exists()
    bundle.oci("start", bundle.id, check=True)
    bundle.wait_for("running")
    assert bundle.state()["pid"] == state["pid"]
    assert bundle.oci("start", bundle.id).returncode != 0
    assert bundle.oci("delete", bundle.id).returncode != 0
    bundle.oci("kill", bundle.id, "KILL", check=True)
    bundle.wait_for("stopped")
    assert bundle.oci("kill", bundle.id, "TERM").returncode != 0
    assert bundle.oci("start", bundle.id).returncode != 0
    bundle.oci("delete", bundle.id, check=True)
    assert bundle.oci("state", bundle.id).returncode != 0
    assert bundle.oci("delete", bundle.id).returncode != 0
    assert bundle.listed() == []


def test_no_file_descriptors_leak(bundle):
    """RT07: neither before nor after the start, whatever the caller had open."""
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8.1 passes on what its caller left open")
    extra = [os.open("/", os.O_RDONLY) for _ in range(50)]
    try:
        for fd in extra:
            os.set_inheritable(fd, True)
        bundle.create("sleep", "60", pass_fds=extra)
        before = fds_of(bundle.pid())
        bundle.oci("start", bundle.id, check=True)
        after = fds_of(bundle.pid())
    finally:
        for fd in extra:
            os.close(fd)
    assert sorted(after) == ["0", "1", "2"]
    if bundle.runtime == "minirun-oci":
        assert sorted(before) == ["0", "1", "2", "3"]
        assert before["3"].startswith("socket:")
    assert not any(target.startswith("/") for fd, target in before.items() if int(fd) > 2
                   and target != "/dev/null" and "exec.fifo" not in target)  # fmt: skip


def test_a_created_container_is_one_sealed_page(ours):
    """RT01: /proc/PID/exe is no file of the host's; and no Python waits for the start."""
    ours.create("sleep", "60")
    pid = ours.pid()
    assert os.readlink(f"/proc/{pid}/exe").startswith("/memfd:")
    with pytest.raises(OSError):
        os.truncate(f"/proc/{pid}/exe", 0)
    memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss = int(memory.partition("Rss:")[2].split()[0])
    assert rss < 100  # KiB


def test_edits_of_the_config_after_create_change_nothing(bundle):
    bundle.create("sh", "-c", "echo right > /tmp/x")
    bundle.process["args"] = ["sh", "-c", "echo wrong > /tmp/x"]
    bundle.write()
    bundle.oci("start", bundle.id, check=True)
    bundle.wait_for("stopped")
    assert (bundle.rootfs / "tmp/x").read_text() == "right\n"


def test_an_id_is_taken_once(bundle):
    bundle.create("sleep", "60")
    assert bundle.oci("run", bundle.id).returncode != 0
    assert bundle.state()["status"] == "created"


def test_pid_file(bundle):
    bundle.create("sleep", "60", options=("--pid-file", "pid"))
    assert int((bundle.directory / "pid").read_text()) == bundle.pid()


def test_pidfd_socket(ours):
    """runc 1.2: the first process as a file descriptor, whose number nobody can take."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(ours.directory / "socket"))
        listener.listen()
        listener.settimeout(10)
        ours.create("sleep", "60", options=("--pidfd-socket", "socket"))
        connection, _ = listener.accept()
        with connection:
            _, (pidfd,), _, _ = socket.recv_fds(connection, 100, 1)
    facts = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    assert f"Pid:\t{ours.pid()}\n" in facts
    os.close(pidfd)


@pytest.mark.parametrize("option", ["--pid-file", "--pidfd-socket"])
def test_who_cannot_be_told_of_the_process_gets_no_container(ours, option):
    ours.process["args"] = ["sleep", "60"]
    ours.write()
    assert ours.oci("create", option, "/nowhere/x", ours.id).returncode == 125
    assert ours.listed() == []


def test_detached_run(bundle):
    bundle.run("sleep", "60", options=("--detach",))
    assert bundle.state()["status"] == "running"


def test_delete_force_kills(bundle, tidy):
    bundle.run("sh", "-c", "sleep 61 & sleep 60", options=("-d",))
    bundle.oci("delete", "--force", bundle.id, check=True)
    assert bundle.listed() == []
    bundle.oci("delete", "--force", bundle.id, check=True)


def test_delete_of_a_created_one(bundle, tidy):
    """runtime.md, delete, allows it of stopped ones only; runc and crun do it, and so do we."""
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8.1 does it with --force only")
    bundle.create("sleep", "60")
    bundle.oci("delete", bundle.id, check=True)
    assert bundle.listed() == []


def test_kill_all(bundle):
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"
    ]
    bundle.run("sh", "-c", "sleep 61 & exec sleep 62", options=("-d",))
    bundle.oci("kill", "--all", bundle.id, "KILL", check=True)
    bundle.wait_for("stopped")


def test_kill_ends_all_of_a_shared_pid_namespace(ours):
    """As runc from 1.2 on: where the kernel does not end them with the first one, we do."""
    ours.linux["namespaces"] = [n for n in ours.linux["namespaces"] if n["type"] != "pid"]
    ours.run("sh", "-c", "sleep 61 & exec sleep 62", options=("-d",))
    time.sleep(0.1)
    pids = json.loads(ours.oci("ps", "-f", "json", ours.id, check=True).stdout)
    assert len(pids) == 2
    ours.oci("kill", ours.id, "KILL", check=True)
    assert not any(start_time(pid) for pid in pids)
    assert ours.oci("kill", ours.id, "KILL").returncode == 125


def test_kill_ends_what_the_first_process_left_behind(ours):
    ours.linux["namespaces"] = [n for n in ours.linux["namespaces"] if n["type"] != "pid"]
    ours.run("sh", "-c", "sleep 61 & true", options=("-d",))
    ours.wait_for("stopped")
    cgroup = json.loads((ours.state_root / ours.id / "state.json").read_text())["cgroup"]
    pid = int(Path(cgroup["trees"][0][1] + cgroup["path"], "cgroup.procs").read_text())
    ours.oci("kill", ours.id, "KILL", check=True)
    assert not start_time(pid)


def test_unknown_containers(bundle):
    for words in (["state"], ["start"], ["kill"], ["delete"]):
        done = bundle.oci(*words, "nobody")
        assert done.returncode != 0
        assert "does not exist" in done.stderr or bundle.runtime == "crun"


def test_a_pid_of_another_process_is_never_killed(ours):
    """CR11: the number was used again; the start time tells."""
    ours.run("true", options=("--detach",))
    ours.wait_for("stopped")
    victim = subprocess.Popen(["sleep", "60"])
    try:
        path = ours.state_root / ours.id / "process.json"
        state = json.loads(path.read_text())
        path.write_text(json.dumps(state | {"pid": victim.pid}))
        assert ours.oci("kill", ours.id, "KILL").returncode == 125
        ours.oci("delete", "--force", ours.id, check=True)
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_a_caller_that_is_killed_takes_no_container_along(bundle):
    """CR10: it runs on, its state says so, and it can be deleted."""
    bundle.process["args"] = ["sleep", "60"]
    bundle.write()
    with open(os.devnull, "w") as null:
        caller = subprocess.Popen(
            bundle.arguments("run", bundle.id), cwd=bundle.directory, stdout=null, stderr=null,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 5
    while not bundle.listed() or bundle.oci("state", bundle.id).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    bundle.wait_for("running")
    os.killpg(caller.pid, signal.SIGKILL)
    caller.wait()
    time.sleep(0.1)
    assert bundle.state()["status"] == "running"
    bundle.oci("kill", bundle.id, "KILL", check=True)
    bundle.wait_for("stopped")
    bundle.oci("delete", bundle.id, check=True)


def test_a_reboot_leaves_containers_that_have_stopped(ours):
    """CR13: where --root outlives one. The pid is another's now, the cgroup is gone."""
    ours.run("sleep", "60", options=("--detach",))
    saved = {name: (ours.state_root / ours.id / name).read_bytes()
             for name in ("config.json", "state.json", "process.json")}  # fmt: skip
    ours.oci("delete", "--force", ours.id, check=True)
    directory = ours.state_root / ours.id
    directory.mkdir(mode=0o700)
    for name, data in saved.items():
        (directory / name).write_bytes(data)
    victim = subprocess.Popen(["sleep", "60"])
    process = json.loads(saved["process.json"])
    (directory / "process.json").write_text(json.dumps(process | {"pid": victim.pid}))
    try:
        assert ours.state()["status"] == "stopped"
        for words in (["kill"], ["pause"], ["exec"], ["update", "--pids-limit", "5"], ["start"]):
            more = ["true"] if words == ["exec"] else []
            assert ours.oci(*words, ours.id, *more).returncode == 125
        ours.oci("kill", "--all", ours.id, "KILL", check=True)
        ours.oci("delete", ours.id, check=True)
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_start_of_a_container_that_died(bundle):
    bundle.create("true")
    os.kill(bundle.pid(), signal.SIGKILL)
    bundle.wait_for("stopped")
    assert bundle.oci("start", bundle.id).returncode != 0


def test_two_starts_at_once_start_it_once(ours):
    ours.create("sh", "-c", "echo x >> /tmp/x; sleep 1")
    both = [
        subprocess.Popen(ours.arguments("start", ours.id), stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert sorted(process.wait() for process in both) == [0, 125]
    assert (ours.rootfs / "tmp/x").read_text() == "x\n"


def test_the_door_is_for_nobody_else(ours):
    """RT34: the socket lies in a directory that only root may enter."""
    ours.create("true")
    directory = ours.state_root / ours.id
    assert directory.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(PermissionError):
        os.seteuid(65534)
        try:
            client.connect(str(directory / "start"))
        finally:
            os.seteuid(0)


def test_start_time_of_zombies_and_nobody():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None
    child.wait()
    assert start_time(2**22 + 1) is None
    assert start_time(os.getpid())
