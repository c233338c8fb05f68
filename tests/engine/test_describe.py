"""inspect: documents with Docker's field names, of records and stores made here. No container."""

import doctest
import json
import os

import pytest

from minirun import document
from minirun.engine import inspecting
from minirun.engine.describe import container, describe, hostconfig, moments, networking
from minirun.engine.paths import Paths
from minirun.engine.state import State
from minirun.engine.template import Template
from minirun.errors import NotFound
from tests.image.test_store import an_image

ID = "4f" * 32
PORT = {"hostIp": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
LEASE = {
    "container": ID, "index": 0, "name": "front", "network": "ab" * 32, "address": "172.18.0.2",
    "prefix": 16, "gateway": "172.18.0.1", "mac": "02:42:ac:12:00:02", "names": ["web"],
    "address6": None, "prefix6": None, "gateway6": None,
}  # fmt: skip
RECORD = {
    "id": ID, "name": "web", "created": 1700000000, "image": "tiny",
    "imageId": "sha256:" + "0" * 64, "command": ["sh", "-c", "sleep 1"],
    "runtime": "minirun-oci", "autoRemove": True,
    "labels": {"team": "os", "app": "shop"}, "networkMode": "front",
    "networks": {"front": {"aliases": ["www"], "ip": "", "ip6": "", "mac": ""}},
    "ports": [PORT | {"lastPort": 8080}], "exposed": ["80/tcp", "81/tcp"],
    "mounts": [{"type": "volume", "name": "data", "source": "", "destination": "/data", "mode": "z",
                "rw": True, "propagation": ""},
               {"type": "bind", "source": "/srv", "destination": "/www", "mode": "ro", "rw": False,
                "propagation": "rprivate"}],
    "options": {"memory": "64m", "cpus": "0.5", "restart": "on-failure:3", "env": ["A=1"],
                "cap_add": ["NET_ADMIN"], "pids_limit": "100", "ulimit": ["nofile=1024:2048"],
                "log_opt": ["max-size=1m"], "interactive": True, "detach": True, "workdir": "/tmp",
                "network": ["front"],
                "volume": ["data:/data:z", "/srv:/www:ro"], "device": ["/dev/fuse"]},
}  # fmt: skip
STATE = {"status": "running", "pid": 42, "started": 1700000001.5, "ports": [PORT],
         "networks": {"front": LEASE}, "restarts": 2,
         "health": {"status": "healthy", "failingStreak": 0,
                    "log": [{"start": 1700000002, "end": 1700000003, "exitCode": 0,
                             "output": "fine"}]}}  # fmt: skip
SPEC = {"process": {"env": ["PATH=/bin", "A=1"], "terminal": False},
        "linux": {"maskedPaths": ["/proc/kcore"]}}  # fmt: skip


@pytest.fixture
def state(tmp_path):
    """A store with one container, web, that seems to run."""
    found = State(Paths(str(tmp_path)))
    found.paths.make()
    directory = tmp_path / "lib/containers" / ID
    directory.mkdir()
    (tmp_path / "run/live" / ID).touch()
    (tmp_path / "lib/names/web").symlink_to(ID)
    (tmp_path / "lib/seeded").touch()
    for name, content in (("container", RECORD), ("state", STATE), ("spec", SPEC)):
        (directory / f"{name}.json").write_text(document.pretty(content))
    return found


def shown(state, template, name="web", **options):
    return Template(template).render(describe(state, name, **options))


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(moments).failed == 0


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.Id}} {{.Name}} {{.Created}}", f"{ID} /web 2023-11-14T22:13:20.000000Z"),
        ("{{.Path}} {{.Args}}", "sh [-c sleep 1]"),
        ("{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.Pid}}",
         "running true false 42"),
        ("{{.State.StartedAt}} {{.State.FinishedAt}}",
         "2023-11-14T22:13:21.500000Z 0001-01-01T00:00:00Z"),
        ("{{.State.Health.Status}} {{(index .State.Health.Log 0).Output}}", "healthy fine"),
        ("{{.RestartCount}}", "2"),
        ("{{.NetworkSettings.Networks.front.IPAddress}}", "172.18.0.2"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}} "
         "{{.MacAddress}} {{.Aliases}}{{end}}", "172.18.0.2/16 172.18.0.1 02:42:ac:12:00:02 [www]"),
        ("{{.NetworkSettings.IPAddress}}", ""),  # Docker: only on the default network
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080}] 81/tcp:<nil>]"),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range $p, $c := .HostConfig.PortBindings}}{{$p}} {{(index $c 0).HostPort}}{{end}}",
         "80/tcp 8080"),
        ("{{range .Mounts}}{{.Type}}:{{.Source}}:{{.Destination}}:{{.RW}} {{end}}",
         "volume:LIB/volumes/data/_data:/data:true bind:/srv:/www:false "),
        ("{{(index .Mounts 0).Name}} {{(index .Mounts 0).Driver}}", "data local"),
        ("{{.Config.Env}} {{.Config.Cmd}} {{.Config.Entrypoint}}",
         "[PATH=/bin A=1] [sh -c sleep 1] []"),
        ("{{.Config.Image}} {{.Config.WorkingDir}} {{.Config.Hostname}}", "tiny /tmp " + ID[:12]),
        ("{{.Config.Tty}} {{.Config.OpenStdin}} {{.Config.AttachStdout}}", "false true false"),
        ("{{json .Config.Labels}}", '{"app":"shop","team":"os"}'),
        ('{{index .Config.Labels "team"}} {{.Config.ExposedPorts}}', "os map[80/tcp:{} 81/tcp:{}]"),
        ("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}",
         "67108864 500000000 100"),
        ("{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}",
         "on-failure:3"),
        ("{{.HostConfig.NetworkMode}} {{.HostConfig.Binds}} {{.HostConfig.CapAdd}}",
         "front [data:/data:z /srv:/www:ro] [CAP_NET_ADMIN]"),
        ("{{.HostConfig.Ulimits}} {{.HostConfig.LogConfig}}",
         "[{nofile 2048 1024}] {json-file map[max-size:1m]}"),
        ("{{.HostConfig.Privileged}} {{.HostConfig.AutoRemove}} {{.HostConfig.ShmSize}} "
         "{{.HostConfig.IpcMode}}", "false true 67108864 private"),
        ("{{.HostConfig.Devices}} {{.HostConfig.MaskedPaths}}",
         "[{/dev/fuse /dev/fuse rwm}] [/proc/kcore]"),
        ("{{.GraphDriver.Data.MergedDir}}", f"LIB/containers/{ID}/rootfs"),
        ("{{.LogPath}} {{.HostsPath}}", f"LIB/containers/{ID}/log LIB/containers/{ID}/hosts"),
    ],
)  # fmt: skip
def test_what_templates_ask_of_containers(state, template, expected):
    assert shown(state, template) == expected.replace("LIB", state.paths.lib)


