"""The example of tests/system/examples/guestbook: two containers, and the same programs in one.

What its README says of the differences is what is tested here. MINIRUN_EXAMPLE_ENGINE=docker runs
it on another engine, to see that the example is right.
"""

import os
import shutil
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests import images
from tests.components import free_port, registry, require
from tests.images import run
from tests.waiting import wait_for

EXAMPLE = Path(__file__).parent / "examples/guestbook"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A registry with the image in it; its name."""
    require("mmdebstrap", "skopeo", "docker-registry")
    with registry(tmp_path_factory.mktemp("registry")) as server:
        server.push(images.layout("services"), "lab/services:latest")
        yield f"{server.host}/lab/services"


class Site:
    """One of the two: its script, run with our engine, and its web page."""

    def __init__(self, minirun, script: str, image: str) -> None:
        self.minirun, self.port = minirun, free_port()
        minirun.ok("pull", "-q", "--tls-verify=false", image)
        engine = minirun.home / "minirun"
        engine.symlink_to(shutil.which("minirun") or "")
        run(EXAMPLE / script, image, self.port, env=minirun.env | {"ENGINE": str(engine)})
        wait_for(lambda: self.get("/health") == (200, "ok\n"))

    def get(self, path: str = "/", note: str | None = None) -> tuple[int, str]:
        data = None if note is None else note.encode()
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, data, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def note(self, text: str) -> None:
        wait_for(lambda: self.get("/", text)[0] == 200)

    def crash(self, name: str) -> None:
        """From outside: no signal of its own namespace kills a process 1. pid_namespaces(7)"""
        before = self.state(name, "{{.State.Pid}}")
        os.kill(int(before), signal.SIGKILL)
        wait_for(lambda: self.state(name, "{{.State.Pid}}") not in (before, "0"))

    def state(self, name: str, template: str) -> str:
        return self.minirun.ok("inspect", "--format", template, name).strip()


def test_two_containers(minirun, image, residue):
    site = Site(minirun, "microservices.sh", image)
    try:
        site.note("hello")
        wait_for(lambda: site.state("db", "{{.State.Health.Status}}") == "healthy")

        web = site.state("web", "{{.State.Pid}}")
        site.crash("db")
        wait_for(lambda: site.get() == (200, "hello\n"))  # again, and with the notes
        assert site.state("db", "{{.RestartCount}}") == "1"
        assert site.state("web", "{{.State.Pid}}") == web  # never heard of it

        site.crash("web")
        wait_for(lambda: site.get() == (200, "hello\n"))
        assert site.state("db", "{{.RestartCount}}") == "1"

        other = minirun.ok("run", "-d", "--network", "guestbook", "-e", "REDIS=db",
                           "-v", f"{EXAMPLE}/app.py:/srv/app.py:ro", "-p", "127.0.0.1::80",
                           image, "python3", "/srv/app.py").strip()
        port = minirun.ok("port", other, "80").strip().rpartition(":")[2]
        site.port = int(port)
        wait_for(lambda: site.get() == (200, "hello\n"))  # a second web server, the same notes
        minirun.ok("rm", "-f", other)
    finally:
        minirun("rm", "-f", "web", "db")
        minirun("network", "rm", "guestbook")
        minirun("volume", "rm", "notes")


def test_one_container(minirun, image, residue):
    site = Site(minirun, "monolith.sh", image)
    try:
        site.note("hello")
        minirun.ok("exec", "monolith", "pkill", "-KILL", "redis-server")
        assert wait_for(lambda: site.get()[0] == 503)
        assert site.state("monolith", "{{.State.Status}} {{.RestartCount}}") == "running 0"

        site.crash("monolith")
        wait_for(lambda: site.get() == (200, "hello\n"))  # both programs are new, the notes are not
        assert site.state("monolith", "{{.RestartCount}}") == "1"
    finally:
        minirun("rm", "-f", "monolith")
        minirun("volume", "rm", "monolith-notes")
