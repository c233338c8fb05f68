"""Containers of ordinary users: with the IDs that root lent them, and with none but their own.

Run with OCI_RUNTIME=runc and crun too; where these differ, the test says how.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.bundles import Bundle, bind, skip_without_root
from tests.screen import Screen
from tests.users import COUNT, LENT, UID, User, user

OWN = [{"containerID": 0, "hostID": UID, "size": 1}]
LENT_TOO = [*OWN, {"containerID": 1, "hostID": LENT, "size": COUNT}]
CGROUPS = Path("/sys/fs/cgroup")
ON_V2 = (CGROUPS / "cgroup.controllers").exists()
NAMESPACES = ("user", "pid", "network", "ipc", "uts", "mount", "cgroup")
LAUNCHER = """import sys; sys.path.insert(0, {!r})
from minirun.runtime.cli import main; main()"""


class RootlessBundle(Bundle):
    """A bundle of an ordinary user, who runs the runtime."""

    def __init__(self, user: User, runtime: str | None) -> None:
        super().__init__(user.home, runtime)
        self.user = user
        if self.runtime == "minirun-oci":
            launcher = LAUNCHER.format(str(user.source))
            self.command = [os.path.realpath(sys.executable), "-SIc", launcher]
        elif self.runtime in ("runc", "crun"):
            self.command = [shutil.which(self.runtime)]
        self.state_root = user.run_directory / "state"
        self.linux["namespaces"] = [{"type": kind} for kind in NAMESPACES]
        self.map(OWN)
        for mount in self.config["mounts"]:
            mount["options"] = [word for word in mount["options"] if word != "gid=5"]
        del self.linux["resources"]
        user.own()

    def map(self, rows: list[dict]) -> None:
        self.linux["uidMappings"] = self.linux["gidMappings"] = rows
        if rows == LENT_TOO:
            self.user.lend()

    def arguments(self, *words: object) -> list[str]:
        return self.user.command(*super().arguments(*words))

    def oci(self, *words: object, **options) -> subprocess.CompletedProcess:
        return super().oci(*words, **{"env": self.user.env} | options)

    def as_user(self, script: str, **options) -> subprocess.CompletedProcess:
        """A shell script of the user's, in which "$@" is the runtime."""
        return subprocess.run(
            self.user.command("sh", "-ec", script, "sh", *super().arguments()),
            env=self.user.env, cwd=self.directory, capture_output=True, text=True, timeout=30,
            check=False, **options,
        )  # fmt: skip


@pytest.fixture
def rootless() -> Iterator[RootlessBundle]:
    skip_without_root()
    with user() as somebody:
        made = RootlessBundle(somebody, os.environ.get("OCI_RUNTIME"))
        yield made
        made.close()
        assert made.listed() == []


@pytest.fixture
def ours(rootless: RootlessBundle) -> RootlessBundle:
    """For tests of what only our runtime does or promises."""
    if rootless.runtime != "minirun-oci":
        pytest.skip("only of minirun-oci")
    return rootless


@pytest.fixture
def lent(rootless: RootlessBundle) -> RootlessBundle:
    if not shutil.which("newuidmap"):
        pytest.skip("needs newuidmap (package uidmap)")
    rootless.map(LENT_TOO)
    return rootless


def rows(text: str) -> list[list[int]]:
    return [list(map(int, line.split())) for line in text.splitlines()]


# who is who


def test_one_id(rootless):
    """RT27: with one's own ID alone, no groups can be set; HD05: all namespaces are its own."""
    script = "id -u; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups"
    assert rootless.sh(script).split() == ["0", "0", str(UID), "1", "0", str(UID), "1", "deny"]
    shown = rootless.sh("cd /proc/self/ns; for n in user pid net ipc uts mnt; do readlink $n; done")
    names = ("user", "pid", "net", "ipc", "uts", "mnt")
    assert not {os.readlink(f"/proc/self/ns/{name}") for name in names} & set(shown.split())


