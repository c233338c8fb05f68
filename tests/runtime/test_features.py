"""``features`` tells the truth: what it lists is taken, and what the others list is listed."""

import json
import os

import pytest

from minirun.errors import SpecError
from minirun.runtime import mounts, seccomp, spec
from tests.runtime.bundles import default_config
from tests.runtime.test_fields import DOCUMENTS, validator

MACHINE = os.uname().machine
# runc lists these words too. They are the file system's own, and the kernel takes them from us as
# it does from runc; acl is one that no kernel has taken for years.
OF_FILE_SYSTEMS = {"sync", "dirsync", "lazytime", "mand", "acl", "noacl"}


@pytest.fixture
def features(bundle) -> dict:
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8 has no features")
    return json.loads(bundle.oci("features", check=True).stdout)


def test_it_is_what_the_schema_describes(features):
    validator("features-schema.json").validate(features)


def test_both_versions_are_taken(ours, features):
    for version in (features["ociVersionMin"], features["ociVersionMax"]):
        ours.config["ociVersion"] = version
        assert ours.run("true").returncode == 0
    assert ours.oci("--version").stdout.endswith(f"spec: {features['ociVersionMax']}\n")


def test_every_hook_is_run(ours, features):
    log = ours.directory / "log"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $KIND >> {log}"]}
    inside = {"path": "/bin/sh", "args": ["sh", "-c", "echo $KIND >> /log"]}
    ours.config["hooks"] = {
        kind: [{**(inside if kind == "startContainer" else hook), "env": [f"KIND={kind}"]}]
        for kind in features["hooks"]
    }
    assert ours.run("true").returncode == 0
    inside_log = ours.rootfs / "log"
    assert sorted(log.read_text().split() + inside_log.read_text().split()) == sorted(
        features["hooks"]
    )


def test_every_mount_option_is_understood(ours, features):
    """None of them is left for the file system to guess at."""
    for option in features["mountOptions"]:
        kind = mounts.SPECIAL.get(option) or "bind"
        mount = {"destination": "/x", "type": kind, "source": "/x", "options": [option],
                 "uidMappings": [], "gidMappings": []}  # fmt: skip
        assert mounts.parse(mount, "x").data == [], option


def test_every_namespace_and_capability_is_known(ours, features):
    linux = features["linux"]
    assert set(linux["namespaces"]) == set(spec.NAMESPACES)
    ours.process["capabilities"] = dict.fromkeys(["bounding"], linux["capabilities"])
    ours.linux["namespaces"] = [{"type": kind} for kind in linux["namespaces"] if kind != "user"]
    assert "unknown" not in ours.run("true").stderr


def test_every_word_of_seccomp_compiles(ours, features):
    words = features["linux"]["seccomp"]
    rules = [{"names": ["acct"], "action": action} for action in words["actions"]]
    rules += [
        {"names": ["ioctl"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": op}]}
        for op in words["operators"]
    ]
    config = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "listenerPath": "/x",
        "architectures": words["archs"],
        "flags": words["knownFlags"],
        "syscalls": rules,
    }
    spec.check(default_config() | {"linux": {"namespaces": [{"type": "uts"}], "seccomp": config}})
    assert seccomp.compile(config, MACHINE) and seccomp.flags(config)


def test_every_supported_flag_is_taken_by_this_kernel(ours, features):
    flags = features["linux"]["seccomp"]["supportedFlags"]
    assert "SECCOMP_FILTER_FLAG_LOG" in flags
    ours.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}
    assert ours.run("true").returncode == 0


@pytest.mark.parametrize("name, field, value", [
    ("selinux", "process.selinuxLabel", "x"), ("intelRdt", "linux.intelRdt", {"closID": "x"}),
    ("netDevices", "linux.netDevices", {"eth7": {}}),
])  # fmt: skip
def test_what_is_not_enabled_is_refused(ours, features, name, field, value):
    config = default_config()
    holder, key = field.split(".")
    config[holder][key] = value
    if features["linux"][name]["enabled"]:
        spec.check(config)
    else:
        with pytest.raises(SpecError, match=field):
            spec.check(config)


def test_nothing_is_missing_that_runc_has(ours, features):
    """The document of runc 1.1 in the spec's test data, and the runc of this machine."""
    (path,) = [path for path in DOCUMENTS if path.name == "runc.json"]
    theirs = json.loads(path.read_text())
    missing = set(theirs["mountOptions"]) - set(features["mountOptions"])
    assert missing == OF_FILE_SYSTEMS
    assert set(theirs["hooks"]) <= set(features["hooks"])
    for key in ("namespaces", "capabilities"):
        assert set(theirs["linux"][key]) <= set(features["linux"][key])
    for key in ("actions", "operators", "archs", "knownFlags"):
        assert set(theirs["linux"]["seccomp"][key]) <= set(features["linux"]["seccomp"][key])
    for key, value in theirs["linux"]["cgroup"].items():
        assert features["linux"]["cgroup"][key] == value


def test_the_state_is_what_the_schema_describes(bundle):
    """In every status but "paused", which the spec leaves to runtimes and its schema does not."""
    official = validator("state-schema.json")
    bundle.config["annotations"] = {"org.example.key": "ä"}
    bundle.create("sh", "-c", "sleep 0.3")
    official.validate(bundle.state())
    bundle.oci("start", bundle.id, check=True)
    official.validate(bundle.state())
    bundle.wait_for("stopped")
    state = bundle.state()
    official.validate(state)
    assert state["status"] == "stopped" and state["annotations"] == {"org.example.key": "ä"}


def test_what_hooks_read_is_what_the_schema_describes(bundle):
    for kind in ("createRuntime", "poststop"):
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {bundle.directory}/{kind}"]}
        bundle.config.setdefault("hooks", {})[kind] = [hook]
    assert bundle.run("true").returncode == 0
    for kind, status in (("createRuntime", "creating"), ("poststop", "stopped")):
        state = json.loads((bundle.directory / kind).read_text())
        validator("state-schema.json").validate(state)
        assert state["status"] in (status, "created" if bundle.runtime == "crun" else status)
