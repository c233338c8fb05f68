"""Kubernetes' Container Runtime Interface: containerd's, with our runtime as BinaryName.

A pod is a sandbox, which is a container that only waits, and containers that join its namespaces by
path. What the kubelet calls is called here, through tests/cri.py.
"""

import time
from pathlib import Path

import pytest

from tests import cri as client
from tests import images
from tests.components import private_network
from tests.daemons import Engine, containerd, other_runtimes, show_limit

grpc = pytest.importorskip("grpc", reason="grpcio-tools is not installed (setup.sh test)")

EXAMPLE = Path(__file__).parent / "examples/clusters"
IMAGE = "docker.io/library/busybox:test"
OWN_PROCESSES = {"namespace_options": {"pid": "CONTAINER"}}  # what the kubelet asks for


@pytest.fixture(scope="module")
def cri(tmp_path_factory, oci_runtime, tidy_module):
    directory = tmp_path_factory.mktemp("cri")
    with other_runtimes(), private_network() as enter:
        with containerd(directory, within=enter, kubernetes=oci_runtime) as engine:
            ctr = Engine([*engine.command, "--namespace", "k8s.io"], engine.load_target)
            for name in ("busybox", "pause"):
                ctr.load(images.layout(name), f"{name}:test")
            with client.Client(directory / "containerd.sock") as opened:
                yield opened


class Pod:
    """A sandbox, and the containers in it."""

    def __init__(self, cri, directory, security=OWN_PROCESSES, handler="", **linux):
        self.cri, self.logs = cri, directory
        self.config = {
            "metadata": {"name": "p", "uid": str(time.monotonic_ns()), "namespace": "default"},
            "hostname": "pod", "log_directory": str(directory),
            "linux": {"security_context": security, **linux},
        }  # fmt: skip
        made = cri.RunPodSandbox(config=self.config, runtime_handler=handler)
        self.id = made.pod_sandbox_id

    def create(self, name, *command, security=OWN_PROCESSES, resources=None, **config):
        config |= {"metadata": {"name": name}, "image": {"image": IMAGE}, "command": command,
                   "log_path": f"{name}.log",
                   "linux": {"security_context": security, "resources": resources or {}}}
        made = self.cri.CreateContainer(pod_sandbox_id=self.id, config=config,
                                        sandbox_config=self.config)
        return made.container_id

    def start(self, name, *command, **config):
        container = self.create(name, *command, **config)
        self.cri.StartContainer(container_id=container)
        return container

    def exec(self, container, line):
        """What a shell in the container says; it must succeed and say no more."""
        done = self.cri.ExecSync(container_id=container, cmd=["sh", "-c", line], timeout=10)
        assert (done.exit_code, done.stderr) == (0, b"")
        return done.stdout.decode()

    def status(self, container):
        return self.cri.ContainerStatus(container_id=container).status

    def ended(self, container):
        """Its exit code, once it has one."""
        deadline = time.monotonic() + 10
        while (status := self.status(container)).state != 2:  # CONTAINER_EXITED
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return status.exit_code

    def remove(self):
        self.cri.StopPodSandbox(pod_sandbox_id=self.id)
        self.cri.RemovePodSandbox(pod_sandbox_id=self.id)


@pytest.fixture
def pod(cri, tmp_path):
    made = Pod(cri, tmp_path)
    yield made
    made.remove()
    assert list(cri.ListContainers().containers) == []


def test_a_pod(cri, pod):
    """Its containers share network, IPC and host name, and have an address."""
    line = "httpd -f -p 8080 -h /etc"
    pod.start("server", "sh", "-c", line)
    other = pod.start("other", "sleep", "1000")
    address = cri.PodSandboxStatus(pod_sandbox_id=pod.id).status.network.ip
    assert pod.exec(other, "hostname") == "pod\n"
    assert f" {address}/24 " in pod.exec(other, "ip -4 -o addr show eth0")
    assert pod.exec(other, "wget -q -O - 127.0.0.1:8080/architecture") == f"{images.machine()}\n"
    states = {each.metadata.name: each.state for each in cri.ListContainers().containers}
    assert states == {"server": 1, "other": 1}


def test_the_runtime_class_of_the_example(cri, tmp_path):
    """What a kubelet makes of runtimeClassName: it asks for a sandbox of this handler."""
    manifest = (EXAMPLE / "runtimeclass.yaml").read_text()
    handler = manifest.split("\nhandler: ")[1].strip()
    pod = Pod(cri, tmp_path, handler=handler)
    try:
        assert cri.PodSandboxStatus(pod_sandbox_id=pod.id).status.runtime_handler == handler
        container = pod.start("web", "httpd", "-f", "-p", "8080", "-h", "/etc")
        assert pod.exec(container, "wget -q -O - 127.0.0.1:8080/architecture")
    finally:
        pod.remove()
    with pytest.raises(grpc.RpcError, match="nobody"):
        Pod(cri, tmp_path, handler="nobody")


def test_exit_code_and_log(pod):
    container = pod.start("c", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert pod.ended(container) == 7
    lines = [line.split(" ", 3)[1:] for line in (pod.logs / "c.log").read_text().splitlines()]
    assert sorted(lines) == [["stderr", "F", "err"], ["stdout", "F", "out"]]


def test_exec_sync(cri, pod):
    container = pod.start("c", "sleep", "1000")
    done = cri.ExecSync(container_id=container, cmd=["sh", "-c", "echo out; echo err >&2; exit 5"],
                        timeout=10)
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 5)


