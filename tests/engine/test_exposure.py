"""``--no FEATURE`` takes one wall away, says what is exposed then, and nothing else changes."""

import json
import os

import pytest

from minirun import defaults
from minirun.engine import edits, exposure
from minirun.errors import UsageError
from tests.engine.test_edits import difference

NAMESPACES = {
    "pid": "pid", "uts": "uts", "ipc": "ipc", "net": "net", "cgroup": "cgroup", "time": "time",
    "mount": "mnt", "user": "user",
}  # fmt: skip
EDITS = {
    **{name: {"linux.namespaces"} for name in ("pid", "ipc", "net", "cgroup")},
    "uts": {"linux.namespaces", "hostname"},
    "mount": {"linux.namespaces", "linux.maskedPaths", "linux.readonlyPaths"},
    "user": set(),
    "time": set(),
    "pivot-root": set(),
    "seccomp": {"linux.seccomp"},
    "caps": {f"process.capabilities.{kind}" for kind in ("bounding", "effective", "permitted")},
    "masks": {"linux.maskedPaths", "linux.readonlyPaths"},
    "devices": {"linux.resources.devices"},
    "limits": {"linux.resources.pids", "linux.resources.memory"},
}


def spec():
    document = defaults.config()
    edits.apply(document, {"hostname": "box", "memory": "64m"})
    return document


@pytest.mark.parametrize("name", exposure.FEATURES)
def test_each_feature_is_an_edit_of_its_own(name):
    changed = spec()
    exposure.apply(changed, [name])
    assert difference(spec(), changed) == EDITS[name]


def test_several_may_be_named_at_once_and_unknown_ones_are_refused():
    assert exposure.parse(["pid,net", "uts", "pid"]) == ["pid", "net", "uts"]
    with pytest.raises(UsageError, match="--no walls: unknown"):
        exposure.parse(["walls"])


@pytest.mark.parametrize("name", NAMESPACES)
def test_without_a_namespace_it_is_in_the_hosts(minirun, name):
    kind = NAMESPACES[name]
    ours = os.readlink(f"/proc/self/ns/{kind}")
    seen = minirun.ok("run", "--rm", "--no", name, "tiny", "readlink", f"/proc/self/ns/{kind}")
    assert seen.strip() == ours
    if name != "user":  # no container has a user namespace of its own so far
        look = ("run", "--rm", "tiny", "readlink", f"/proc/self/ns/{kind}")
        assert minirun.ok(*look).strip() != ours


# What a shell in the container sees: (without the wall, with it)
PROBES = {
    "seccomp": ("grep -w Seccomp: /proc/self/status | cut -f2", "0", "2"),
    "caps": ("grep CapBnd /proc/self/status | cut -f2 | cut -c11", "f", "0"),
    "masks": ("wc -c < /proc/keys | grep -qx 0 && echo empty || echo full", "full", "empty"),
    "limits": ("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null", "max",
               "2048"),
    "devices": ("mknod /dev/d c 10 229 && head -c0 /dev/d && echo opened || echo refused",
                "opened", "refused"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBES)
def test_without_a_wall_the_container_can_what_it_else_cannot(minirun, name):
    script, without, with_it = PROBES[name]
    more = ("--cap-add", "MKNOD") if name == "devices" else ()
    run = ("run", "--rm", *more)
    assert minirun.ok(*run, "tiny", "sh", "-c", f"{script} || true").strip() == with_it
    seen = minirun.ok(*run, "--no", name, "tiny", "sh", "-c", f"{script} || true").strip()
    assert seen == without


def test_a_bundle_shows_the_difference(minirun, tmp_path):
    minirun.ok("bundle", "tiny", tmp_path / "a")
    minirun.ok("bundle", "--no", "pid", "tiny", tmp_path / "b")
    old, new = (json.loads((tmp_path / name / "config.json").read_text()) for name in "ab")
    assert difference(old, new) == {"linux.namespaces"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--no", "net,pid"), ["without net: ", "without pid: "]),
        (("--privileged",), ["with --privileged: "]),
        (("--cap-add", "sys_admin"), ["with CAP_SYS_ADMIN: "]),
        (("--pid", "host"), ["with --pid host: "]),
        (("--ipc", "host"), ["with --ipc host: "]),
        ((), []),
    ],
)
def test_hd09_who_opens_a_wall_is_told(minirun, flags, words):
    told = minirun("run", "--rm", *flags, "tiny", "true").stderr.splitlines()
    assert len(told) == len(words)
    for line, start in zip(told, words, strict=True):
        assert line.startswith(f"warning: {start}")
