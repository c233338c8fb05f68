"""What config.json may say, and the words about what it may not."""

import io
import json
from pathlib import Path

import pytest

from minirun import document, elf
from minirun.errors import SpecError
from minirun.runtime import container, mounts, signals, spec, trampoline
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
    ("process.selinuxLabel", "x", "process.selinuxLabel: is for SELinux"),
    ("hostname", 5, "hostname: expected a string"),
    ("mounts.0.destination", "", "mounts[0].destination: is empty"),
    ("mounts.0.options", "ro", "mounts[0].options: expected an array"),
    ("linux.namespaces.0.type", "pids", "linux.namespaces[0].type: expected one of user, cgroup"),
    ("linux.namespaces.0.path", "relative", "linux.namespaces[0].path"),
    ("linux.namespaces", [{"type": "mount"}] * 2, "mount a second time"),
    ("linux.namespaces", [{"type": "mount"}], "hostname: would change the host's"),
    ("linux.uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}], "has no meaning"),
    ("linux.uidMappings", [{"containerID": 0}], "linux.uidMappings[0].hostID: is required"),
    ("linux.devices", [{"path": "/dev/x", "type": "x"}], "linux.devices[0].type"),
    ("linux.resources.pids.limit", "many", "linux.resources.pids.limit: expected an integer"),
    ("linux.resources.hugepageLimits", [{"pageSize": "64kB", "limit": 1}], "pageSize"),
    ("linux.resources.rdma", {"a": {"hcaHandles": "x"}}, "linux.resources.rdma.a.hcaHandles"),
    ("linux.netDevices", {"eth0": {"name": 23}}, "linux.netDevices.eth0.name"),
    ("linux.maskedPaths", ["proc"], "linux.maskedPaths[0]: expected an absolute path"),
    ("linux.rootfsPropagation", "public", "linux.rootfsPropagation: expected one of"),
    ("linux.intelRdt", {"closID": "x"}, "linux.intelRdt: is for resctrl"),
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


@pytest.mark.parametrize("version", [
    "1.0.0", "1.0.0-rc5", "1.0.2-dev", "1.0.2-rc1-dev", "1.1.0+dev", "1.2.1", "1.3.0", "1.99.0",
])  # fmt: skip
def test_versions_of_the_spec(version):
    """All 1.x.y are compatible (semver.org)."""
    spec.check(changed("ociVersion", version))


@pytest.mark.parametrize("version", ["", "1", "1.2", "0.5.0-dev", "2.0.0", "1.x.0", "v1.0.0"])
def test_versions_that_are_not_ours(version):
    with pytest.raises(SpecError, match=r"^ociVersion: .* is not 1\.x\.y"):
        spec.check(changed("ociVersion", version))


def test_huge_configs_run(ours):
    """RT33: 1 MiB of annotations, all of which is there again in the state."""
    annotations = {str(n): "x" * 1024 for n in range(1024)}
    ours.config["annotations"] = annotations
    ours.create("true")
    assert ours.state()["annotations"] == annotations


@pytest.mark.parametrize("text, words", [
    ('"annotations": ' + "[" * 10_000 + "]" * 10_000, "nested too deeply"),
    ('"annotations": ' + '{"a":' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
    ('"linux": {"resources": {"cpu": {"shares": NaN}}}', "NaN"),
    ('"linux": {"resources": {"memory": {"limit": 9223372036854775808}}}', "limit: expected"),
    ('"linux": {"resources": {"memory": {"limit": 1e3}}}', "memory.limit: expected"),
    ('"linux": {"resources": {"pids": {"limit": -9223372036854775809}}}', "pids.limit: expected"),
    ('"linux": {"uidMappings": [' + ",".join(['{"containerID":0,"hostID":0,"size":1}'] * 65_000)
     + "]}", "linux.uidMappings"),
    ('"process": {"cwd": "/", "args": ["' + "x" * (65 << 20) + '"]}', "larger than 64 MiB"),
])  # fmt: skip
def test_monsters_are_refused(ours, text, words):
    """RT33: what no caller writes ends in an error that names it; nothing is truncated."""
    base = json.dumps(default_config() | {"process": {**default_config()["process"]}})
    (ours.directory / "config.json").write_text(f"{base[:-1]}, {text}}}")
    done = ours.oci("run", ours.id)
    assert (done.returncode, words in done.stderr) == (125, True), done.stderr[:500]
    assert len(done.stderr) < 1000 and ours.listed() == []


def test_of_keys_that_stand_twice_the_last_counts(bundle):
    """RT33: so for runc, and for Python, Go and most readers of JSON; for crun it is the first."""
    if bundle.runtime == "crun":
        pytest.skip("for crun the first counts")
    bundle.process["args"] = ["echo", "good"]
    text = json.dumps(bundle.config)
    twice = text.replace('"args": [', '"args": ["echo", "bad"], "args": [')
    assert twice != text
    (bundle.directory / "config.json").write_text(twice)
    assert bundle.oci("run", bundle.id).stdout == "good\n"


@pytest.mark.slow
def test_five_thousand_mounts(ours):
    """RT33: each mount is there, or the error says which one is too many."""
    ours.config["mounts"] += [{"destination": f"/tmp/m{n}", "type": "tmpfs"} for n in range(5000)]
    done = ours.run("wc", "-l", "/proc/self/mounts", timeout=300)
    assert int(done.stdout.split()[0]) > 5000 if done.returncode == 0 else "mounts[" in done.stderr


def parsed(*options: str) -> mounts.Options:
    return mounts.parse({"destination": "/x", "type": "tmpfs", "source": "x",
                         "options": list(options)}, "x")  # fmt: skip


def test_mount_options():
    found = parsed("ro", "nosuid", "rw", "noatime", "size=5", "rslave", "rro")
    assert (found.set & 1, found.clear & 1) == (1, 0)
    assert found.set & 2 and found.set & 0x10 and found.set_below == 1
    assert found.data == ["size=5"] and found.propagation == [(1 << 19, True)]
    assert parsed("rbind").recursive and not parsed("bind").recursive
    assert parsed("relatime", "rrelatime").clear_below == 0x70


@pytest.mark.parametrize("text, number", [
    ("TERM", 15), ("SIGKILL", 9), ("9", 9), ("sigusr1", 10), ("RTMIN+3", 37), ("RTMAX-1", 63),
    ("RTMIN", 34), ("SIGRTMAX", 64),
])  # fmt: skip
def test_signals(text, number):
    assert signals.number(text) == number


@pytest.mark.parametrize("text", ["", "65", "-1", "NOPE", "RTMIN+31", "١", "9 ", "SIG"])
def test_signals_that_are_none(text):
    with pytest.raises(Exception, match="unknown signal"):
        signals.number(text)


def test_ids():
    assert container.check_id("a_b+c-d.e") and container.check_id("x" * 255)


def test_the_trampolines_code_is_what_the_assembler_makes_of_it():
    """The listing beside each instruction, and not only its bytes, is right."""
    for code, _, _ in trampoline.MACHINES.values():
        assert (len(code) + elf.HEADERS) % 8 == 0


def test_a_label_for_mounts_says_nothing_without_selinux(bundle):
    """To runc it is an error there, from mount(2)."""
    if "selinuxfs" in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has SELinux")
    if bundle.runtime == "runc":
        pytest.skip("runc hands it to mount(2) all the same, which refuses it")
    bundle.linux["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2"
    done = bundle.run("true")
    assert done.returncode == 0, done.stderr
    if bundle.runtime == "minirun-oci":
        assert "linux.mountLabel: without effect" in done.stderr


def test_a_label_for_mounts_is_refused_where_there_is_selinux(monkeypatch):
    monkeypatch.setattr("builtins.open", lambda path: io.StringIO("nodev\tselinuxfs\n"))
    with pytest.raises(SpecError, match="SELinux"):
        spec.check_label({"linux": {"mountLabel": "x"}})
