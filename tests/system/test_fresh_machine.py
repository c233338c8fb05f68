"""setup.sh on a machine with nothing on it: Debian's smallest system, and a clone of this project.

It is a chroot on an overlay, in namespaces of its own. What it writes can be told from what was
there, so "nothing left behind" is a list of files. Packages come through this machine's network.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests import images
from tests.components import require
from tests.images import run

PROJECT = Path(__file__).parents[2]
SETTINGS = ("/etc/apt", "/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf")

# $1 is the folder; the rest is a command to run inside. /run and /tmp are there while it runs.
ENTER = """
cd "$1" && shift && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work fresh root &&
mount -t proc proc root/proc && mount --rbind /sys root/sys && mount --rbind /dev root/dev &&
mount -t tmpfs run root/run && mount -t tmpfs tmp root/tmp &&
exec chroot root "$@"
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    require("git", "umoci")
    folder = tmp_path_factory.mktemp("fresh")
    lower = folder / "lower"
    run("umoci", "raw", "unpack", "--image", f"{images.layout('debian')}:latest", lower)
    run("git", "clone", "-q", PROJECT, lower / "project")
    for path in filter(os.path.exists, SETTINGS):
        run("rm", "-rf", f"{lower}{path}")
        run("cp", "--archive", "--dereference", path, lower / "etc")
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    yield folder
    shutil.rmtree(folder)


def enter(folder: Path, *command: str) -> str:
    env = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    if "PIP_CERT" in env:
        shutil.copy(env["PIP_CERT"], folder / "lower/certificates.pem")
        env["PIP_CERT"] = "/certificates.pem"
    return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
               "sh", "-c", ENTER, "enter", folder, *command,
               env=env | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})


def written(folder: Path) -> set[str]:
    """Files of the overlay that are not Debian's: not named by a package or made by its tools."""
    upper = folder / "upper"
    paths = {"/" + str(path.relative_to(upper)) for path in upper.rglob("*") if not path.is_dir()}
    debians = ("/usr/", "/etc/", "/var/lib/dpkg", "/var/lib/apt", "/var/lib/systemd", "/var/cache/",
               "/var/log/", "/var/lib/ucf", "/var/lib/pam")
    return {path for path in paths
            if not path.startswith(debians) or path.startswith("/usr/local") or "minirun" in path}


@pytest.mark.slow
def test_demo_and_uninstall_on_a_fresh_machine(fresh, residue):
    said = enter(fresh, "/project/setup.sh", "demo")
    assert "in the container" in said
    facts = [line.split() for line in said.splitlines()]
    assert ["host", "name"] in [words[:2] for words in facts]
    assert "/usr/local/bin/minirun" in written(fresh)
    assert enter(fresh, "minirun", "run", "--rm", "tiny", "echo", "again") == "again\n"

    again = enter(fresh, "/project/setup.sh", "install")
    assert "installing" not in again and "pip" not in again

    enter(fresh, "/project/setup.sh", "uninstall", "--packages")
    assert written(fresh) == set()
