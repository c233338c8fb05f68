"""The workshop machine: a real Vagrant, a box of our own, systemd and cgroup v2."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.components import require
from tests.images import CACHE, locked, run

PROJECT = Path(__file__).parents[2]


def test_the_vagrantfile_is_valid(tmp_path):
    require("vagrant")
    own = {"VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_DOTFILE_PATH": str(tmp_path / "state"),
           "VAGRANT_CHECKPOINT_DISABLE": "1"}
    said = run("vagrant", "validate", cwd=PROJECT / "vagrant", env=os.environ | own)
    assert "validated successfully" in said


def box() -> Path:
    """The box of vagrant/box.sh: packed once, and again when what it is made from changes."""
    sources = ("vagrant/box.sh", "setup.sh", "pyproject.toml")
    content = b"".join((PROJECT / source).read_bytes() for source in sources)
    path = CACHE / f"minirun-{hashlib.sha256(content).hexdigest()[:12]}.box"
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / ".box.lock"):
        if not path.exists():
            for older in CACHE.glob("minirun-*.box"):
                older.unlink()
            run(PROJECT / "vagrant/box.sh", path)
    return path


@pytest.mark.slow
def test_the_workshop_machine_comes_up_and_runs_containers():
    """`vagrant up` provisions with `setup.sh install`; then the main job and its limits."""
    require("mmdebstrap", "qemu-img", "qemu-system-x86_64", "libvirtd", "rsync", "vagrant")
    command = ["sudo", "bash", "-c",
               "systemctl is-system-running --wait && /vagrant/tests/system/cgroup_v2.sh"]
    done = subprocess.run([PROJECT / "vagrant/emulate.sh", box(), *command], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    print(done.stdout)
    assert done.returncode == 0
    assert "Machine booted and ready" in done.stdout
