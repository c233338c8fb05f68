"""Containers as lines of ps: fields and filters, of records made here."""

import doctest
import time

import pytest

from minirun.engine import filters, listing
from minirun.engine.container import Container
from minirun.errors import NotFound, UsageError

NOW = time.time()
ID = "0123456789ab" + "c" * 52


@pytest.fixture(autouse=True)
def now(monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW)


def container(ident=ID, *, state=None, **record):
    record = {"name": "web", "image": "tiny", "created": NOW - 130, "command": ["sh"], **record}
    state = {"status": "running", "started": NOW - 65, **(state or {})}
    return Container(f"/nowhere/{ident}", record, state)


def field(name, found, **options):
    return listing.fields(None, **options)[name][1](found)


def port(inner, outer=0, address="", protocol="tcp"):
    return {"hostIp": address, "hostPort": outer, "containerPort": inner, "protocol": protocol}


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(listing).failed == 0


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["sh"], '"sh"'),
        (["sh", "-c", "echo hi"], "\"sh -c 'echo hi'\""),
        (["sleep", "1000000000000000"], '"sleep 1000000000000…"'),
        (['a"b\\', "\n\x1b"], '"a\\"b\\\\ \\n\\x1b"'),
        ([], '""'),
    ],
)
def test_commands_are_quoted_and_cut(command, text):
    assert field("Command", container(command=command)) == text


def test_nothing_is_cut_with_no_trunc():
    found = container(command=["x" * 30])
    assert field("Command", found, full=True) == '"' + "x" * 30 + '"'
    assert (field("ID", found), field("ID", found, full=True)) == (ID[:12], ID)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({}, "Up About a minute"),
        ({"status": "paused"}, "Up About a minute (Paused)"),
        ({"health": {"status": "starting"}}, "Up About a minute (health: starting)"),
        ({"health": {"status": "healthy"}}, "Up About a minute (healthy)"),
        ({"health": {"status": "unhealthy"}}, "Up About a minute (unhealthy)"),
        ({"status": "created"}, "Created"),
        ({"status": "exited", "exitCode": 137, "finished": NOW - 5.5},
         "Exited (137) 5 seconds ago"),
        ({"status": "restarting", "exitCode": 1, "finished": NOW - 1.5},
         "Restarting (1) 1 second ago"),
        ({"status": "damaged"}, "Damaged"),
    ],
)  # fmt: skip
def test_status(state, text):
    assert field("Status", container(state=state)) == text


@pytest.mark.parametrize(
    ("published", "exposed", "text"),
    [
        ([], [], ""),
        ([], ["80/tcp", "81/tcp", "53/udp"], "53/udp, 80-81/tcp"),
        ([port(80, 8080, "0.0.0.0")], ["80/tcp"], "0.0.0.0:8080->80/tcp"),
        ([port(80, 8080, "0.0.0.0"), port(80, 8080, "::")], [],
         "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([port(n, n, "127.0.0.1") for n in (80, 81, 82)], ["443/tcp"],
         "127.0.0.1:80-82->80-82/tcp, 443/tcp"),
        ([port(53, 53, "0.0.0.0", "udp"), port(53, 53, "0.0.0.0")], [],
         "0.0.0.0:53->53/tcp, 0.0.0.0:53->53/udp"),
    ],
)  # fmt: skip
def test_ports(published, exposed, text):
    found = container(state={"ports": published}, exposed=exposed)
    assert field("Ports", found) == text
    found.state["status"] = "exited"
    assert field("Ports", found) == ""


def test_mounts_labels_networks():
    volume = {"type": "volume", "name": "a" * 20, "source": "", "destination": "/data"}
    bind = {"type": "bind", "source": "/srv", "destination": "/www"}
    memory = {"type": "tmpfs", "source": "", "destination": "/tmp"}
    found = container(
        mounts=[volume, bind, memory], labels={"b": "2", "a": "1"}, networks={"x": {}, "y": {}}
    )
    assert field("Mounts", found) == "a" * 14 + "…,/srv"
    assert field("Mounts", found, full=True) == "a" * 20 + ",/srv"
    assert field("LocalVolumes", found) == "1"
    assert field("Labels", found) == "a=1,b=2"
    assert field("Networks", found) == "x,y"
    assert field("Networks", container(networks={}, networkMode="host")) == "host"
    assert field("Networks", container(networks={}, networkMode="container:1")) == ""
    assert listing.fields(None)["Label"][1](found, "b") == "2"


WEB = container(
    labels={"team": "os"},
    networks={"front": {}},
    exposed=["80/tcp", "53/udp"],
    diffIds=["base", "mine"],
    mounts=[{"type": "volume", "name": "data", "destination": "/data"}],
    state={"exitCode": 0, "ports": [port(80, 8080, "0.0.0.0")], "health": {"status": "healthy"}},
)
OLD = container("f" * 64, name="old-web", created=NOW - 9000, diffIds=["base"],
                state={"status": "exited", "exitCode": 3})  # fmt: skip


class Images:
    """A state with two images and the two containers."""

    containers = property(lambda self: self)

    def image(self, name):
        if name not in ("base", "mine"):
            raise NotFound(name)
        self.diff_ids = ["base"] if name == "base" else ["base", "mine"]
        return self

    def find(self, name):
        return {"web": WEB, "old-web": OLD}[name]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("name=web", "web old-web"),
        ("name=^web$", "web"),
        ("name=^/web$", "web"),
        ("id=0123", "web"),
        ("label=team", "web"),
        ("status=exited", "old-web"),
        ("status=exited status=running", "web old-web"),
        ("status=dead", ""),
        ("health=healthy", "web"),
        ("health=none", "old-web"),
        ("exited=3", "old-web"),
        ("exited=0", ""),
        ("ancestor=base", "web old-web"),
        ("ancestor=mine", "web"),
        ("ancestor=nope", ""),
        ("before=web", "old-web"),
        ("since=old-web", "web"),
        ("volume=data", "web"),
        ("volume=/data", "web"),
        ("network=front", "web"),
        ("network=none", "old-web"),
        ("publish=8080", "web"),
        ("publish=8000-8100/tcp", "web"),
        ("publish=80", ""),
        ("expose=80", "web"),
        ("expose=53/udp", "web"),
        ("expose=53", ""),
        ("is-task=false", "web old-web"),
    ],
)
def test_filters(words, names):
    keep = filters.keep(words.split(), listing.tests(Images()))
    assert " ".join(found.name for found in (WEB, OLD) if keep(found)) == names


@pytest.mark.parametrize("word", ["exited=x", "status=up", "publish=http", "health=well", "nope=1"])
def test_filters_that_are_refused(word):
    with pytest.raises(UsageError):
        filters.keep([word], listing.tests(Images()))
