"""The same scenario with docker, podman and minirun: what the three print about it.

Docker is the measure: a script for ``docker`` has to find the same words here. Podman is asked too;
where it has words of its own, PODMAN says so.
"""

import json
import re
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from tests import images
from tests.components import private_network
from tests.conftest import Minirun
from tests.daemons import Engine, dockerd, other_runtimes
from tests.daemons import podman as podman_in

IMAGE = "busybox:test"
WEB = (
    "--name", "web", "--label", "team=os", "--label", "app=shop", "-e", "A=1", "-w", "/tmp",
    "-m", "64m", "--cpus", "0.5", "--pids-limit", "100", "--cap-add", "NET_ADMIN", "-u", "65534",
    "--restart", "on-failure:3", "-v", "data:/data", "-i",
    "-v", "/usr/share:/share:ro", "-h", "www", "--stop-signal", "INT", "--read-only",
    "-p", "127.0.0.1:18080:80", "-p", "18081:81/udp", "--expose", "443",
)  # fmt: skip


def scenario(engine):
    """Containers in different states."""
    engine("run", "-d", *WEB, IMAGE, "sleep", "1000")
    assert engine.attempt("run", "--name", "done", IMAGE, "sh", "-c", "exit 3").returncode == 3
    engine("create", "--name", "fresh", "--entrypoint", "echo", IMAGE, "a b", "c")
    engine("run", "-d", "--name", "frozen", "--network", "none", IMAGE, "sleep", "1000")
    engine("pause", "frozen")
    engine("volume", "create", "--label", "b=2", "--label", "a=1", "extra")
    engine("network", "create", "--subnet", "10.98.0.0/24", "--gateway", "10.98.0.7", "--internal",
           "--label", "a=1", "front")  # fmt: skip


@pytest.fixture(scope="module")
def engines(tmp_path_factory, plain, tidy_module):
    """docker, podman and minirun, each with the scenario's containers."""
    directory = tmp_path_factory.mktemp("same")
    ours = Minirun(directory / "minirun")
    minirun = Engine(["env", *(f"{k}={v}" for k, v in ours.env.items()), *ours.command()], "")
    with ExitStack() as stack:
        stack.enter_context(other_runtimes())
        docker = stack.enter_context(
            dockerd(directory / "docker", within=stack.enter_context(private_network()))
        )
        podman = stack.enter_context(
            podman_in(directory / "podman", within=stack.enter_context(private_network()))
        )
        for engine in (docker, podman):
            engine.load(images.layout("busybox"), IMAGE)
        minirun("pull", "--quiet", f"{plain.host}/public/busybox:latest")
        minirun("tag", f"{plain.host}/public/busybox:latest", IMAGE)
        minirun("rmi", f"{plain.host}/public/busybox:latest", "tiny")
        found = {"docker": docker, "podman": podman, "minirun": minirun}
        for engine in found.values():
            stack.callback(engine.attempt, "network", "rm", "front")
            stack.callback(engine.attempt, "volume", "rm", "extra", "data")
            stack.callback(engine.attempt, "rm", "-f", "-v", "web", "done", "fresh", "frozen")
            stack.callback(engine.attempt, "unpause", "frozen")
            scenario(engine)
        yield SimpleNamespace(**found)


def asked(engines, *words):
    """What docker, podman and minirun say; where one refuses, its error."""
    answers = {}
    for name, engine in vars(engines).items():
        done = engine.attempt(*words)
        answers[name] = done.stdout if done.returncode == 0 else f"error: {done.stderr}"
    return answers


# --- inspect --------------------------------------------------------------------------------

