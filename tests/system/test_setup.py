"""setup.sh on the machine where it was run; on an empty one: test_fresh_machine.py."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.components import require
from tests.images import run

PROJECT = Path(__file__).parents[2]
SCRIPTS = ["setup.sh", ".ci/run", *map(str, PROJECT.glob("rootfs/*/build.sh")),
           *map(str, PROJECT.glob("vagrant/*.sh"))]


def test_scripts_are_clean():
    require("shellcheck")
    run("shellcheck", *SCRIPTS, cwd=PROJECT)


@pytest.mark.parametrize("words", [[], ["nope"], ["test", "--nope"], ["install", "x"]], ids=str)
def test_a_bad_command_shows_the_usage(words):
    command = [PROJECT / "setup.sh", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "setup.sh install" in done.stderr


def test_the_second_install_is_quick(installed):
    start = time.monotonic()
    said = run(PROJECT / "setup.sh", "install")
    assert time.monotonic() - start < 5  # 0.3 s on an idle machine
    assert "installing" not in said and "pip" not in said


@pytest.fixture
def installed():
    """These tests only look at a machine where setup.sh was run; they do not change it."""
    if os.geteuid() != 0 or not (PROJECT / ".venv/state").exists():
        pytest.skip("setup.sh install was not run here")


def test_the_launchers_are_on_the_path_of_root(installed):
    for name in ("minirun", "minirun-oci"):
        path = Path(shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/bin"))
        assert path.stat().st_mode & 0o7777 == 0o755
        assert path.read_text().startswith("#!/usr/bin/python3")  # the system's, never a shim
    assert run("minirun", "version")


def test_the_launchers_obey_no_environment(installed, tmp_path):
    """-I: who calls minirun through sudo cannot make root import files of his own."""
    (tmp_path / "click.py").write_text("print('TRAPPED')")
    done = run("minirun", "version", cwd=tmp_path, env={"PATH": os.environ["PATH"],
                                                        "PYTHONPATH": str(tmp_path)})
    assert "TRAPPED" not in done
