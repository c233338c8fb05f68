"""User namespaces that root makes: containers whose root is an ordinary user of the host."""

import doctest
import os
import subprocess
import time
from pathlib import Path

import pytest

from minirun import idmap
from tests.runtime.bundles import bind

FIRST, COUNT = 3_000_000, 65536
ROWS = [{"containerID": 0, "hostID": FIRST, "size": COUNT}]


@pytest.fixture
def mapped(bundle, tmp_path):
    """A bundle with a user namespace; its directories let others pass, as that root is one."""
    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(0o711)
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = ROWS
    subprocess.run(["chown", "-hR", f"{FIRST}:{FIRST}", bundle.rootfs], check=True)
    return bundle


def test_root_inside_is_somebody_outside(mapped):
    """HD05, RT48: and the limits are root's of the host, who made the container."""
    mapped.linux["resources"]["pids"] = {"limit": 5}
    mapped.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [7, 8]}
    script = "cat /proc/self/uid_map; id -G; for i in 1 2 3 4 5 6; do sleep 1 & done; wait"
    mapped.process["args"] = ["sh", "-c", f"touch /tmp/mine; {script}"]
    mapped.write()
    done = mapped.oci("run", mapped.id)
    assert done.stdout.split() == ["0", str(FIRST), str(COUNT), "0", "7", "8"]
    assert "can't fork" in done.stderr
    assert (mapped.rootfs / "tmp/mine").stat().st_uid == FIRST


def test_a_volume_that_only_root_may_reach(mapped, tmp_path):
    """As the kubelet's and containerd's are: who has the powers opens it (lend.py)."""
    closed = tmp_path / "closed"
    (closed / "volume").mkdir(parents=True)
    (closed / "volume/file").write_text("seen\n")
    closed.chmod(0o700)
    mapped.config["mounts"].append(bind(closed / "volume", "/volume", "ro"))
    assert mapped.sh("cat /volume/file") == "seen\n"
    assert "Read-only" in mapped.run("touch", "/volume/new").stderr


def test_examples():
    assert doctest.testmod(idmap).failed == 0


def test_many_rows(mapped):
    """RT33: 340 rows are what the kernel takes, if they are short."""
    rows = [{"containerID": 2 * n, "hostID": n, "size": 1} for n in range(340)]
    mapped.linux["uidMappings"] = rows
    subprocess.run(["chown", "-hR", f"0:{FIRST}", mapped.rootfs], check=True)
    assert mapped.sh("grep -c . /proc/self/uid_map") == "340\n"
    mapped.linux["uidMappings"] = [*rows, {"containerID": 5000, "hostID": 5000, "size": 1}]
    said = mapped.refused()
    if mapped.runtime == "minirun-oci":
        assert "linux.uidMappings: 341 rows are more than the kernel takes" in said


def test_clocks(mapped):
    if mapped.runtime in ("runc", "crun"):
        pytest.skip("time namespaces: not in the versions of Debian 12")
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("this kernel has no time namespaces")
    mapped.linux["namespaces"].append({"type": "time"})
    mapped.linux["timeOffsets"] = {"monotonic": {"secs": 9}, "boottime": {"secs": 1_000_000}}
    assert float(mapped.sh("cat /proc/uptime").split()[0]) > 1_000_000


@pytest.fixture
def other():
    """A process with a user namespace of its own, and what that maps."""
    holder = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
    while os.readlink(f"/proc/{holder.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        time.sleep(0.01)
    for kind in ("uid", "gid"):
        Path(f"/proc/{holder.pid}/{kind}_map").write_text(f"0 {FIRST} {COUNT}\n")
    yield holder.pid
    holder.kill()
    holder.wait()


def test_join_a_user_namespace(mapped, other):
    path = f"/proc/{other}/ns/user"
    mapped.linux["namespaces"][-1]["path"] = path
    del mapped.linux["uidMappings"], mapped.linux["gidMappings"]
    if mapped.runtime == "runc":
        mapped.linux["uidMappings"] = mapped.linux["gidMappings"] = ROWS
    shown = mapped.sh("cat /proc/self/uid_map; readlink /proc/self/ns/user; touch /tmp/mine")
    assert shown.split() == ["0", str(FIRST), str(COUNT), os.readlink(path)]
    assert (mapped.rootfs / "tmp/mine").stat().st_uid == FIRST


def test_a_joined_user_namespace_has_its_own_rows(mapped, other):
    """config.json may repeat them, and not contradict them."""
    mapped.linux["namespaces"][-1]["path"] = f"/proc/{other}/ns/user"
    if mapped.runtime != "crun":
        assert mapped.sh("cat /proc/self/uid_map").split() == ["0", str(FIRST), str(COUNT)]
    mapped.linux["uidMappings"] = [{"containerID": 0, "hostID": FIRST, "size": 5}]
    if mapped.runtime == "minirun-oci":
        assert "linux.uidMappings: not those of the user namespace" in mapped.refused()


def test_no_root_inside(mapped):
    """Neither in the container nor for its set-up: no capability, and exec is the same."""
    if mapped.runtime == "runc":
        pytest.skip("runc wants to be root in it")
    rows = [{"containerID": 1000, "hostID": FIRST, "size": 10}]
    mapped.linux["uidMappings"] = mapped.linux["gidMappings"] = rows
    mapped.process["user"] = {"uid": 1001, "gid": 1002, "additionalGids": [1003]}
    for mount in mapped.config["mounts"]:
        mount["options"] = [word for word in mount["options"] if word != "gid=5"]
    mapped.process["capabilities"]["inheritable"] = ["CAP_KILL"]
    (mapped.rootfs / "tmp").chmod(0o777)
    script = "id -u; id -G; grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status"
    nothing = [f"Cap{name}:\t{'0' * 16}" for name in ("Prm", "Eff", "Amb")]
    expected = ["1001", "1002 1003", *nothing]
    assert mapped.sh(f"{script}; touch /tmp/mine").splitlines() == expected
    assert (mapped.rootfs / "tmp/mine").stat().st_uid == FIRST + 1
    mapped.create("sleep", "1000")
    mapped.oci("start", mapped.id, check=True)
    if mapped.runtime == "minirun-oci":
        done = mapped.oci("exec", mapped.id, "sh", "-c", script)
        assert done.stdout.splitlines() == expected, done.stderr


def test_no_power_over_the_host(mapped):
    """RT31, HD05: cgroup files, kernel settings and the clock are out of reach."""
    powers = ["CAP_SYS_ADMIN", "CAP_SYS_TIME", "CAP_MKNOD"]
    mapped.process["capabilities"] = {"bounding": powers, "effective": powers, "permitted": powers}
    del mapped.linux["readonlyPaths"], mapped.linux["maskedPaths"]
    script = """
    for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/fs/cgroup/*/tasks; do
        (echo x > $file) 2> /dev/null && echo $file
    done
    mknod /tmp/disk b 8 0 2> /dev/null && echo mknod
    mount -t ext4 /dev/null /tmp 2> /dev/null && echo mount
    mount -o remount,rw /sys/fs/cgroup 2> /dev/null && (echo 0 > /sys/fs/cgroup/pids/tasks) &&
        echo cgroup
    echo done
    """
    assert mapped.sh(script) == "done\n"