def test_exec_sync_has_a_timeout(cri, pod):
    container = pod.start("c", "sleep", "1000")
    with pytest.raises(grpc.RpcError) as caught:
        cri.ExecSync(container_id=container, cmd=["sleep", "900"], timeout=1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert "sleep 900" not in pod.exec(container, "ps")


def test_a_command_that_is_not_there(cri, pod):
    container = pod.create("c", "nosuch")
    with pytest.raises(grpc.RpcError) as caught:
        cri.StartContainer(container_id=container)
    assert "nosuch" in caught.value.details()
    assert pod.status(container).reason == "StartError"
    cri.RemoveContainer(container_id=container)


def test_resources_and_their_update(cri, pod):
    resources = {"memory_limit_in_bytes": 32 << 20, "cpu_period": 100_000, "cpu_quota": 50_000,
                 "oom_score_adj": 500}
    container = pod.start("c", "sleep", "1000", resources=resources)
    line = f"{show_limit('memory')}; {show_limit('cpu')}; cat /proc/1/oom_score_adj"
    assert pod.exec(container, line) == "33554432\n50000 100000\n500\n"
    resources |= {"memory_limit_in_bytes": 64 << 20, "cpu_quota": 20_000}
    cri.UpdateContainerResources(container_id=container, linux=resources)
    assert pod.exec(container, line) == "67108864\n20000 100000\n500\n"
    assert pod.exec(container, "echo still here") == "still here\n"


def test_out_of_memory_is_told(pod):
    resources = {"memory_limit_in_bytes": 16 << 20}
    container = pod.start("c", "tail", "/dev/zero", resources=resources)
    assert pod.ended(container) == 137
    assert pod.status(container).reason == "OOMKilled"


def test_stats(cri, pod):
    container = pod.start("c", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; "
                          "exec sleep 1000")
    stats = cri.ContainerStats(container_id=container).stats
    assert stats.memory.working_set_bytes.value > 0
    assert stats.cpu.usage_core_nano_seconds.value > 0


def test_stop_asks_first(cri, pod):
    line = "trap 'exit 3' TERM; touch /tmp/ready; while :; do sleep 0.05; done"
    polite, stubborn = pod.start("polite", "sh", "-c", line), pod.start("stubborn", "sleep", "1000")
    pod.exec(polite, "until test -e /tmp/ready; do sleep 0.05; done")
    cri.StopContainer(container_id=polite, timeout=5)
    assert pod.status(polite).exit_code == 3
    cri.StopContainer(container_id=stubborn, timeout=1)
    assert pod.status(stubborn).exit_code == 137
    cri.RemoveContainer(container_id=polite)
    assert [each.metadata.name for each in cri.ListContainers().containers] == ["stubborn"]


def field(name):
    return f"grep ^{name}: /proc/self/status | cut -f2"


@pytest.mark.parametrize(("security", "line", "answer"), [
    ({"run_as_user": {"value": 1000}, "supplemental_groups": [44]}, "id -u; id -G",
     "1000\n1000 44 2000"),
    ({"no_new_privs": True}, field("NoNewPrivs"), "1"),
    ({"readonly_rootfs": True}, "touch /x 2>/dev/null || echo refused", "refused"),
    ({"capabilities": {"drop_capabilities": ["ALL"]}}, field("CapBnd"), "0" * 16),
    ({"capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": ["KILL"]}},
     field("CapEff"), "0000000000000020"),
    ({"privileged": True}, "test -e /dev/kmsg && echo seen", "seen"),
    ({"namespace_options": {"pid": "CONTAINER"}}, "cat /proc/1/comm", "sleep"),
    ({"namespace_options": {"pid": "POD"}}, "cat /proc/1/comm", "pause"),
])  # fmt: skip
def test_security_context(cri, tmp_path, security, line, answer):
    """A privileged container, and namespaces, are asked for in the sandbox as well."""
    security = OWN_PROCESSES | security
    shared = {key: security[key] for key in ("privileged", "namespace_options") if key in security}
    pod = Pod(cri, tmp_path, shared)
    container = pod.start("c", "sleep", "1000", security=security)
    assert pod.exec(container, line) == f"{answer}\n"
    pod.remove()


def test_mounts_and_environment(pod, tmp_path):
    (tmp_path / "note").write_text("from outside\n")
    mounts = [{"container_path": "/mnt", "host_path": str(tmp_path), "readonly": True}]
    container = pod.start("c", "sleep", "1000", mounts=mounts, working_dir="/mnt",
                          envs=[{"key": "A", "value": "b"}])
    line = "cat note; echo $A; touch x 2>/dev/null || echo refused"
    assert pod.exec(container, line) == "from outside\nb\nrefused\n"


def test_a_sysctl_of_the_pod(cri, tmp_path):
    pod = Pod(cri, tmp_path, sysctls={"net.ipv4.ip_unprivileged_port_start": "80"})
    container = pod.start("c", "sleep", "1000")
    assert pod.exec(container, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "80\n"
    pod.remove()
