"""A bundle to try runtimes on, and the runtime under test: any that $OCI_RUNTIME names.

    OCI_RUNTIME=runc pytest tests/runtime      is this test right? runc and crun must be green too

Without it our own ``minirun-oci`` is run, as its launcher does. Tests of what only ours does
(steps, reasons, exit codes) take the fixture ``ours``, which skips for the others.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BUSYBOX = "/bin/busybox"
APPLETS = (
    "cat chroot chmod cp cut dd echo env false grep head hostname id ifconfig kill ln ls mkdir "
    "mknod mount mv printf ps pwd readlink rm seq sh sleep sort stat stty tail test touch tr true "
    "tty umask umount uname unshare wc yes"
).split()
LAUNCHER = f"""import sys; sys.path.insert(0, {str(REPOSITORY)!r})
from minirun.runtime.cli import main; main()"""
# runc and crun refuse a hybrid layout whose hugetlb controller is on v2: give them a v1 one.
HUGETLB = "/sys/fs/cgroup/hugetlb"
WITH_HUGETLB = f"""if grep -q '^hugetlb.*1$' /proc/cgroups && [ -d /sys/fs/cgroup/memory ]; then
mkdir -p {HUGETLB} && mount -t cgroup -o hugetlb cgroup {HUGETLB}; fi; exec "$@" """
CAPABILITIES = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]
NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")


def default_config() -> dict:
    """A container such as Docker asks for, without seccomp."""
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "hostname": "box",
        "process": {
            "args": ["true"],
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        },
        "mounts": [
            mount("/proc", "proc"),
            mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666",
                  "mode=0620", "gid=5"),
            mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
            mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
            mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": ["/proc/acpi", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"],
        },
    }  # fmt: skip


def mount(destination: str, kind: str, *options: str, source: str | None = None) -> dict:
    return {
        "destination": destination, "type": kind, "source": source or kind, "options": list(options)
    }  # fmt: skip


def bind(source: object, destination: str, *options: str) -> dict:
    return mount(destination, "bind", "rbind", *options, source=str(source))


def make_rootfs(path: Path) -> None:
    """A root file system of one program."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, path / "bin/busybox")
    for applet in APPLETS:
        (path / "bin" / applet).symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:\n")


class Bundle:
    """A directory with a root and a config.json, and the runtime that runs it."""

    def __init__(self, directory: Path, runtime: str | None) -> None:
        self.directory = directory
        self.rootfs = directory / "rootfs"
        self.state_root = directory / "state"
        self.runtime = Path(shlex.split(runtime)[0]).name if runtime else "minirun-oci"
        self.command = shlex.split(runtime) if runtime else [sys.executable, "-SIc", LAUNCHER]
        if self.runtime in ("runc", "crun"):
            self.command = ["unshare", "-m", "sh", "-c", WITH_HUGETLB, "sh", *self.command]
        self.id = f"t{os.getpid()}-{time.monotonic_ns()}"
        self.config = default_config()
        make_rootfs(self.rootfs)

    @property
    def process(self) -> dict:
        return self.config["process"]

    @property
    def linux(self) -> dict:
        return self.config["linux"]

    def write(self) -> None:
        (self.directory / "config.json").write_text(json.dumps(self.config))

    def arguments(self, *words: object) -> list[str]:
        """The runtime's command line: global options stand in front, as everybody calls it."""
        return [*self.command, "--root", str(self.state_root), *map(str, words)]

    def oci(self, *words: object, check: bool = False, **options) -> subprocess.CompletedProcess:
        """Run the runtime. Output goes through files, which a container may keep open."""
        options.setdefault("stdin", subprocess.DEVNULL)
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            options = {"stdout": stdout, "stderr": stderr, "timeout": 30} | options
            done = subprocess.run(
                self.arguments(*words), check=False, text=True, cwd=self.directory, **options
            )
            stdout.seek(0)
            stderr.seek(0)
            done.stdout, done.stderr = stdout.read(), stderr.read()
        assert "Traceback" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def run(self, *args: str, options: tuple = (), **more) -> subprocess.CompletedProcess:
        """``run`` in the foreground: the command's exit code and output."""
        if args:
            self.process["args"] = list(args)
        self.write()
        return self.oci(*more.pop("globals", ()), "run", *options, self.id, **more)

    def sh(self, script: str, **more) -> str:
        """The output of a shell script in the container, which must succeed."""
        done = self.run("sh", "-ec", script, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *args: str, code: int = 125, **more) -> str:
        """What the runtime says when it will not run this; only ours promises the exit code."""
        done = self.run(*(args or ("true",)), **more)
        assert done.returncode != 0, done.stdout
        if self.runtime == "minirun-oci":
            assert (done.returncode, done.stderr.startswith("error: ")) == (code, True), done
        assert self.listed() == []
        return done.stderr

    def create(self, *args: str, options: tuple = (), **more) -> None:
        if args:
            self.process["args"] = list(args)
        self.write()
        self.oci("create", *options, self.id, check=True, **more)

    def state(self) -> dict:
        return json.loads(self.oci("state", self.id, check=True).stdout)

    def pid(self) -> int:
        return self.state()["pid"]

    def wait_for(self, status: str, patience: float = 5) -> None:
        deadline = time.monotonic() + patience
        while (now := self.state()["status"]) != status:
            assert time.monotonic() < deadline, f"still {now}"
            time.sleep(0.02)

    def listed(self) -> list[str]:
        """The containers that the runtime remembers."""
        return sorted(os.listdir(self.state_root)) if self.state_root.exists() else []

    def close(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for container_id in self.listed():
            self.oci("delete", "--force", container_id)
        if self.runtime in ("runc", "crun") and not os.path.ismount(HUGETLB):
            try:
                os.rmdir(HUGETLB)
            except OSError:
                pass  # there never was one


def only_root_of(bundle: Bundle, uid: int) -> None:
    """Map the container's IDs to those from ``uid`` on, to whom the root file system is given."""
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = [
        {"containerID": 0, "hostID": uid, "size": 65536}
    ]
    for path in (bundle.rootfs, *bundle.rootfs.rglob("*")):
        os.lchown(path, uid, uid)
    for parent in (bundle.directory, *bundle.directory.parents):
        if parent.stat().st_mode & 0o5 != 0o5 and str(parent) not in ("/", "/tmp"):
            parent.chmod(parent.stat().st_mode | 0o5)


def canary(directory: Path) -> Path:
    """A tree beside the root in which nothing may ever change."""
    tree = directory / "canary"
    (tree / "directory").mkdir(parents=True)
    (tree / "file").write_text("secret\n")
    return tree


def seen(tree: Path) -> list[tuple]:
    """All that could change in a tree."""
    return sorted(
        (str(path), path.lstat().st_mode, path.lstat().st_mtime_ns,
         path.read_bytes() if path.is_file() else b"")
        for path in [tree, *tree.rglob("*")]
    )  # fmt: skip


def skip_without_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs busybox-static")
