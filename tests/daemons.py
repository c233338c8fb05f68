"""Other people's engines for the tests: dockerd, containerd and podman, with all their state.

Each gives a command: call it, or take ``command`` for a benchmark. They run within a private
network (tests/components.py), so the rules and the forwarding of this machine stay what they are,
and whatever they leave running, in /run or in /dev/shm goes with it:

    with other_runtimes(), private_network() as enter:
        options = ("--add-runtime", f"minirun={minirun_oci(directory)}")
        with dockerd(directory, within=enter, options=options) as docker:
            docker.load(images.layout("busybox"), "busybox:test")
            docker("run", "--rm", "--runtime", "minirun", "--network", "none", "busybox:test", "id")

runc(8) and crun(1) need ``other_runtimes()`` too, when they are run by hand.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.components import require, running, succeeds
from tests.images import run
from tests.residue import CGROUPS

REPOSITORY = Path(__file__).parents[1]
NOFILE = 20000  # what a container may be given where root has no CAP_SYS_RESOURCE


@dataclass(frozen=True)
class Engine:
    command: list[str]
    load_target: str
    within: Sequence[str] = ()  # what brings a command to its network

    def __call__(self, *words: object, **options) -> str:
        return run(*self.command, *words, **options)

    def attempt(self, *words: object, timeout: float = 60, **options,
                ) -> subprocess.CompletedProcess[str]:
        """The same when it may fail: exit code and output."""
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True} | options
        command = [*self.command, *map(str, words)]
        return subprocess.run(command, check=False, timeout=timeout, **options)

    def load(self, layout: Path, name: str) -> None:
        """Bring in the image of an OCI layout without a registry."""
        archive = Path(self.load_target) / "image.tar"
        run("skopeo", "copy", "--quiet", f"oci:{layout}:latest", f"docker-archive:{archive}:{name}")
        words = ["images", "import"] if "ctr" in self.command else ["load", "--input"]
        self(*words, archive)
        archive.unlink()


def minirun_oci(directory: Path) -> Path:
    """Our runtime as a program of its own: the launcher of setup.sh, for this tree and Python."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "minirun-oci"
    program.write_text("\n".join([
        f"#!{sys.executable} -SI", "import sys", f"sys.path += [{str(REPOSITORY)!r}]",
        "from minirun.runtime.cli import main", "sys.exit(main())", "",
    ]))
    program.chmod(0o755)
    return program


@contextmanager
def dockerd(directory: Path, *, within: list[str], options: tuple[str, ...] = (),
            ) -> Iterator[Engine]:
    """A Docker daemon; ``options`` are more of dockerd's, such as ("--add-runtime", "x=/bin/x")."""
    require("docker", "iptables", "dockerd")
    directory.mkdir(parents=True, exist_ok=True)
    socket = f"unix://{directory}/docker.sock"
    docker = ["docker", "--host", socket]
    command = [
        *within, "dockerd", "--host", socket, "--pidfile", f"{directory}/docker.pid",
        "--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec",
        "--exec-opt", "native.cgroupdriver=cgroupfs", "--insecure-registry", "127.0.0.0/8",
        *options,
    ]
    with cgroups_removed("docker"):
        with running(command, lambda: succeeds([*docker, "info"]), log=directory / "log"):
            yield Engine(docker, str(directory), within)


@contextmanager
def containerd(directory: Path, *, within: list[str], kubernetes: str = "") -> Iterator[Engine]:
    """containerd, spoken to with ctr(8).

    With its Kubernetes interface (tests/cri.py) when ``kubernetes`` names the runtime of its pods.
    """
    require("ctr", "containerd")
    directory.mkdir(parents=True, exist_ok=True)
    socket = f"{directory}/containerd.sock"
    (directory / "config.toml").write_text("\n".join([
        "version = 2", f"root = {json.dumps(f'{directory}/root')}",
        f"state = {json.dumps(f'{directory}/state')}",
        "" if kubernetes else 'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
        f"[grpc]\naddress = {json.dumps(socket)}",
        f"[ttrpc]\naddress = {json.dumps(socket + '.ttrpc')}",
        KUBERNETES.format(directory=directory, runtime=kubernetes) if kubernetes else "",
    ]))
    if kubernetes:
        for folder in ("/var/lib", "/var/log"):  # what is left there goes with the network
            run(*within, "mount", "-t", "tmpfs", "kubernetes", folder)
        (directory / "cni.d").mkdir(exist_ok=True)
        (directory / "cni.d/bridge.conflist").write_text(json.dumps(BRIDGE))
    ctr = [*within, "ctr", "--address", socket]
    command = [*within, "containerd", "--config", f"{directory}/config.toml"]
    with cgroups_removed("default", "k8s.io"):
        with running(command, lambda: succeeds([*ctr, "version"]), log=directory / "log"):
            yield Engine(ctr, str(directory), within)


