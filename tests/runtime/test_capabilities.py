"""RT23: what a config.json asks for becomes five masks that capset(2) takes."""

import json
import os

import pytest

from minirun import linux
from minirun.runtime import capabilities
from minirun.runtime.capabilities import BITS, granted

HELD = linux.capget()[1]
SOME = [name for name in ("CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE") if BITS[name] & HELD]


def masks(**wanted: list[str]) -> dict[str, int]:
    return granted(wanted)[0]


def test_bits_are_those_of_the_kernel():
    """capability.h by three landmarks, and the kernel's own count."""
    assert (BITS["CAP_CHOWN"], BITS["CAP_SYS_ADMIN"], BITS["CAP_CHECKPOINT_RESTORE"]) == (
        1 << 0,
        1 << 21,
        1 << 40,
    )
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert len(BITS) >= min(int(file.read()), 40) + 1


def test_the_names_that_python_prctl_has_mean_the_same():
    prctl = pytest.importorskip("prctl")
    compared = [name for name in BITS if hasattr(prctl, name)]
    assert len(compared) > 30
    for name in compared:
        assert 1 << getattr(prctl, name) == BITS[name]


def test_each_set_is_a_mask():
    sets = masks(**dict.fromkeys(capabilities.SETS, SOME))
    assert set(sets) == set(capabilities.SETS)
    assert set(sets.values()) == {sum(BITS[name] for name in SOME)}


@pytest.mark.parametrize("left_out", capabilities.SETS)
def test_a_set_that_is_not_asked_for_is_empty(left_out):
    """RT23: powers in a set nobody named are how CVE-2022-24769 came about."""
    asked = {kind: SOME for kind in capabilities.SETS if kind != left_out}
    assert masks(**asked)[left_out] == 0


def test_nothing_asked_is_nothing_granted():
    assert granted({}) == (dict.fromkeys(capabilities.SETS, 0), [])
    assert granted({"bounding": None}) == (dict.fromkeys(capabilities.SETS, 0), [])


def test_what_cannot_be_granted_is_told_and_left_out():
    """runtime-spec: warn, and go on; RT24: lower case or a missing CAP_ is another name."""
    sets, ungranted = granted({"bounding": [*SOME, "CAP_TIME_TRAVEL", "cap_chown", "KILL"]})
    assert sets["bounding"] == sum(BITS[name] for name in SOME)
    assert ungranted == ["CAP_TIME_TRAVEL", "cap_chown", "KILL"]


def test_a_power_that_the_runtime_lacks_is_left_out():
    """A child without CAP_KILL cannot hand it on."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            kept = HELD & ~BITS["CAP_KILL"]
            linux.capset(kept, kept, 0)
            sets, ungranted = granted({"bounding": ["CAP_KILL", "CAP_CHOWN"]})
            code = not (sets["bounding"] == BITS["CAP_CHOWN"] and ungranted == ["CAP_KILL"])
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_the_kernels_rules_between_the_sets_hold():
    assert masks(effective=SOME)["effective"] == 0
    assert masks(inheritable=SOME)["inheritable"] == 0
    assert masks(ambient=SOME, permitted=SOME)["ambient"] == 0
    all_but = masks(ambient=SOME, permitted=SOME, inheritable=SOME, bounding=SOME[:1])
    assert all_but["ambient"] == all_but["inheritable"] == BITS[SOME[0]]


def test_the_kernel_takes_what_is_granted():
    """And says the same in /proc/self/status."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sets = masks(permitted=SOME, effective=SOME[:1], inheritable=SOME, bounding=SOME)
            linux.capset(sets["effective"], sets["permitted"], sets["inheritable"])
            with open("/proc/self/status") as file:
                status = dict(line.split(":\t") for line in file if line.startswith("Cap"))
            seen = [int(status[key], 16) for key in ("CapEff", "CapPrm", "CapInh")]
            code = seen != [sets["effective"], sets["permitted"], sets["inheritable"]]
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("command", ["run", "exec"])
def test_what_cannot_be_granted_is_a_warning_and_no_more(ours, command):
    """config.md, "Linux Process". With --log it stands there alone: stderr is the container's."""
    ours.process["capabilities"]["bounding"] = [*SOME, "CAP_TIME_TRAVEL"]
    ours.create("sleep", "60")
    ours.oci("start", ours.id, check=True)
    log = ours.directory / "log.json"
    said = "warning: process.capabilities: cannot be granted: CAP_TIME_TRAVEL\n"
    words = ("exec", ours.id) if command == "exec" else ("run", f"{ours.id}-2")
    if command == "run":
        ours.process["args"] = ["true"]
        ours.write()
    plain = ours.oci(*words, *["true"] * (command == "exec"))
    assert (plain.returncode, plain.stderr) == (0, said)
    logged = ours.oci("--log", log, "--log-format", "json", *words, *["true"] * (command == "exec"))
    assert (logged.returncode, logged.stderr) == (0, "")
    assert json.loads(log.read_text())["level"] == "warning"
