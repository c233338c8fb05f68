"""Docker Swarm: a service on two nodes whose runtime is ours; scaled, updated, drained, removed.

Two dockerds in two networks of their own, with a cable between them. This needs no IPVS in the
kernel: ports are published in mode host, or not at all.
"""

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import images
from tests.components import private_network
from tests.daemons import dockerd, other_runtimes
from tests.images import run
from tests.waiting import wait_for

EXAMPLE = Path(__file__).parent / "examples/clusters"
ADDRESSES = ("10.77.0.1", "10.77.0.2")


@pytest.fixture(scope="module")
def nodes(oci_runtime, tmp_path_factory, tidy_module):
    """Two engines, the first a manager and the second a worker; no container is left at the end."""
    with ExitStack() as stack:
        stack.enter_context(other_runtimes())
        networks = [stack.enter_context(private_network()) for _ in ADDRESSES]
        connect(networks)
        engines, directories = [], []
        for number, enter in enumerate(networks):
            directories.append(tmp_path_factory.mktemp(f"node{number}"))
            options = ("--add-runtime", f"minirun={oci_runtime}", "--default-runtime", "minirun")
            in_a_host = [*enter, "unshare", "--uts", "sh", "-c",
                         f'hostname node{number}; exec "$@"', "sh"]
            engine = stack.enter_context(
                dockerd(directories[-1], within=in_a_host, options=options))
            engine.load(images.layout("busybox"), "busybox")
            engines.append(engine)
        form_swarm(*engines)
        yield engines
        for engine in reversed(engines):
            engine("swarm", "leave", "--force")
        for engine, directory in zip(engines, directories, strict=True):
            wait_for(lambda engine=engine: engine("ps", "--all", "--quiet") == "")
            assert os.listdir(directory / "exec/runtime-runc/moby") == []


def connect(networks):
    """A pair of virtual interfaces, one end in each network: veth(4)."""
    first, second = (Path(f"/proc/{enter[2]}/ns/net") for enter in networks)
    run("nsenter", f"--net={first}", "ip", "link", "add", "cable", "type", "veth",
        "peer", "name", "cable", "netns", networks[1][2])
    for path, address in zip((first, second), ADDRESSES, strict=True):
        for words in (f"address add {address}/24 dev cable", "link set cable up"):
            run("nsenter", f"--net={path}", "ip", *words.split())


def form_swarm(manager, worker):
    first, second = ADDRESSES
    manager("swarm", "init", "--advertise-addr", first)
    token = manager("swarm", "join-token", "--quiet", "worker").strip()
    worker("swarm", "join", "--advertise-addr", second, "--token", token, f"{first}:2377")


def running(engine, service="web"):
    """The containers of a service that run on this node."""
    return engine("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={service}",
                  "--filter", "status=running").split()


def inspect(engine, template, *containers):
    return set(engine("inspect", "--format", template, *containers).split())


def test_a_service_is_scaled_updated_drained_and_removed(nodes):
    manager, _ = nodes

    def count():
        return [len(running(node)) for node in nodes]

    manager("secret", "create", "password", "-", input="s3cret")
    manager("config", "create", "motd", "-", input="welcome\n")
    manager("service", "create", "--detach", "--name", "web", "--replicas", "2", "--init",
            "--secret", "password", "--config", "source=motd,target=/etc/motd,mode=0400",
            "--env", "VERSION=1", "--limit-memory", "32m", "--limit-cpu", "0.5",
            "--mount", "type=tmpfs,destination=/scratch", "--hostname", "{{.Task.Slot}}-web",
            "--stop-grace-period", "2s",
            "busybox", "sleep", "1000")
    wait_for(lambda: count() == [1, 1])

    manager("service", "scale", "--detach", "web=20")
    wait_for(lambda: sum(count()) == 20)
    assert min(count()) >= 8
    mine = running(manager)
    assert inspect(manager, "{{.HostConfig.Runtime}}", *mine) == {"minirun"}
    look = "cat /run/secrets/password /etc/motd; " \
           "cd /sys/fs/cgroup; cat memory.max || cat memory/memory.limit_in_bytes; " \
           "stat -c %a /etc/motd; hostname; stat -f -c %T /scratch /run/secrets/password"
    said = manager("exec", mine[0], "sh", "-c", look).split()
    assert said[:4] == ["s3cretwelcome", "33554432", "400", said[3]]
    assert said[3].endswith("-web")
    assert said[4:] == ["tmpfs", "tmpfs"]

    manager("service", "update", "--detach", "--env-add", "VERSION=2", "--update-delay", "0s",
            "--update-parallelism", "10", "--update-monitor", "100ms", "web")
    wait_for(lambda: state(manager) == "completed")
    for node in nodes:
        environment = inspect(node, "{{range .Config.Env}}{{println .}}{{end}}", *running(node))
        assert "VERSION=2" in environment
        assert "VERSION=1" not in environment

    manager("node", "update", "--availability", "drain", "node1")
    wait_for(lambda: count() == [20, 0])
    manager("node", "update", "--availability", "active", "node1")

    manager("service", "rm", "web")
    wait_for(lambda: all(node("ps", "--all", "--quiet") == "" for node in nodes))
    manager("secret", "rm", "password")
    manager("config", "rm", "motd")