KUBERNETES = """
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:test"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{directory}/cni.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "minirun"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.minirun]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.minirun.options]
BinaryName = "{runtime}"
"""
BRIDGE = {
    "cniVersion": "0.4.0", "name": "pods",
    "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]], "dataDir": "/run/ipam"}}],
}


@contextmanager
def podman(directory: Path, *, within: list[str]) -> Iterator[Engine]:
    """podman needs no daemon, but storage and settings; those are in ``directory``."""
    require("conmon", "podman")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "containers.conf").write_text("\n".join([
        "[containers]", f'default_ulimits = ["nofile={NOFILE}:{NOFILE}", "nproc=32768:32768"]',
        "[engine]", 'cgroup_manager = "cgroupfs"', 'events_logger = "file"',
    ]))
    command = [
        *within, "env", f"CONTAINERS_CONF={directory}/containers.conf", "podman",
        "--root", f"{directory}/graph", "--runroot", f"{directory}/run",
        "--storage-driver", "overlay", "--log-level", "error",
    ]
    with cgroups_removed("libpod_parent", "conmon"):
        yield Engine(command, str(directory), within)


# What a container's shell is asked for its limits: cgroup v2 has the one file, v1 the others.
LIMITS = {
    "memory": ("memory.max", "memory/memory.limit_in_bytes"),
    "cpu": ("cpu.max", "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us"),
    "pids": ("pids.max", "pids/pids.max"),
    "cpuset": ("cpuset.cpus", "cpuset/cpuset.cpus"),
}


def show_limit(kind: str, mounted: str = "/sys/fs/cgroup") -> str:
    """A line of shell that prints it, the quota and the period of a processor on one line."""
    v2, v1 = LIMITS[kind]
    return f"cd {mounted}; echo $(cat {v2} 2>/dev/null || cat {v1})"


# --- cgroups --------------------------------------------------------------------------------


@contextmanager
def cgroups_removed(*names: str) -> Iterator[None]:
    """The part of the cgroup trees that an engine gave this name goes, if it came with it."""
    tops = [top for top in [CGROUPS, *CGROUPS.iterdir()] if (top / "cgroup.procs").exists()]
    ours = [top / name for top in tops for name in names if not (top / name).exists()]
    try:
        yield
    finally:
        for path in ours:
            for folder, _, _ in os.walk(path, topdown=False):
                remove_cgroup(Path(folder))


def remove_cgroup(path: Path, seconds: float = 5) -> None:
    """Remove it with what still runs in it: containers of a test that failed."""
    deadline = time.monotonic() + seconds
    while path.exists():
        try:
            path.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            for pid in (path / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.02)


@contextmanager
def other_runtimes() -> Iterator[None]:
    """Make runc and crun work where cgroup v1 and v2 are mixed.

    They refuse that while hugetlb is a controller of v2: it is given a v1 hierarchy meanwhile.
    Another mount namespace may have that at the same time: both see the same folder.
    """
    hierarchy = CGROUPS / "hugetlb"
    mixed = (CGROUPS / "unified").is_mount()
    if not mixed or hierarchy.is_mount() or "hugetlb" not in Path("/proc/cgroups").read_text():
        yield
        return
    hierarchy.mkdir(exist_ok=True)
    run("mount", "-t", "cgroup", "-o", "hugetlb", "cgroup", hierarchy)
    try:
        yield
    finally:
        run("umount", hierarchy)
        hierarchy.rmdir()
