"""doctor tries everything, leaves nothing, and knows what mends it."""

import os

import pytest

from minirun.engine.paths import Paths
from minirun.errors import Error
from minirun.teach import doctor


def test_on_this_machine_all_is_well(minirun, residue):
    report = minirun.ok("doctor")
    assert report.count("✓") == len(doctor.CHECKS)
    assert "✗" not in report


def test_every_check_has_a_title_and_a_fix():
    assert all(check.__doc__ and doctor.FIXES[check] for check in doctor.CHECKS)


@pytest.mark.parametrize(("taken", "check"), [
    ("-sys_admin", "Root, with its capabilities"),
])  # fmt: skip
def test_without_its_powers_it_says_what_is_missing(minirun, residue, taken, check):
    done = minirun.run(["setpriv", "--bounding-set", taken, *minirun.command()], "doctor")
    assert done.returncode == 1
    assert f"✗ {check}" in done.stdout and "fix: " in done.stdout


def test_without_a_cgroup_controller_it_names_it(minirun):
    """In a mount namespace of its own, an empty file system hides them."""
    line = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs x /sys/fs/cgroup; exec "$@"', "sh"]
    done = minirun.run([*line, *minirun.command()], "doctor")
    assert done.returncode == 1
    assert "no controller for cpu, memory, pids" in done.stdout


def test_a_failure_in_the_child_is_told_in_its_own_words():
    with pytest.raises(Error, match="No such file"):
        doctor.in_child(lambda: os.stat("/no/such/file"))
    with pytest.raises(Error, match="ValueError"):
        doctor.in_child(lambda: int("x"))


def test_a_full_disk_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "FREE", 1 << 60)
    with pytest.raises(Error, match="MiB left"):
        doctor.space(Paths(str(tmp_path)))
