"""ps, images, inspect, history, info and version on a store of their own, with real containers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from minirun.image.store import Store
from tests.image.test_store import an_image
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
SLEEP = ("--network", "none", "tiny", "sleep", "1000")


@pytest.fixture
def web(minirun):
    """A container that runs, and one that has ended."""
    ident = minirun.ok("run", "-d", "--name", "web", "-l", "team=os", *SLEEP).strip()
    minirun("run", "--name", "done", "--network", "none", "tiny", "sh", "-c", "exit 3")
    yield ident
    minirun("rm", "-f", "web", "done")


def test_ps_starts_without_what_it_does_not_need(tmp_path):
    """It is asked for all the time, by people and by scripts: bare Python, and little more."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from minirun.engine import cli; "
        f"cli.dispatch(['ps']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-SI", "-c", script], capture_output=True, text=True,
                          check=True, env={"MINIRUN_ROOT": str(tmp_path)})  # fmt: skip
    header, modules = done.stdout.splitlines()
    assert header.startswith("CONTAINER ID   IMAGE ")
    assert not {"click", "json", "re", "requests", "subprocess"} & set(modules.split())


def test_ps(minirun, web):
    assert minirun.ok("ps", "-q") == web[:12] + "\n"
    assert minirun.ok("ps", "-q", "--no-trunc") == web + "\n"
    header, line = minirun.ok("ps").splitlines()
    assert header.split("  ")[0] == "CONTAINER ID"
    assert line.startswith(f'{web[:12]}   tiny      "sleep 1000"   ') and line.endswith("   web")
    lines = minirun.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
    assert lines == ["done exited", "web running"]
    assert minirun.ok("ps", "-l", "--format", "{{.Names}}") == "done\n"
    assert minirun.ok("ps", "-f", "status=exited", "--format", "{{.Names}}") == "done\n"
    assert minirun.ok("ps", "-aq", "-f", "ancestor=tiny").count("\n") == 2
    minirun.ok("pause", "web")
    assert "(Paused)" in minirun.ok("ps", "--format", "{{.Status}}")


def test_ps_counts_what_was_written(minirun, web):
    minirun.ok("exec", "web", "sh", "-c", "head -c 100000 /dev/zero > /file")
    size = minirun.ok("ps", "--format", "{{.Size}}")
    assert size.startswith("100kB (virtual 1.")
    assert minirun.ok("ps", "-s").splitlines()[1].endswith(size.strip())
    assert json.loads(minirun.ok("ps", "--format", "json"))["Size"] == "N/A"
    assert minirun.ok("inspect", "-s", "-f", "{{.SizeRw}}", "web") == "100000\n"


@pytest.mark.parametrize("file", ["container.json", "state.json"])
def test_a_damaged_record_is_listed_and_everything_else_works(minirun, web, file):
    done = minirun.ok("inspect", "-f", "{{.Id}}", "done").strip()
    Path(minirun.root, "lib/containers", done, file).write_text('{"half')
    shown = minirun.ok("ps", "-a", "--format", "{{.ID}} {{.State}} {{.Status}}")
    assert f"{done[:12]} damaged Damaged" in shown
    assert f"{web[:12]} running Up" in shown
    assert minirun.ok("inspect", "-f", "{{.State.Status}}", done) == "damaged\n"
    assert minirun.ok("ps", "-q") == web[:12] + "\n"
    assert minirun.ok("info", "-f", "{{.Containers}} {{.ContainersRunning}}") == "2 1\n"
    minirun.ok("rm", done)
    assert minirun.ok("ps", "-aq") == web[:12] + "\n"


def test_inspect_follows_a_container_through_its_life(minirun, web):
    template = "{{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{eq .State.Pid 0}}"
    assert minirun.ok("inspect", "-f", template, "web", "done") == (
        "running true 0 false\nexited false 3 true\n"
    )
    pid = int(minirun.ok("inspect", "-f", "{{.State.Pid}}", "web"))
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    minirun.ok("kill", "web")
    wait_for(lambda: minirun.ok("inspect", "-f", template, "web") == "exited false 137 true\n")


def test_inspect_tells_of_all_kinds(minirun):
    minirun.ok("network", "create", "front", "--subnet", "10.99.7.0/24")
    minirun.ok("volume", "create", "data")
    try:
        assert minirun.ok("inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "front") == (
            "10.99.7.0/24\n"
        )
        assert minirun.ok("inspect", "-f", "{{.Mountpoint}}", "data").endswith("/data/_data\n")
        assert minirun.ok("inspect", "-f", "{{.RepoTags}}", "tiny") == "[localhost/tiny:latest]\n"
        assert minirun("inspect", "--type", "volume", "front").returncode == 125
    finally:
        minirun.ok("network", "rm", "front")


def test_images(minirun):
    assert minirun.ok("images").splitlines()[0].split() == (
        "REPOSITORY TAG IMAGE ID CREATED SIZE".split()
    )
    minirun.ok("tag", "tiny", "small:1")
    assert minirun.ok("images", "-q").count("\n") == 1  # the same image
    names = minirun.ok("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert sorted(names) == ["localhost/tiny:latest", "small:1"]
    assert minirun.ok("images", "small", "--format", "{{.Tag}}") == "1\n"
    assert minirun.ok("images", "-f", "reference=s*", "--format", "{{.Tag}}") == "1\n"
    assert minirun.ok("images", "-q", "-f", "dangling=true") == ""
    assert minirun.ok("images", "-q", "-f", "since=small:1") == ""


def test_a_damaged_image_is_told_of_and_the_others_are_listed(minirun):
    minirun.ok("images")
    store = Store(f"{minirun.root}/lib/images")
    broken = an_image(store, "docker.io/library/broken:1")
    Path(store.blob_path(broken.id)).unlink()
    done = minirun("images", "--format", "{{.Repository}}")
    assert (done.returncode, done.stdout) == (0, "localhost/tiny\n")
    assert done.stderr.startswith("warning: docker.io/library/broken:1: ")
    assert minirun("inspect", "broken:1").returncode == 125
    assert minirun.ok("ps") and minirun.ok("info")


def test_history_info_version(minirun):
    assert minirun.ok("history", "--format", "{{.CreatedBy}}", "tiny") == "rootfs/tiny/build.sh\n"
    assert json.loads(minirun.ok("history", "--format", "json", "tiny"))["Size"].endswith("MB")
    assert minirun.ok("history", "--no-human", "--format", "{{.Size}}", "tiny").strip().isdigit()
    assert "CREATED BY" in minirun.ok("history", "tiny")
    assert minirun.ok("info", "-f", "{{.Driver}} {{.DockerRootDir}}") == (
        f"overlay {minirun.root}/lib\n"
    )
    assert json.loads(minirun.ok("info", "-f", "json"))["NCPU"] > 0
    assert "Images: 1\n" in minirun.ok("info")
    version = minirun.ok("version", "-f", "{{.Server.Version}}").strip()
    assert minirun.ok("--version") == f"minirun version {version}\n"