def test_lent_ids(lent):
    """RT27: an image's user exists, and owns files; groups are exactly those asked for."""
    (lent.rootfs / "srv").mkdir()
    (lent.rootfs / "srv").chmod(0o777)
    lent.process["user"] = {"uid": 1000, "gid": 1001}
    if lent.runtime != "runc":  # which lets no ordinary user set groups
        lent.process["user"]["additionalGids"] = [7]
    output = lent.sh("cat /proc/self/uid_map; grep Groups /proc/self/status; touch /srv/file")
    groups = output.split("Groups:")[1].split()
    assert rows(output.partition("Groups")[0]) == [[0, UID, 1], [1, LENT, COUNT]]
    assert groups == ([] if lent.runtime == "runc" else ["7"])
    made = (lent.rootfs / "srv/file").stat()
    assert (made.st_uid, made.st_gid) == (LENT + 999, LENT + 1000)


def test_groups_need_lent_ones(rootless):
    """RT27: where setgroups(2) is given up, additionalGids cannot be had."""
    if rootless.runtime == "crun":
        pytest.skip("crun ignores them")
    rootless.process["user"]["additionalGids"] = [0]
    assert "group" in rootless.refused().lower()


@pytest.mark.parametrize("kind", ["uid", "gid"])
def test_ids_that_nobody_maps(rootless, kind):
    rootless.process["user"][kind] = 4711
    said = rootless.refused()
    if rootless.runtime == "minirun-oci":
        assert f"process.user: {kind} 4711 is not mapped" in said


