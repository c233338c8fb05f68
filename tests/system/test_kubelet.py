"""A pod of a real kubelet: containerd below it, and our runtime as BinaryName below that."""

import json
from pathlib import Path

import pytest

from tests import images, kubernetes
from tests.components import private_network
from tests.daemons import Engine, containerd, other_runtimes
from tests.images import run
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/sys/fs/cgroup/memory").exists(),
                       reason="Kubernetes 1.20 is tested on cgroup v1"),
]
IMAGE = "docker.io/library/busybox:test"
MEMORY = "/sys/fs/cgroup/memory/memory.limit_in_bytes"


def container(name, line, **more):
    return {"name": name, "image": IMAGE, "imagePullPolicy": "Never",
            "command": ["sh", "-c", line], **more}


POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "shared", "emptyDir": {}}],
        "containers": [
            container("server", f"cat {MEMORY}; exec httpd -f -p 8080 -h /etc",
                      resources={"limits": {"memory": "32Mi", "cpu": "100m"}},
                      livenessProbe={"exec": {"command": ["test", "-e", "/etc/passwd"]},
                                     "periodSeconds": 1}),
            container("client", "until wget -q -O - 127.0.0.1:8080/architecture; do sleep 0.1; "
                      "done; hostname; echo kept > /data/note; exec sleep 1000",
                      volumeMounts=[{"name": "shared", "mountPath": "/data"}],
                      readinessProbe={"exec": {"command": ["grep", "kept", "/data/note"]},
                                      "periodSeconds": 1}),
            container("sick", "touch /tmp/well; sleep 3; rm /tmp/well; exec sleep 1000",
                      livenessProbe={"exec": {"command": ["test", "-e", "/tmp/well"]},
                                     "periodSeconds": 1, "failureThreshold": 1}),
            container("brief", "exit 3"),
        ],
    },
}  # fmt: skip


def sysctls():
    return [Path("/proc/sys", name).read_text() for name in kubernetes.SYSCTLS]


class Node:
    def __init__(self, directory, engine):
        self.manifests = directory / "kubelet/manifests"
        self.within, self.engine = engine.within, engine

    def pods(self):
        return kubernetes.pods(self.within)

    def container(self, name):
        """The status of a container of the pod, or nothing while there is none."""
        statuses = self.pods().get("web-node", {}).get("containerStatuses", [])
        return next((status for status in statuses if status["name"] == name), {})

    def log(self, name):
        """What a container has said, without the time and the stream in front of each line."""
        said = run(*self.within, "sh", "-c", f"cat /var/log/pods/default_web-node_*/{name}/*.log")
        return [line.split(" ", 3)[3] for line in said.splitlines()]


@pytest.fixture(scope="module")
def node(tmp_path_factory, oci_runtime, tidy_module):
    kubernetes.program()
    directory, before = tmp_path_factory.mktemp("node"), sysctls()
    with other_runtimes(), private_network() as enter:
        with containerd(directory, within=enter, kubernetes=oci_runtime) as engine:
            ctr = Engine([*engine.command, "--namespace", "k8s.io"], engine.load_target, enter)
            for name in ("busybox", "pause"):
                ctr.load(images.layout(name), f"{name}:test")
            socket = directory / "containerd.sock"
            with kubernetes.kubelet(directory / "kubelet", socket, within=enter):
                node = Node(directory, ctr)
                (node.manifests / "web.json").write_text(json.dumps(POD))
                yield node
    assert sysctls() == before


def test_the_pod_comes_up(node):
    """Its containers share a network and a host name; the probe of readiness is an exec."""
    wait_for(lambda: all(node.container(name).get("ready") for name in ("server", "client")))
    assert node.log("client") == [images.machine(), "web-node"]
    assert node.pods()["web-node"]["podIP"].startswith("10.77.0.")


def test_the_limit_holds(node):
    assert wait_for(lambda: node.log("server")) == [str(32 << 20)]


def test_a_probe_that_fails_restarts_the_container(node):
    """The probe of the server never fails: that one is left alone."""
    wait_for(lambda: node.container("sick").get("restartCount", 0) >= 1)
    assert node.container("sick")["lastState"]["terminated"]["exitCode"] == 137
    assert node.container("server")["restartCount"] == 0


def test_a_container_that_ends_is_started_again(node):
    wait_for(lambda: node.container("brief").get("restartCount", 0) >= 1)
    brief = node.container("brief")
    ended = brief["lastState"].get("terminated") or brief["state"]["terminated"]
    assert ended["exitCode"] == 3


def test_the_pod_goes_with_its_manifest(node):
    """Last, as nothing is left afterwards."""
    (node.manifests / "web.json").unlink()
    wait_for(lambda: node.pods() == {})
    wait_for(lambda: node.engine("tasks", "list", "--quiet") == "")
