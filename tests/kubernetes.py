"""A kubelet for the tests, without a cluster: it runs the pods whose manifests lie in a folder.

Debian packages only kubectl, but has the whole source: the kubelet of Kubernetes 1.20 is built from
it with Debian's Go, once a machine (5 minutes), and kept in images.CACHE.

    with kubelet(directory, containerd_socket, within=enter):
        (directory / "manifests/pod.json").write_text(…)
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.components import require, running, succeeds
from tests.daemons import NOFILE, cgroups_removed
from tests.images import CACHE, locked, run

VERSION = "1.20.2"
PORT = 10255  # plain HTTP, without a password, for reading only

# What a kubelet sets for the whole machine: it finds its values there already, in files of ours.
SYSCTLS = {
    "vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000, "kernel/keys/root_maxbytes": 25_000_000,
}  # fmt: skip
SHIELDED = """
cd "$1" && shift
for name in $(find * -type f); do mount --bind "$name" "/proc/sys/$name" || exit; done
mount --make-rshared / && exec "$@"
"""


def program() -> Path:
    """The kubelet, built now if it never was; skips where there is nothing to build it from."""
    target = CACHE / f"kubelet-{VERSION}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / ".kubelet.lock"):
        if not target.exists():
            require("apt-get", "go")
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                download(Path(scratch))
                build(Path(scratch)).rename(target)
    return target


def download(scratch: Path) -> None:
    """Debian's source package of Kubernetes, from where this machine's packages come from."""
    form = "deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)"
    lists = run("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    (scratch / "sources.list").write_text("\n".join(sorted(set(lists.splitlines()))) + "\n")
    (scratch / "lists/partial").mkdir(parents=True)
    (scratch / "apt.conf").write_text(f"""
        Dir::Etc::SourceList "{scratch}/sources.list"; Dir::Etc::SourceParts "/dev/null";
        Dir::State::Lists "{scratch}/lists"; Dir::Cache "{scratch}"; APT::Sandbox::User "root";
    """)
    env = {**os.environ, "APT_CONFIG": f"{scratch}/apt.conf"}
    run("apt-get", "update", env=env)
    try:
        run("apt-get", "source", "--download-only", "kubernetes", cwd=scratch, env=env)
    except RuntimeError as error:
        pytest.skip(f"no source of Kubernetes: {error}")
    if not list(scratch.glob(f"kubernetes_*{VERSION}.orig.tar.gz")):
        pytest.skip(f"this distribution's Kubernetes is not {VERSION}")


def build(scratch: Path) -> Path:
    source = scratch / "go/src/k8s.io/kubernetes"
    source.mkdir(parents=True)
    run("tar", "-xzf", *scratch.glob("*.orig.tar.gz"), "--strip-components=1", "-C", source)
    versions = " ".join(
        f"-X k8s.io/kubernetes/vendor/k8s.io/{package}/version.{name}={value}"
        for package in ("component-base", "client-go/pkg")
        for name, value in (("gitVersion", f"v{VERSION}"), ("gitMajor", 1), ("gitMinor", 20)))
    env = {**os.environ, "GOPATH": f"{scratch}/go", "GOCACHE": f"{scratch}/cache",
           "GO111MODULE": "off", "CGO_ENABLED": "0"}
    run("nice", "-n", "19", "go", "build", "-ldflags", f"-s -w {versions}",
        "-o", scratch / "kubelet", "./cmd/kubelet", cwd=source, env=env)
    return scratch / "kubelet"


@contextmanager
def kubelet(directory: Path, containerd: Path, *, within: list[str]) -> Iterator[None]:
    """A kubelet above the containerd at this socket; it looks for manifests every second."""
    built = program()
    (directory / "manifests").mkdir(parents=True)
    for name, value in SYSCTLS.items():
        path = directory / "sysctls" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    (directory / "kubelet.json").write_text(json.dumps({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "staticPodPath": str(directory / "manifests"), "fileCheckFrequency": "1s",
        "address": "127.0.0.1", "readOnlyPort": PORT, "resolvConf": "/etc/resolv.conf",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"}, "cgroupDriver": "cgroupfs", "failSwapOn": False,
        "maxOpenFiles": NOFILE,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%",
                         "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
    }))
    command = [
        *within, "unshare", "--mount", "sh", "-c", SHIELDED, "sh", str(directory / "sysctls"),
        str(built), "--config", str(directory / "kubelet.json"),
        "--root-dir", str(directory / "root"), "--cert-dir", str(directory / "pki"),
        "--volume-plugin-dir", str(directory / "plugins"), "--container-runtime", "remote",
        "--container-runtime-endpoint", f"unix://{containerd}", "--hostname-override", "node",
        "--oom-score-adj", "0",
    ]  # fmt: skip
    with cgroups_removed("kubepods"):
        with running(command, lambda: succeeds([*within, *ask("healthz")]), seconds=60,
                     log=directory / "kubelet.log"):
            yield


def ask(path: str) -> list[str]:
    """The command that asks the kubelet, in its network."""
    return ["busybox", "wget", "-q", "-O", "-", f"http://127.0.0.1:{PORT}/{path}"]


def pods(within: list[str]) -> dict[str, dict]:
    """The status of each pod, by the pod's name."""
    found = json.loads(run(*within, *ask("pods")))["items"] or []
    return {pod["metadata"]["name"]: pod["status"] for pod in found}