def test_who_is_not_root_inside(lent):
    """A user namespace need not have a root."""
    if lent.runtime == "runc":
        pytest.skip("runc wants to be root in it")
    lent.linux["uidMappings"] = [{"containerID": 1000, "hostID": UID, "size": 1}]
    lent.linux["gidMappings"] = [{"containerID": 1000, "hostID": UID, "size": 1}]
    lent.process["user"] = {"uid": 1000, "gid": 1000}
    output = lent.sh("id -u; grep Cap /proc/self/status; touch /tmp/file")
    assert output.split()[0] == "1000"
    caps = dict(line.split(":\t") for line in output.splitlines()[1:])
    assert {caps[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert (lent.rootfs / "tmp/file").stat().st_uid == UID


def test_ids_that_were_not_lent(ours):
    """RT48"""
    ours.user.lend()
    ours.linux["uidMappings"] = [*OWN, {"containerID": 1, "hostID": 5000, "size": 10}]
    said = ours.refused()
    assert "linux.uidMappings: newuidmap: " in said
    assert "hint: as root: echo rootless:5000:10 >> /etc/subuid" in said


def test_newuidmap_is_missing(ours):
    ours.map(LENT_TOO)
    ours.write()
    done = ours.as_user('export PATH=/nowhere; "$@" run x')
    assert "hint: install the package uidmap" in done.stderr


@pytest.mark.parametrize(
    ("mappings", "why"),
    [
        ([{"containerID": 2 * i, "hostID": 2 * i, "size": 1} for i in range(65536)], "65536 rows"),
        ([{"containerID": i, "hostID": UID, "size": 1} for i in (0, 1)], f"hostID {UID} a second"),
        ([{"containerID": 0, "hostID": i, "size": 1} for i in range(2)], "containerID 0 a second"),
        ([{"containerID": 0, "hostID": UID, "size": 0}], "a size of 0"),
        ([{"containerID": 2**32 - 1, "hostID": UID, "size": 1}], "linux.uidMappings"),
    ],
    ids=["many", "same-host", "same-container", "empty", "overflow"],
)
def test_maps_that_the_kernel_would_not_take(rootless, mappings, why):
    """RT33"""
    rootless.linux["uidMappings"] = mappings
    said = rootless.refused()
    if rootless.runtime == "minirun-oci":
        assert why in said


def test_a_user_namespace_is_needed(rootless):
    if rootless.runtime == "crun":
        pytest.skip("crun makes one, whether asked for or not")
    rootless.linux["namespaces"] = [{"type": kind} for kind in NAMESPACES if kind != "user"]
    del rootless.linux["uidMappings"], rootless.linux["gidMappings"]
    said = rootless.refused()
    if rootless.runtime == "minirun-oci":
        assert "hint: minirun-oci spec --rootless" in said


# the life of a container


@pytest.mark.parametrize("mappings", [OWN, LENT_TOO], ids=["own", "lent"])
def test_create_start_kill_delete(rootless, mappings):
    rootless.map(mappings)
    rootless.create("sh", "-c", "trap 'exit 3' TERM; echo up > /tmp/up; while :; do sleep 1; done")
    assert rootless.state()["status"] == "created"
    assert not (rootless.rootfs / "tmp/up").exists()
    rootless.oci("start", rootless.id, check=True)
    rootless.wait_for("running")
    while not (rootless.rootfs / "tmp/up").exists():
        pass
    rootless.oci("kill", rootless.id, "TERM", check=True)
    rootless.wait_for("stopped")
    rootless.oci("delete", rootless.id, check=True)


def test_delete_force_ends_all(rootless):
    rootless.create("sh", "-c", "sleep 1000 & sleep 1000 & wait")
    rootless.oci("start", rootless.id, check=True)
    rootless.oci("delete", "--force", rootless.id, check=True)
    assert rootless.user.processes() == []


def programs(bundle: RootlessBundle) -> list[str]:
    """What a container's processes execute, but for the pause of a loop."""
    pids = json.loads(bundle.oci("ps", "--format", "json", bundle.id, check=True).stdout)
    lines = [Path(f"/proc/{pid}/cmdline") for pid in pids]
    words = [path.read_text().split("\0") for path in lines if path.exists()]
    return [word[0] for word in words if word[:2] != ["sleep", "1"]]


def test_processes_without_a_cgroup(ours):
    """They are found by their PID namespace."""
    script = "sleep 1000 & sleep 1000 & trap : USR1; echo > /tmp/up; while :; do sleep 1; done"
    ours.create("sh", "-c", script)
    ours.oci("start", ours.id, check=True)
    while not (ours.rootfs / "tmp/up").exists():
        pass
    assert programs(ours).count("sleep") >= 2
    assert set(programs(ours)) == {"sh", "sleep"}
    ours.oci("kill", "--all", ours.id, "USR1", check=True)
    assert ours.state()["status"] == "running"
    while programs(ours) != ["sh"]:
        pass
    assert "freezer" in ours.oci("pause", ours.id).stderr
    ours.oci("kill", ours.id, "KILL", check=True)
    ours.wait_for("stopped")


@pytest.mark.parametrize("mappings", [OWN, LENT_TOO], ids=["own", "lent"])
def test_exec(rootless, mappings):
    rootless.map(mappings)
    rootless.create("sleep", "1000")
    rootless.oci("start", rootless.id, check=True)
    done = rootless.oci("exec", rootless.id, "sh", "-c", "id -u; cat /proc/self/uid_map; exit 4")
    expected = [[row["containerID"], row["hostID"], row["size"]] for row in mappings]
    assert (done.returncode, done.stdout.splitlines()[0]) == (4, "0")
    assert rows("".join(done.stdout.splitlines(True)[1:])) == expected
    if mappings == LENT_TOO:
        done = rootless.oci("exec", "--user", "1000:1000", rootless.id, "sh", "-c", "id -u; id -G")
        assert done.stdout.split() == ["1000", "1000"]
    done = rootless.oci("exec", "--user", "70000", rootless.id, "true")
    assert done.returncode != 0
    if rootless.runtime == "minirun-oci":
        assert "uid 70000 is not mapped" in done.stderr


@pytest.mark.parametrize("mappings", [OWN, LENT_TOO], ids=["own", "lent"])
def test_terminal(rootless, mappings):
    rootless.map(mappings)
    rootless.process.update(terminal=True, args=["sh"])
    rootless.write()
    command = rootless.arguments("run", "--bundle", rootless.directory, rootless.id)
    with Screen(command, env=rootless.user.env) as screen:
        screen.expect("# ")
        screen.type("tty; echo $((6 * 7)); exit 5\r")
        screen.expect("/dev/pts/0")
        screen.expect("42")
        if rootless.runtime != "crun":  # which may leave our terminal in raw mode
            assert screen.finish() == 5


def test_spec_rootless_writes_what_runs(ours):
    done = ours.as_user(
        'rm -f config.json; "$@" spec --rootless; sed -i \'s/"terminal": true/"terminal": false/\' '
        'config.json; echo "id -u; cat /proc/self/uid_map" | "$@" run x'
    )
    assert done.stdout.split() == ["0", "0", str(UID), "1"], done.stderr


def test_state_directory(ours):
    """Without --root it lies where the user's own files of this session do, or else in /tmp; there,
    not where somebody else has been first."""
    ours.write()
    python, flags, launcher = ours.command
    run = f"{python} {flags} \"$1\""
    script = f"{run} create x; find $XDG_RUNTIME_DIR; {run} delete -f x; export XDG_RUNTIME_DIR="
    script += f"; {run} list -q; find /tmp/minirun-{UID}; rmdir /tmp/minirun-{UID}"
    command = ours.user.command("sh", "-ec", script, "sh", launcher)
    options = {"env": ours.user.env, "cwd": ours.directory, "text": True, "capture_output": True}
    done = subprocess.run(command, check=True, **options)
    assert f"{ours.user.run_directory}/minirun/oci/x" in done.stdout.split()
    assert done.stdout.endswith(f"/tmp/minirun-{UID}\n")
    os.mkdir(f"/tmp/minirun-{UID}")
    try:
        done = subprocess.run(command, check=False, **options)
        assert f"error: /tmp/minirun-{UID} is not ours alone" in done.stderr
    finally:
        os.rmdir(f"/tmp/minirun-{UID}")


def test_rootless_option(ours):
    """Only with "auto" and "true" do we do without a cgroup."""
    assert "cgroup" in ours.refused(globals=("--rootless", "false"))
    assert ours.run("true", globals=("--rootless", "true")).returncode == 0


# what a user may not, neither may their container


def test_root_inside_is_nobody_outside(lent):
    """RT48: neither root's files nor a set-user-ID program of the host's give it anything."""
    volume = lent.user.directory / "volume"
    volume.mkdir(mode=0o777)
    volume.chmod(0o777)
    (volume / "root").write_text("secret\n")
    (volume / "root").chmod(0o600)
    shutil.copy("/bin/busybox", volume / "id")
    (volume / "id").chmod(0o4755)
    lent.config["mounts"].append(bind(volume, "/volume"))
    lent.process["user"] = {"uid": 1000, "gid": 1000}
    for uid in (0, 1000):
        lent.process["user"]["uid"] = uid
        output = lent.sh(
            "for try in 'cat /volume/root' 'chown 0 /volume/root' 'chmod 666 /volume/root'; do "
            "$try 2> /dev/null && echo $try; done; /volume/id -u; mknod /tmp/null c 1 3 || echo no"
        )
        assert output.split() == [str(uid), "no"]
    assert (volume / "root").read_text() == "secret\n"


def test_volumes_that_are_closed_to_the_user(ours):
    closed = ours.user.directory / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").touch()
    mounts = ours.config["mounts"]
    mounts.append(bind(closed / "file", "/volume"))
    assert f"mounts[{len(mounts) - 1}].source: {closed}/file: Permission denied" in ours.refused()
    mounts[-1] = bind(closed, "/volume")
    assert "Permission denied" in ours.run("ls", "/volume").stderr
    mounts[-1] = bind("/sys", "/volume") | {"options": ["bind"]}
    assert "hint: in a user namespace they must come along: rbind" in ours.refused()


def test_devices(rootless):
    """The host's are bound, and they open as they would to the user."""
    if rootless.runtime == "crun":
        pytest.skip("crun 1.8 fails on linux.devices: unshare(CLONE_NEWNS): EPERM")
    closed = next(path for path in Path("/dev").iterdir()
                  if path.is_char_device() and not path.stat().st_mode & 0o006)
    number = closed.stat().st_rdev
    rootless.linux["devices"] = [{"path": str(closed), "type": "c", "major": os.major(number),
                                  "minor": os.minor(number)}]  # fmt: skip
    output = rootless.sh(
        "for name in null zero full random urandom tty; do test -c /dev/$name; done; "
        f"echo ok > /dev/null; test -c {closed}; head -c 1 {closed} || echo closed"
    )
    assert output == "closed\n"


def test_a_device_that_the_host_has_not(ours):
    ours.linux["devices"] = [{"path": "/dev/nothing", "type": "c", "major": 1, "minor": 3}]
    assert "/dev/nothing" in ours.refused()
    ours.linux["devices"] = [{"path": "/dev/zero", "type": "c", "major": 1, "minor": 3}]
    assert "/dev/zero" in ours.refused()


def test_oom_score(rootless):
    own = int(Path("/proc/self/oom_score_adj").read_text())
    rootless.process["oomScoreAdj"] = own + 100
    assert rootless.sh("cat /proc/self/oom_score_adj").strip() == str(own + 100)
    rootless.process["oomScoreAdj"] = own - 100
    if rootless.runtime == "crun":
        pytest.skip("crun lets it be")
    said = rootless.refused()
    if rootless.runtime == "minirun-oci":
        assert "process.oomScoreAdj" in said


def test_clocks_of_its_own(rootless):
    if rootless.runtime != "minirun-oci":
        pytest.skip("time namespaces: not in the versions of Debian 12")
    if not Path("/proc/self/ns/time").exists():
        pytest.skip("this kernel has no time namespaces")
    rootless.linux["namespaces"].append({"type": "time"})
    rootless.linux["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    assert float(rootless.sh("cat /proc/uptime").split()[0]) > 1_000_000


# limits


def test_limits_without_a_cgroup_are_refused(rootless):
    if rootless.runtime == "crun":
        pytest.skip("crun ignores them on cgroup v1")
    rootless.linux["resources"] = {"memory": {"limit": 1 << 26}}
    said = rootless.refused()
    if rootless.runtime == "minirun-oci":
        assert "linux.resources: no limits for memory" in said
        assert "hint: " in said


def test_device_rules_need_no_cgroup(rootless):
    rootless.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}], "memory": {}}
    assert rootless.sh("echo fine") == "fine\n"


