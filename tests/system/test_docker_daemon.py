"""dockerd with other settings than usual, and our runtime: --live-restore, --userns-remap."""

import os
import tempfile
from pathlib import Path

import pytest

from tests import images
from tests.components import private_network
from tests.daemons import dockerd, other_runtimes
from tests.images import run

ALONE = ("--network", "none")


def inspect(docker, container, template):
    return docker("inspect", "--format", template, container).strip()


def settings(oci_runtime, *more):
    return ("--add-runtime", f"minirun={oci_runtime}", "--default-runtime", "minirun", *more)


def test_containers_outlive_dockerd(oci_runtime, tmp_path, residue):
    """--live-restore: dockerd is killed; its containers go on, and the next one finds them."""
    options = settings(oci_runtime, "--live-restore")
    listener = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    with other_runtimes(), private_network() as enter, \
            dockerd(tmp_path, within=enter, options=options) as docker:
        docker.load(images.layout("busybox"), "busybox")
        container = docker("run", "-d", *ALONE, "busybox", "sh", "-c", listener).strip()
        pid = inspect(docker, container, "{{.State.Pid}}")
        try:
            run(*enter, "kill", "-9", (tmp_path / "docker.pid").read_text())
            with dockerd(tmp_path, within=enter, options=options):
                assert inspect(docker, container, "{{.State.Status}} {{.State.Pid}}") \
                    == f"running {pid}"
                docker("exec", container, "true")
                docker("stop", container)
                assert inspect(docker, container, "{{.State.ExitCode}}") == "7"
                docker("rm", container)
                assert os.listdir(tmp_path / "exec/runtime-runc/moby") == []
        finally:  # what a failed test leaves running would keep its cgroup
            run(*enter, "sh", "-c", f"! kill -9 {pid} 2> /dev/null || sleep 0.5")


@pytest.fixture
def open_directory():
    """A folder that anybody may pass through, as pytest's are not."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


def test_root_of_containers_is_nobody_outside(oci_runtime, open_directory, residue):
    """--userns-remap: a user namespace whose root is user 100000 of the machine."""
    (open_directory / "subordinate").write_text("nobody:100000:65536\n")
    options = settings(oci_runtime, "--userns-remap", "nobody:nogroup")
    with other_runtimes(), private_network() as enter:
        for name in ("subuid", "subgid"):
            run(*enter, "mount", "--bind", open_directory / "subordinate", f"/etc/{name}")
        with dockerd(open_directory, within=enter, options=options) as docker:
            docker.load(images.layout("busybox"), "busybox")
            container = docker("run", "-d", "-t", "-m", "32m", "-p", "8080:80", "-v", "files:/v",
                               "busybox", "sleep", "1000").strip()
            pid = inspect(docker, container, "{{.State.Pid}}")
            owner = run(*enter, "stat", "-c", "%u %g", f"/proc/{pid}").split()
            assert owner == ["100000", "100000"]
            script = "id -u; cat /proc/self/uid_map; touch /v/mine; stat -c %u /v/mine /dev/pts/0"
            said = docker("exec", container, "sh", "-c", script).split()
            assert said == ["0", "0", "100000", "65536", "0", "0"]
            volume = docker("volume", "inspect", "--format", "{{.Mountpoint}}", "files").strip()
            assert os.stat(f"{volume}/mine").st_uid == 100000
            assert docker("exec", "-u", "ada", container, "id", "-un") == "ada\n"
            assert docker.attempt("exec", container, "mount", "-t", "tmpfs", "x", "/tmp").returncode
            docker("rm", "--force", container)
