"""What config.json may say, and the words about what it may not."""

import json

import pytest

from minirun.errors import SpecError
from minirun.runtime import container, document, mounts, signals, spec, trampoline
from minirun.runtime.namespaces import new_flags
from tests.runtime.bundles import default_config


def changed(path: str, value: object) -> dict:
    """The default config with one field set: "linux.namespaces.0.type"."""
    config = json.loads(json.dumps(default_config()))
    place = config
    *parents, name = path.split(".")
    for parent in parents:
        place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
    if isinstance(place, list):
        place[int(name)] = value
    else:
        place[name] = value
    return config


@pytest.mark.parametrize("path, value, words", [
    ("ociVersion", None, "ociVersion: is required"),
    ("ociVersion", "2.0.0", "ociVersion: 2.0.0"),
    ("ociVersion", 1, "ociVersion: expected a string, got 1"),
    ("root", None, "root.path: is required"),
    ("root.path", "", "root.path: is empty"),
    ("root.path", "a\0b", "root.path: contains a zero byte"),
    ("process", None, "process: is required"),
    ("process.args", [], "process.args: is empty"),
    ("process.args", ["sh", 1], "process.args[1]: expected a string"),
    ("process.cwd", "tmp", "process.cwd: expected an absolute path"),
    ("process.env", ["NOTHING"], "process.env[0]: expected NAME=value"),
    ("process.env", ["=x"], "process.env[0]: expected NAME=value"),
    ("process.user.uid", -1, "process.user.uid: expected an integer from 0"),
    ("process.user.uid", 2**32 - 1, "process.user.uid"),
    ("process.user.gid", 2**32, "process.user.gid"),
    ("process.user.uid", 1.5, "process.user.uid"),
    ("process.user.uid", True, "process.user.uid"),
    ("process.user.uid", "0", "process.user.uid"),
    ("process.oomScoreAdj", 1001, "process.oomScoreAdj"),
    ("process.rlimits", [{"type": "RLIMIT_X", "soft": 1, "hard": 1}], "process.rlimits[0].type"),
    ("process.rlimits", [{"type": "RLIMIT_AS", "soft": 2, "hard": 1}], "soft is above hard"),
    ("process.rlimits", [{"type": "RLIMIT_AS", "soft": 1, "hard": 1}] * 2, "a second time"),
    ("process.selinuxLabel", "x", "process.selinuxLabel: is not supported"),
    ("hostname", 5, "hostname: expected a string"),
    ("mounts.0.destination", "", "mounts[0].destination: is empty"),
    ("mounts.0.options", "ro", "mounts[0].options: expected an array"),
    ("linux.namespaces.0.type", "pids", "linux.namespaces[0].type: expected one of mount, pid"),
    ("linux.namespaces.0.path", "relative", "linux.namespaces[0].path"),
    ("linux.namespaces", [{"type": "mount"}] * 2, "mount a second time"),
    ("linux.namespaces", [], "no mount namespace"),
    ("linux.namespaces", [{"type": "mount"}], "hostname: would change the host's"),
    ("linux.namespaces", [{"type": "mount"}, {"type": "uts"}, {"type": "user"}], "needs both"),
    ("linux.uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}], "has no meaning"),
    ("linux.uidMappings", [{"containerID": 0}], "linux.uidMappings[0].hostID: is required"),
    ("linux.devices", [{"path": "/dev/x", "type": "x"}], "linux.devices[0].type"),
    ("linux.resources.pids.limit", "many", "linux.resources.pids.limit: expected an integer"),
    ("linux.resources.hugepageLimits", [{"pageSize": "64kB", "limit": 1}], "pageSize"),
    ("linux.resources.rdma", {"a": {"hcaHandles": "x"}}, "linux.resources.rdma.a.hcaHandles"),
    ("linux.netDevices", {"eth0": {"name": 23}}, "linux.netDevices.eth0.name"),
    ("linux.maskedPaths", ["proc"], "linux.maskedPaths[0]: expected an absolute path"),
    ("linux.rootfsPropagation", "public", "linux.rootfsPropagation: expected one of"),
    ("linux.intelRdt", {"closID": "x"}, "linux.intelRdt: is not supported"),
    ("linux.sysctl", {"kernel.panic": "1"}, "linux.sysctl: kernel.panic is not"),
    ("linux.seccomp", {}, "linux.seccomp.defaultAction: is required"),
    ("hooks.prestart", [{"path": "true"}], "hooks.prestart[0].path"),
    ("hooks.prestart", [{"path": "/x", "timeout": 0}], "hooks.prestart[0].timeout"),
])  # fmt: skip
def test_wrong_fields_are_named(path, value, words):
    with pytest.raises(SpecError) as caught:
        spec.check(changed(path, value))
    assert words in str(caught.value)


def test_null_is_absent_and_unknown_is_ignored():
    config = changed("process.capabilities", None)
    config |= {"hooks": None, "annotations": None, "x-new": [1]}
    config["linux"]["resources"]["memory"] = None
    config["linux"]["namespaces"][0]["path"] = None
    spec.check(config)


@pytest.mark.parametrize("value", [[], 1, "x", None, True])
def test_documents_that_are_no_object(value):
    with pytest.raises(SpecError):
        spec.check(value)


@pytest.mark.parametrize("text, words", [
    (b"", "not JSON"), (b"{]", "not JSON"), (b"{} x", "more text"), (b'{"a": NaN}', "NaN"),
    (b"\xef\xbb\xbf{}", "not JSON"), (b'{"a": "\xff"}', "not UTF-8"), (b"[" * 100000, "deep"),
    (b'{"a": 1', "not JSON"), (b'{"a": "\x01"}', "not JSON"), (b"{'a': 1}", "not JSON"),
])  # fmt: skip
def test_what_is_not_json(text, words):
    """RT33"""
    with pytest.raises(SpecError) as caught:
        document.loads(text, "config.json")
    assert words in str(caught.value) and str(caught.value).startswith("config.json: ")


@pytest.mark.parametrize("value", [
    None, True, 1, -(2**70), 1.5, "", 'ä"\\\n', [], {}, {"a": [1, {"b": None}]}, ["\ud800"],
])  # fmt: skip
def test_json_there_and_back(value):
    assert document.loads(document.dumps(value).encode(), "x") == value
    assert json.loads(document.dumps(value)) == value
    assert document.loads(f" \n{json.dumps(value)}\t".encode(), "x") == value


def test_a_bundle_without_a_config(tmp_path, ours):
    assert ours.oci("run", "-b", tmp_path, "x").stderr.startswith("error: no config.json in")


def test_huge_configs_end_in_an_error(ours):
    """RT33"""
    ours.config["annotations"] = {str(n): "x" * 1000 for n in range(1000)}
    ours.config["mounts"] += [{"destination": f"/m{n}", "type": "tmpfs"} for n in range(200)]
    assert ours.run("true").returncode == 0


def test_mount_options():
    parsed = mounts.parse(["ro", "nosuid", "rw", "noatime", "size=5", "rslave", "rro"], "x")
    assert (parsed.set & 1, parsed.clear & 1) == (1, 0)
    assert parsed.set & 2 and parsed.set & 0x10 and parsed.set_below == 1
    assert parsed.data == ["size=5"] and parsed.propagation == [(1 << 19, True)]
    assert mounts.parse(["rbind"], "x").recursive and not mounts.parse(["bind"], "x").recursive
    assert mounts.parse(["relatime", "rrelatime"], "x").clear_below == 0x70


@pytest.mark.parametrize("text, number", [
    ("TERM", 15), ("SIGKILL", 9), ("9", 9), ("sigusr1", 10), ("RTMIN+3", 37), ("RTMAX-1", 63),
    ("RTMIN", 34), ("SIGRTMAX", 64),
])  # fmt: skip
def test_signals(text, number):
    assert signals.number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NOPE", "RTMIN+31", "١", "9 ", "SIG"])
def test_signals_that_are_none(text):
    with pytest.raises(Exception, match="unknown signal"):
        signals.number(text)


def test_flags_of_new_namespaces():
    config = changed("linux.namespaces.1.path", "/proc/1/ns/net")
    assert not new_flags(config) & 1 << 30 and new_flags(config) & 1 << 29


def test_ids():
    assert container.check_id("a_b+c-d.e") and container.check_id("x" * 255)


def test_the_trampolines_code_is_what_the_assembler_makes_of_it():
    """The listing beside each instruction, and not only its bytes, is right."""
    for code, _, _ in trampoline.MACHINES.values():
        assert (len(code) + trampoline.HEADERS) % 8 == 0