def test_without_a_cgroup_a_pid_namespace_is_needed(ours):
    ours.linux["namespaces"] = [{"type": kind} for kind in NAMESPACES if kind != "pid"]
    assert "needs a PID namespace" in ours.refused()


@pytest.fixture
def delegated(rootless: RootlessBundle) -> Iterator[RootlessBundle]:
    """A user to whom root has given cgroups: on v1, of some controllers."""
    if rootless.runtime != "minirun-oci":
        pytest.skip("runc and crun look for no such cgroup if config.json names none")
    name, trees = f"minirun-user-{os.getpid()}", [CGROUPS]
    if not ON_V2:
        trees = [CGROUPS / tree for tree in ("memory", "pids", "freezer")]
    for tree in trees:
        (tree / name / "session").mkdir(parents=True)
        subprocess.run(["chown", "-R", str(UID), tree / name], check=True)
    rootless.user.before = "".join(
        f"echo $$ > {tree / name}/session/cgroup.procs;" for tree in trees
    )
    yield rootless
    rootless.close()
    for tree in trees:
        assert [path.name for path in (tree / name).iterdir() if path.is_dir()] == ["session"]
        (tree / name / "session").rmdir()
        (tree / name).rmdir()


def test_limits_in_a_cgroup_of_ones_own(delegated):
    delegated.linux["resources"] = {"memory": {"limit": 16 << 20}, "pids": {"limit": 5}}
    done = delegated.run("sh", "-c", "for i in 1 2 3 4 5 6; do sleep 9 & done; wait")
    assert "can't fork" in done.stderr
    assert delegated.run("tail", "/dev/zero").returncode == 137
    delegated.linux["resources"] = {"cpu": {"shares": 512}}
    if ON_V2:
        delegated.linux["resources"] = {"rdma": {"mlx5_1": {"hcaHandles": 3}}}
    assert "linux.resources: no limits for " in delegated.refused()


