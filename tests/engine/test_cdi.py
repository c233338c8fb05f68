"""Devices by their CDI files: what those say is given to the container, and nothing else."""

import doctest
import json

import pytest

from minirun import defaults
from minirun.engine import cdi
from minirun.errors import Error, NotFound, UsageError

# Shaped as NVIDIA's toolkit writes it, with devices that every machine has.
FILE = {
    "cdiVersion": "0.5.0",
    "kind": "nvidia.com/gpu",
    "devices": [
        {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/full"}]}},
        {
            "name": "1",
            "containerEdits": {
                "deviceNodes": [
                    {"path": "/dev/gpu1", "hostPath": "/dev/zero", "permissions": "r", "uid": 7}
                ]
            },
        },
        {
            "name": "all",
            "containerEdits": {
                "deviceNodes": [
                    {"path": "/dev/full"}, {"path": "/dev/gpu1", "hostPath": "/dev/zero"}
                ]
            },
        },
    ],
    "containerEdits": {
        "env": ["NVIDIA_VISIBLE_DEVICES=void"],
        "mounts": [
            {"hostPath": "/etc/hostname", "containerPath": "/usr/lib/libcuda.so.1",
             "options": ["ro", "nosuid", "nodev", "bind"]}
        ],
        "hooks": [
            {"hookName": "createContainer", "path": "/usr/bin/nvidia-ctk",
             "args": ["nvidia-ctk", "hook", "update-ldcache", "--folder", "/usr/lib"]}
        ],
        "additionalGids": [44],
    },
}  # fmt: skip


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "nvidia.json").write_text(json.dumps(FILE))
    (tmp_path / "README").write_text("no device")
    return tmp_path


def applied(directory, *names):
    spec = defaults.config()
    cdi.apply(spec, names, [str(directory), "/no/such/directory"])
    return spec


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(cdi).failed == 0


def test_a_device_brings_its_node_and_what_its_file_says_for_all(directory):
    spec = applied(directory, "nvidia.com/gpu=1")
    node = spec["linux"]["devices"][0]
    assert (node["path"], node["major"], node["minor"], node["uid"]) == ("/dev/gpu1", 1, 5, 7)
    assert spec["linux"]["resources"]["devices"][-1] == {
        "allow": True, "type": "c", "major": 1, "minor": 5, "access": "r",
    }  # fmt: skip
    assert "NVIDIA_VISIBLE_DEVICES=void" in spec["process"]["env"]
    assert spec["mounts"][-1] == {
        "destination": "/usr/lib/libcuda.so.1", "type": "bind", "source": "/etc/hostname",
        "options": ["ro", "nosuid", "nodev", "bind"],
    }  # fmt: skip
    hook = spec["hooks"]["createContainer"][0]
    assert hook["path"] == "/usr/bin/nvidia-ctk" and hook["args"][-1] == "/usr/lib"
    assert spec["process"]["user"]["additionalGids"][-1] == 44


def test_two_devices_of_a_file_bring_what_is_common_once(directory):
    spec = applied(directory, "nvidia.com/gpu=0", "nvidia.com/gpu=1")
    assert [node["path"] for node in spec["linux"]["devices"]] == ["/dev/full", "/dev/gpu1"]
    assert len(spec["hooks"]["createContainer"]) == 1


def test_a_later_directory_wins(directory, tmp_path):
    later = tmp_path / "run"
    later.mkdir()
    only = {**FILE, "devices": [{"name": "0", "containerEdits": {"env": ["A=later"]}}]}
    (later / "x.json").write_text(json.dumps(only))
    known = cdi.load([str(directory), str(later)])
    assert known["nvidia.com/gpu=0"][1] == {"env": ["A=later"]}
    assert "nvidia.com/gpu=all" in known


def test_an_unknown_device_is_told_with_those_there_are(directory):
    with pytest.raises(NotFound) as caught:
        applied(directory, "nvidia.com/gpu=9")
    assert "nvidia.com/gpu=all" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", ["all"]),
        ("-1", ["all"]),
        ("1", ["0"]),
        ("2", ["0", "1"]),
        ("count=1", ["0"]),
        ("device=1", ["1"]),
        ('"device=0,1"', ["0", "1"]),
        ('"device=0,1",capabilities=utility', ["0", "1"]),
        ("all,capabilities=utility", ["all"]),
        ("driver=nvidia", ["all"]),
    ],
)
def test_gpus_as_docker_writes_them(directory, text, names):
    known = cdi.load([str(directory)])
    assert cdi.chosen(text, known) == [f"nvidia.com/gpu={name}" for name in names]


@pytest.mark.parametrize("text", ["3", "0", "x", "colour=red", "count=many"])
def test_gpus_that_are_not_there(directory, text):
    with pytest.raises(UsageError):
        cdi.chosen(text, cdi.load([str(directory)]))


def test_a_machine_without_gpus():
    with pytest.raises(NotFound, match="no file in /etc/cdi"):
        cdi.chosen("all", [])


@pytest.mark.parametrize(
    "changed",
    [
        {"cdiVersion": "9.0.0"},
        {"cdiVersion": None},
        {"kind": "gpu"},
        {"kind": "a/../b"},
        {"devices": None},
        {"devices": [{}]},
        {"containerEdits": {"unheardOf": []}},
        {"containerEdits": {"intelRdt": {"closID": "x"}}},
        {"containerEdits": {"env": ["no value"]}},
        {"containerEdits": {"mounts": [{}]}},
        {"containerEdits": {"hooks": [{"hookName": "never", "path": "/x"}]}},
        {"containerEdits": {"deviceNodes": [{"path": "/dev/no-such-device"}]}},
        {"containerEdits": {"deviceNodes": ["/dev/null"]}},
        {"containerEdits": "all"},
    ],
)
def test_a_file_that_is_not_understood_gives_no_device(tmp_path, changed):
    (tmp_path / "x.json").write_text(json.dumps({**FILE, **changed}))
    with pytest.raises(Error):
        applied(tmp_path, "nvidia.com/gpu=0")


@pytest.mark.parametrize("text", ["", "[]", "{", "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n"])
@pytest.mark.parametrize("name", ["x.json", "x.yaml"])
def test_a_file_that_is_neither_json_nor_yaml(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(Error, match=name):
        applied(tmp_path, "nvidia.com/gpu=0")


def test_a_file_as_nvidias_toolkit_writes_it(tmp_path):
    (tmp_path / "nvidia.yaml").write_text(
        "---\ncdiVersion: 0.5.0\ncontainerEdits:\n  env:\n  - A=void\ndevices:\n"
        "- containerEdits:\n    deviceNodes:\n    - path: /dev/full\n  name: \"0\"\n"
        "kind: nvidia.com/gpu\n"
    )
    spec = applied(tmp_path, "nvidia.com/gpu=0")
    assert spec["linux"]["devices"][0]["minor"] == 7 and "A=void" in spec["process"]["env"]