EVERY = [  # of each container
    "{{.Name}} {{.Path}} {{.Args}}",
    "{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.Restarting}}",
    "{{.State.ExitCode}} {{.State.OOMKilled}} {{.State.Dead}} '{{.State.Error}}'",
    "{{.RestartCount}} {{.Platform}} {{len .Id}} {{.Config.Image}} {{.Image}}",
    "{{.Config.Cmd}} {{json .Config.Cmd}} {{.Config.Entrypoint}} {{json .Config.Entrypoint}}",
    "{{.Config.User}} {{.Config.WorkingDir}} {{.Config.Tty}} {{.Config.OpenStdin}}",
    "{{json .Config.Labels}} {{.Config.Labels}}",
    '{{.Config.Labels.nope}} {{index .Config.Labels "nope"}}',
    "{{.Config.Domainname}} {{.Config.Volumes}} {{.Config.StopSignal}}",
    "{{.Config.AttachStdin}} {{.Config.AttachStdout}} {{.Config.AttachStderr}}",
    "{{.Config.ExposedPorts}} {{json .HostConfig.PortBindings}}",
    "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}",
    "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}",
    "{{.HostConfig.RestartPolicy}} {{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}}",
    "{{.HostConfig.AutoRemove}} {{.HostConfig.PublishAllPorts}} {{.HostConfig.NetworkMode}}",
    "{{json .HostConfig.CapAdd}} {{json .HostConfig.CapDrop}} {{.HostConfig.Ulimits}}",
    "{{.HostConfig.IpcMode}} {{.HostConfig.PidMode}} {{.HostConfig.UTSMode}}",
    "{{.HostConfig.ShmSize}} {{.HostConfig.LogConfig.Config}} {{.HostConfig.PidsLimit}}",
    "{{range $name, $n := .NetworkSettings.Networks}}{{$name}} {{$n.IPPrefixLen}};{{end}}",
    "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.State.Health}}",
    "{{if eq .State.Pid 0}}no process{{else}}a process{{end}}",
    '{{slice .Id 0 3 | len}} {{.Created | printf "%.2s"}} {{title .State.Status}}',
    "{{json .HostConfig.Dns}} {{json .ExecIDs}}",
]
IN_ANY_ORDER = [  # Docker's lists are in the order of its maps, or in that of a merge
    "{{range .Config.Env}}{{println .}}{{end}}",
    "{{range .HostConfig.Binds}}{{println .}}{{end}}",
    "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}} {{.Propagation}}\n{{end}}",
]
PORTS = "{{json .NetworkSettings.Ports}}"
NAMES = ["web", "done", "fresh", "frozen"]


@pytest.mark.parametrize("template", EVERY)
def test_inspect(engines, template):
    answers = asked(engines, "inspect", "--format", template, *NAMES)
    assert answers["minirun"] == answers["docker"], answers["podman"]


@pytest.mark.parametrize("template", IN_ANY_ORDER)
@pytest.mark.parametrize("name", NAMES)
def test_lists_of_inspect(engines, name, template):
    answers = asked(engines, "inspect", "--format", template, name)
    assert sorted(answers["minirun"].split("\n")) == sorted(answers["docker"].split("\n"))


def test_ports_of_inspect(engines):
    """Docker publishes on [::], too, whether or not the container has an address of IPv6."""
    answers = asked(engines, "inspect", "--format", PORTS, "web")
    docker = json.loads(answers["docker"])
    docker["81/udp"] = [place for place in docker["81/udp"] if place["HostIp"] != "::"]
    assert json.loads(answers["minirun"]) == docker


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "nope"),
        ("inspect", "--format", "{{.Nope}}", "web"),
        ("inspect", "--format", "{{.State.Health.Status}}", "web"),
        ("inspect", "--format", "{{.Id", "web"),
        ("inspect", "--format", "{{nope}}", "web"),
        ("inspect", "--type", "image", "web"),
        ("ps", "--format", "{{.Nope}}"),
        ("ps", "--filter", "nope=1"),
        ("images", "--filter", "nope=1"),
    ],
)
def test_what_docker_refuses_is_refused(engines, words):
    """The words are ours: an error that says which field there is instead."""
    done = engines.minirun.attempt(*words)
    assert engines.docker.attempt(*words).returncode in {1, 64}
    assert done.returncode == 125
    assert done.stderr.startswith("error: ")


def keys(document, path=""):
    """The names of all fields, those in maps not: they are the user's."""
    found = set()
    for name, value in document.items():
        found.add(path + name)
        if isinstance(value, dict) and name not in {"Labels", "Ports", "Networks", "PortBindings"}:
            found |= keys(value, f"{path}{name}.")
    return found


LEFT_OUT = {  # what Docker's documents have and ours have not
    *(f"HostConfig.{name}" for name in ("CpuCount", "CpuPercent", "IOMaximumBandwidth",
                                        "IOMaximumIOps", "Isolation")),  # only Windows has them
    *(f"NetworkSettings.{name}" for name in (  # the Networks have them
        "HairpinMode", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen", "SecondaryIPAddresses",
        "SecondaryIPv6Addresses")),
    "HostConfig.KernelMemory", "HostConfig.KernelMemoryTCP",  # the kernel has them no more
}  # fmt: skip


def test_fields_of_inspect(engines):
    shown = {name: json.loads(text)[0] for name, text in asked(engines, "inspect", "web").items()}
    assert keys(shown["docker"]) - keys(shown["minirun"]) == LEFT_OUT
    assert "Health" not in shown["minirun"]["State"]


# --- lists ----------------------------------------------------------------------------------

HEX = re.compile(r"[0-9a-f]{12,64}")
AGES = re.compile(r"Less than a second|About a minute|\d+ (?:second|minute)s?")