def state(manager):
    return manager("service", "inspect", "--format",
                   "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}", "web").strip()


def test_a_task_that_dies_is_replaced(nodes):
    manager, _ = nodes
    manager("service", "create", "--detach", "--name", "phoenix", "--restart-delay", "0s",
            "--constraint", "node.hostname==node0", "busybox", "sleep", "1000")
    first = wait_for(lambda: running(manager, "phoenix"))
    manager("kill", *first)
    assert wait_for(lambda: running(manager, "phoenix")) != first
    manager("service", "rm", "phoenix")


def test_a_port_of_the_host(nodes):
    manager, _ = nodes
    manager("service", "create", "--detach", "--name", "http", "--stop-signal", "KILL",
            "--publish", "mode=host,target=80,published=8080", "--mode", "global", "busybox",
            "sh", "-c", "hostname > /tmp/x; exec httpd -f -h /tmp")
    for node, address in zip(nodes, ADDRESSES, strict=True):
        fetch = [*manager.within[:6], "busybox", "wget", "-qO-", f"http://{address}:8080/x"]
        done = wait_for(lambda fetch=fetch: (
            got := subprocess.run(fetch, check=False, capture_output=True, text=True)
        ).returncode == 0 and got)
        assert done.stdout.strip() == running(node, "http")[0][:12]
    manager("service", "rm", "http")


def test_the_stack_of_the_example(nodes):
    """The same image, command, port and limit as examples/clusters/web.yaml has for Kubernetes."""
    manager, _ = nodes
    manager("stack", "deploy", "--compose-file", EXAMPLE / "stack.yml", "site")
    for node, address in zip(nodes, ADDRESSES, strict=True):
        fetch = [*manager.within[:6], "busybox", "wget", "-qO-", f"http://{address}:8080/passwd"]
        wait_for(lambda fetch=fetch: subprocess.run(
            fetch, check=False, capture_output=True).returncode == 0)
        assert inspect(node, "{{.HostConfig.Runtime}} {{.HostConfig.Memory}}",
                       *running(node, "site_web")) == {"minirun", str(32 << 20)}
    manager("stack", "rm", "site")
    wait_for(lambda: all(node("ps", "--all", "--quiet") == "" for node in nodes))


def test_an_overlay_network_across_the_nodes(nodes):
    manager, _ = nodes
    manager("network", "create", "--driver", "overlay", "far")
    manager("service", "create", "--detach", "--name", "pair", "--network", "far", "--replicas",
            "2", "--endpoint-mode", "dnsrr", "--stop-signal", "KILL", "--placement-pref",
            "spread=node.id", "busybox", "sleep", "1000")
    here = wait_for(lambda: running(manager, "pair"))[0]
    wait_for(lambda: running(nodes[1], "pair"))

    def known():
        found = manager.attempt("exec", here, "nslookup", "-type=a", "pair.")
        return [line for line in found.stdout.splitlines() if "Address: 10." in line]

    wait_for(lambda: len(known()) == 2)
    for line in known():
        manager("exec", here, "ping", "-c", "1", "-W", "5", line.split()[-1])
    manager("service", "rm", "pair")
    wait_for(lambda: manager.attempt("network", "rm", "far").returncode == 0)
