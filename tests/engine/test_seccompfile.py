"""Filters of system calls from files, in Docker's form and in the runtime spec's."""

import doctest
import json
import os
from pathlib import Path

import pytest

from minirun import defaults
from minirun.engine import edits, seccompfile
from minirun.errors import NotFound, UsageError

PLAIN = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}],
}
PODMANS = Path("/usr/share/containers/seccomp.json")


def resolved(rule, caps=(), machine="x86_64", kernel="6.1.0-49-amd64"):
    """Whether one rule is in the filter."""
    profile = {"defaultAction": "SCMP_ACT_ERRNO",
               "syscalls": [{"names": ["x"], "action": "SCMP_ACT_ALLOW", **rule}]}  # fmt: skip
    return seccompfile.resolve(profile, machine, caps, kernel)["syscalls"]


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(seccompfile).failed == 0


def test_what_the_runtime_spec_says_stays_as_it_is():
    assert seccompfile.resolve(PLAIN, "x86_64", [], "6.1") == PLAIN


@pytest.mark.parametrize(
    ("rule", "caps", "is_there"),
    [
        ({}, (), True),
        ({"includes": {}, "excludes": {}, "comment": "why"}, (), True),
        ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, ("CAP_A",), False),
        ({"includes": {"caps": ["CAP_A", "CAP_B"]}}, ("CAP_B", "CAP_A"), True),
        ({"excludes": {"caps": ["CAP_A", "CAP_B"]}}, ("CAP_A",), False),
        ({"excludes": {"caps": ["CAP_A"]}}, (), True),
        ({"includes": {"arches": ["arm64"]}}, (), False),
        ({"includes": {"arches": ["arm64", "amd64"]}}, (), True),
        ({"excludes": {"arches": ["amd64"]}}, (), False),
        ({"includes": {"minKernel": "6.1"}}, (), True),
        ({"includes": {"minKernel": "6.2"}}, (), False),
        ({"includes": {"minKernel": "5.19"}}, (), True),
        ({"excludes": {"minKernel": "6.1"}}, (), False),
        ({"excludes": {"minKernel": "6.2"}}, (), True),
    ],
)
def test_a_rule_is_for_some_containers(rule, caps, is_there):
    assert bool(resolved(rule, caps)) is is_there


def test_older_words():
    (rule,) = resolved({"name": "old", "names": None, "errno": "EPERM", "args": None})
    assert rule == {"names": ["old"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}


def test_architectures_that_go_together():
    maps = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None}]  # fmt: skip
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "archMap": maps}
    found = seccompfile.resolve(profile, "x86_64", [], "6.1")
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    found = seccompfile.resolve(profile, "aarch64", [], "6.1")
    assert found["architectures"] == ["SCMP_ARCH_AARCH64"]


@pytest.mark.parametrize("text", [
    "", "[]", '"x"', json.dumps({**PLAIN, "unknown": 1}), json.dumps({**PLAIN, "archMap": [{}]}),
    json.dumps({**PLAIN, "syscalls": [{"names": ["x"], "action": "A", "whenever": 1}]}),
    json.dumps({**PLAIN, "syscalls": [{"names": ["x"], "action": "A", "includes": {"uid": 1}}]}),
    json.dumps({**PLAIN, "syscalls": [{"names": ["x"]}]}),
    json.dumps({**PLAIN, "syscalls": ["chmod"]}),
])  # fmt: skip
def test_what_is_no_profile(tmp_path, text):
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        seccompfile.read(str(path), [])
    with pytest.raises(NotFound):
        seccompfile.read(str(tmp_path / "missing"), [])


def test_podmans_default_profile():
    """Its file is of Docker's form, with conditions for seven architectures."""
    if not PODMANS.exists() or os.uname().machine != "x86_64":
        pytest.skip(f"needs {PODMANS} and x86_64")
    spec = defaults.config()
    edits.apply(spec, {"security_opt": (f"seccomp={PODMANS}",)})
    found = spec["linux"]["seccomp"]
    rules = {name: rule for rule in found["syscalls"] for name in rule["names"]}
    assert found["architectures"][0] == "SCMP_ARCH_X86_64" and found["defaultErrnoRet"] == 38
    assert rules["chmod"]["action"] == "SCMP_ACT_ALLOW" and "arm_fadvise64_64" not in rules
    assert rules["arch_prctl"]["action"] == "SCMP_ACT_ALLOW"
    assert "open_by_handle_at" not in rules or rules["open_by_handle_at"]["action"] != (
        "SCMP_ACT_ALLOW"
    )


def test_in_a_container(minirun, tmp_path):
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({**PLAIN, "architectures": []}))
    run = ("run", "--rm", "--network", "none", "--security-opt")
    done = minirun(*run, f"seccomp={path}", "tiny", "chmod", "700", "/tmp")
    assert done.returncode == 1 and "Permission denied" in done.stderr
    if PODMANS.exists():
        minirun.ok(*run, f"seccomp={PODMANS}", "tiny", "chmod", "700", "/tmp")