def masked(text):
    """Without what differs from run to run."""
    text = AGES.sub("AGE", HEX.sub("ID", text)).replace(", [::]:18081->81/udp", "")
    return sorted(re.sub(r" {2,}", "  ", line).strip() for line in text.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ("ps",),
        ("ps", "-a"),
        ("ps", "-aq"),
        ("ps", "-aq", "--no-trunc"),
        ("ps", "--no-trunc"),
        ("ps", "-a", "--format", "{{.Names}}: {{.State}} {{.Image}} {{.Command}} {{.Ports}}"),
        ("ps", "-a", "--format", r'table {{.Names}}\t{{.Status}}\t{{.Label "team"}}'),
        ("ps", "-a", "--format", r"{{.Names}}\t{{.Networks}}\t{{.LocalVolumes}}\t{{.RunningFor}}"),
        ("ps", "--format", "{{.Labels}}"),
        ("ps", "-a", "--format", "{{upper .Names}} {{if eq .State \"exited\"}}ended{{end}}"),
        ("ps", "-q", "--format", "{{.Names}}"),
        ("ps", "-q", "--format", "json"),
        ("ps", "-q", "--format", "table {{.Names}}"),
        ("images", "-q", "--format", "{{.Tag}}"),
        ("ps", "-q", "-f", "status=exited"),
        *(("ps", "-a", "--format", "{{.Names}}", "-f", text) for text in (
            "status=exited", "status=created", "status=paused", "status=running", "name=e",
            "name=^/web$", "name=^web$", "label=team", "label=team=os", "label=team=x", "exited=3",
            "exited=0", "ancestor=busybox:test", "before=done", "since=done", "volume=data",
            "volume=/share", "network=bridge", "network=none", "publish=18080", "expose=443",
            "publish=18000-18100/udp", "health=none", "is-task=true")),
        ("ps", "-l", "--format", "{{.Names}}"),
        ("ps", "-n", "2", "--format", "{{.Names}}"),
        ("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"),
        ("images", "-q"),
        ("images", "--format", "{{.Tag}}", "-f", "reference=busybox"),
        ("images", "--format", "{{.Tag}}", "-f", "reference=busy*:te*"),
        ("images", "--format", "{{.Tag}}", "-f", "dangling=true"),
        ("images", "--format", "{{.Tag}}", "busybox"),
        ("images", "--format", "{{.Tag}}", "nope"),
        ("history", "--format", "{{.CreatedSince}} {{.Comment}}", "busybox:test"),
        ("volume", "ls"),
        ("volume", "ls", "-q"),
        ("volume", "ls", "--format", "{{.Name}} {{.Driver}} {{.Labels}}", "-f", "dangling=true"),
        ("volume", "ls", "--format", "{{json .Labels}} {{.Size}} {{.Links}}", "-f", "name=data"),
        ("volume", "inspect", "--format", "{{.Name}} {{.Labels}} {{.Scope}} {{.Options}}", "extra"),
        ("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.Labels}}"),
        ("network", "ls", "-f", "name=fro"),
        ("network", "ls", "-q", "-f", "driver=bridge"),
        ("network", "inspect", "--format", "{{.Name}} {{.Driver}} {{.Internal}} {{.IPAM}} "
         "{{.Labels}} {{.Containers}} {{.EnableIPv6}} {{.Scope}}", "front"),
        ("inspect", "--format", "{{.Name}}", "front", "extra"),
        ("container", "ls", "-q"),
        ("image", "inspect", "--format", "{{.RepoTags}} {{.Id}} {{.Architecture}} {{.Os}} "
         "{{.RootFS.Type}} {{.RootFS.Layers}} {{.Author}}", "busybox:test"),
        ("image", "inspect", "--format", "{{.Config.Env}} {{.Config.Cmd}} {{.Config.Labels}} "
         "{{.Config.Entrypoint}} {{.Config.ExposedPorts}}", "busybox:test"),
        ("info", "--format", "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} "
         "{{.ContainersStopped}} {{.Images}} {{.OSType}} {{.NCPU}} {{.MemTotal}} "
         "{{.Swarm.LocalNodeState}}"),
        ("version", "--format", "{{.Server.Os}}/{{.Client.Arch}}"),
    ],
)  # fmt: skip
def test_lists(engines, words):
    answers = asked(engines, *words)
    assert masked(answers["minirun"]) == masked(answers["docker"]), answers["podman"]


def test_json_of_lists(engines):
    """Docker's fields, but for those of which we know nothing."""
    for words, lacking in ((("ps", "-a"), {"Platform"}), (("images",), UNKNOWN)):
        answers = asked(engines, *words, "--format", "json")
        docker, ours = (
            [json.loads(line) for line in answers[name].splitlines()]
            for name in ("docker", "minirun")
        )
        assert docker[0].keys() - ours[0].keys() == lacking
        assert len(docker) <= len(ours)


UNKNOWN = {"Containers", "SharedSize", "UniqueSize", "VirtualSize"}