def test_a_container_that_has_ended_has_no_addresses(state):
    found = state.containers.find("web")
    found.state.update(status="exited", exitCode=3, finished=1700000005)
    shown = container.container(state, found)
    assert shown["State"]["ExitCode"] == 3
    assert shown["NetworkSettings"]["Networks"]["front"]["IPAddress"] == ""
    assert shown["NetworkSettings"]["Ports"] == {}
    assert shown["HostConfig"]["PortBindings"]["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "8080"}
    ]


def test_the_default_network_is_told_of_where_docker_does_too(state):
    found = state.containers.find("web")
    found.record["networks"] = {"bridge": {}}
    found.state["networks"] = {"bridge": LEASE}
    assert networking.settings(found)["IPAddress"] == "172.18.0.2"


def test_a_record_with_almost_nothing(state):
    found = state.containers.find("web")
    found.record = {"id": ID}
    found.state = {"status": "damaged"}
    shown = container.container(state, found)
    assert shown["State"]["Status"] == "damaged"
    assert json.loads(json.dumps(shown))["NetworkSettings"]["Networks"]["none"]["IPAddress"] == ""
    assert hostconfig.host_config(found, {})["RestartPolicy"]["Name"] == "no"


def test_images(state):
    labels = {"b": "2", "a": "1"}
    image = an_image(state.store, "docker.io/library/a:1", config={"Labels": labels})
    assert shown(state, "{{.RepoTags}} {{.Config.Labels}} {{.Id}}", "a:1") == (
        f"[a:1] map[a:1 b:2] {image.id}"
    )
    assert shown(state, "{{.Config.Entrypoint}} {{.Config.Healthcheck}}", "a:1") == "[] <nil>"
    assert shown(state, "{{.Config.Labels.nope}}", "a:1") == "<no value>"


def test_entrypoint_and_command_of_a_container(state):
    """What runs is one list; Docker keeps the two that it was made of."""
    config = {"Entrypoint": ["sh", "-c"], "Labels": None}
    found = state.containers.find("web")
    found.record["imageId"] = an_image(state.store, "docker.io/library/a:1", config=config).id
    assert container.parts(found, container.image_config(state, found)) == (
        ["sh", "-c"], ["sleep 1"]
    )  # fmt: skip
    found.record["options"] = {"entrypoint": "sh"}
    assert container.parts(found, container.image_config(state, found)) == (
        ["sh"], ["-c", "sleep 1"]
    )  # fmt: skip
    found.record["options"] = {"entrypoint": ""}
    assert container.config(state, found, SPEC)["Cmd"] == ["sh", "-c", "sleep 1"]


def test_kinds(state):
    assert describe(state, ID[:5])["Name"] == "/web"
    for kind in (None, "container", "image", "network", "volume"):
        with pytest.raises(NotFound):
            describe(state, "nope", kind)
    with pytest.raises(NotFound):
        describe(state, "web", "image")


def test_empty_fields_are_left_out_of_json_as_docker_does(state, capsys):
    def find(name):
        return describe(state, name)

    assert inspecting.inspect(["web", "nope"], find) == 125
    out, err = capsys.readouterr()
    [shown] = json.loads(out)
    assert err.startswith("error: no such object: nope\n")
    assert "SizeRw" not in shown and "Healthcheck" not in shown["Config"]
    assert shown["Config"]["Entrypoint"] is None
    assert list(shown["Config"]["Labels"]) == ["app", "team"]
    assert "SizeRw" in describe(state, "web")
    inspecting.inspect(["web"], find, "json")
    assert json.loads(capsys.readouterr().out) == [shown]
    inspecting.inspect(["nope"], find)
    assert capsys.readouterr().out == "[]\n"
    inspecting.inspect(["nope"], find, "{{.Id}}")
    assert capsys.readouterr().out == ""


def test_how_much_was_written(state):
    upper = f"{state.paths.containers}/{ID}/upper"
    os.makedirs(upper + "/deep")
    for path in (upper + "/a", upper + "/deep/b"):
        with open(path, "w") as file:
            file.write("x" * 1000)
    os.link(upper + "/a", upper + "/again")
    os.symlink("/etc", upper + "/link")
    assert describe(state, "web", sized=True)["SizeRw"] == 2000 + len("/etc")