def test_pause_in_a_cgroup_of_ones_own(delegated):
    delegated.create("sleep", "1000")
    delegated.oci("start", delegated.id, check=True)
    delegated.oci("pause", delegated.id, check=True)
    assert delegated.state()["status"] == "paused"
    delegated.oci("resume", delegated.id, check=True)
    assert delegated.state()["status"] == "running"


# root in a user namespace already


def test_root_of_another_user_namespace(rootless):
    """podman unshare; Docker in a container: euid 0, but not root of the machine."""
    rootless.linux["namespaces"] = [{"type": kind} for kind in NAMESPACES if kind != "user"]
    del rootless.linux["uidMappings"], rootless.linux["gidMappings"]
    rootless.process["args"] = ["sh", "-c", "id -u; cat /proc/self/uid_map; ls /dev/null"]
    rootless.write()
    done = rootless.as_user(f'unshare --user --map-root-user "$@" run {rootless.id}')
    assert done.stdout.split() == ["0", "0", str(UID), "1", "/dev/null"], done.stderr


def test_user_namespace_in_another(lent):
    inner = [{"containerID": 0, "hostID": 1, "size": 10}]
    lent.linux["uidMappings"] = lent.linux["gidMappings"] = inner
    lent.process["args"] = ["sh", "-c", "id -u; cat /proc/self/uid_map"]
    lent.write()
    within = ["unshare", "--user", "--map-root-user", "--map-auto"]
    for path in (lent.rootfs, lent.directory):
        path.chmod(0o755)
    done = lent.as_user(f'{" ".join(within)} "$@" run {lent.id}')
    assert done.stdout.split() == ["0", "0", "1", "10"], done.stderr
    lent.linux["uidMappings"] = [{"containerID": 0, "hostID": 70000, "size": 10}]
    lent.write()
    done = lent.as_user(f'{" ".join(within)} "$@" run {lent.id}')
    assert done.returncode != 0
    if lent.runtime == "minirun-oci":
        assert "hostID 70000 to 70009 are not mapped in the user namespace" in done.stderr


# machines that allow no user namespaces


def test_too_many_user_namespaces(ours):
    """The limit is one of each user namespace: here, of one that we make for the test."""
    ours.write()
    inside = """sh -c 'echo 0 > /proc/sys/user/max_user_namespaces; "$@"' sh"""
    done = ours.as_user(f'unshare --user --map-root-user {inside} "$@" run {ours.id}')
    assert "hint: as root: sysctl -w user.max_user_namespaces=" in done.stderr


def test_apparmor_allows_no_user_namespaces(ours):
    """Ubuntu's switch, laid over /proc/sys/kernel; the kernel refuses as to who is in a chroot."""
    fake, jail = ours.user.directory / "kernel", ours.user.directory / "jail"
    fake.mkdir()
    jail.mkdir()
    (fake / "apparmor_restrict_unprivileged_userns").write_text("1\n")
    ours.write()
    ours.user.before = (
        f"mount --rbind / {jail}; mount --bind {fake} {jail}/proc/sys/kernel; "
        f"set -- chroot {jail} env --chdir={ours.directory} \"$@\""
    )
    done = ours.oci("run", ours.id)
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in done.stderr
