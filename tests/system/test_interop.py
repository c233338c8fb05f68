"""The contract is a directory: our bundles run elsewhere, and others' bundles run here."""

import json
import shutil

import pytest

from tests import images
from tests.components import require
from tests.daemons import other_runtimes
from tests.images import run
from tests.waiting import wait_for

OTHERS = ("runc", "crun")


@pytest.fixture
def elsewhere():
    with other_runtimes():
        yield


@pytest.mark.parametrize("runtime", OTHERS)
def test_our_bundle_runs_elsewhere(minirun, plain, tmp_path, elsewhere, runtime, residue):
    program = require(runtime)
    bundle = tmp_path / "bundle"
    words = ("sh", "-c", "cat /etc/os-release; hostname; id -u")
    minirun.ok("bundle", "--hostname", "elsewhere", f"{plain.host}/public/busybox", bundle, *words)
    command = [program, "--root", str(tmp_path / "state"), "run", "--bundle", str(bundle), "b1"]
    said = minirun.run(command)
    assert said.returncode == 0, said.stderr
    assert said.stdout.split("\n")[1:] == ['NAME="busybox of the tests"', "elsewhere", "0", ""]


def test_a_bundle_of_umoci_runs_here(minirun, tmp_path, residue):
    require("umoci")
    bundle = tmp_path / "bundle"
    run("umoci", "unpack", "--image", f"{images.layout('busybox')}:latest", bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["sh", "-c", "cat /etc/architecture; exit 7"]}
    config["process"]["rlimits"] = []  # umoci's default of 1024 files is fine, but is not the point
    (bundle / "config.json").write_text(json.dumps(config))
    said = minirun.oci("run", "--bundle", bundle, "u1")
    assert (said.returncode, said.stdout) == (7, f"{images.machine()}\n"), said.stderr


@pytest.mark.parametrize("runtime", ("minirun-oci", *OTHERS))
def test_run_with_any_runtime(minirun, elsewhere, runtime, residue):
    if runtime in OTHERS:
        require(runtime)
    words = ("run", "--rm", "--runtime", runtime, "-m", "64m", "--pids-limit", "50", "-e", "A=b",
             "-w", "/tmp", "-u", "1000:1000", "--hostname", "box")
    line = "id -u; id -g; pwd; hostname; echo $A; exit 9"
    done = minirun(*words, "tiny", "sh", "-c", line)
    assert (done.returncode, done.stdout) == (9, "1000\n1000\n/tmp\nbox\nb\n"), done.stderr


def test_the_steps_of_create_and_start(minirun, tmp_path, residue):
    """create, state, start, state, kill, delete: as an engine calls them one by one."""
    bundle = tmp_path / "bundle"
    minirun.ok("bundle", "tiny", bundle, "sleep", "100")

    def status() -> str:
        return json.loads(minirun.oci("state", "c1").stdout)["status"]

    created = minirun.oci("create", "--bundle", bundle, "--pid-file", tmp_path / "pid", "c1")
    assert created.returncode == 0, created.stderr
    assert status() == "created"
    assert minirun.oci("start", "c1").returncode == 0
    assert status() == "running"
    assert minirun.oci("delete", "c1").returncode != 0  # it runs
    assert minirun.oci("kill", "c1", "KILL").returncode == 0
    wait_for(lambda: status() == "stopped")
    assert minirun.oci("delete", "c1").returncode == 0
    assert minirun.oci("state", "c1").returncode != 0


def test_unpack_gives_what_gnu_tar_gives(minirun, tmp_path):
    layers = images.layout("busybox")
    manifest = json.loads((layers / "index.json").read_text())["manifests"][0]["digest"]
    blobs = layers / "blobs/sha256"
    digest = json.loads((blobs / manifest[7:]).read_text())["layers"][0]["digest"]
    minirun.ok("unpack", blobs / digest[7:], "--into", tmp_path / "ours")
    (tmp_path / "theirs").mkdir()
    run("tar", "-xzf", blobs / digest[7:], "-C", tmp_path / "theirs")
    assert run("diff", "-r", "--no-dereference", tmp_path / "ours", tmp_path / "theirs") == ""
    shutil.rmtree(tmp_path / "ours")
