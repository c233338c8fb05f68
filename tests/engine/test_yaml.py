"""The YAML that programs write; what is beyond it is refused."""

import doctest
import json

import pytest

from minirun.engine import yaml

# As nvidia-ctk writes its file: sequences are not indented further than their key.
NVIDIA = """\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/dri/card1
      hostPath: /dev/dri/card1
    hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-ctk
      args:
      - nvidia-ctk
      - hook
      - --link
      - ../card1::/dev/dri/by-path/pci-0000:01:00.0-card
- name: all
  containerEdits: {}
containerEdits:
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  mounts:
  - hostPath: /usr/lib/libcuda.so.535
    containerPath: /usr/lib/libcuda.so.535
    options:
    - ro
    - nosuid
"""


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(yaml).failed == 0


def test_what_nvidias_toolkit_writes():
    document = yaml.loads(NVIDIA)
    first, last = document["devices"]
    assert document["cdiVersion"] == "0.5.0" and first["name"] == "0"
    edits = first["containerEdits"]
    assert edits["deviceNodes"][1] == {"path": "/dev/dri/card1", "hostPath": "/dev/dri/card1"}
    assert edits["hooks"][0]["args"][2:] == [
        "--link", "../card1::/dev/dri/by-path/pci-0000:01:00.0-card",
    ]  # fmt: skip
    assert last == {"name": "all", "containerEdits": {}}
    assert document["containerEdits"]["mounts"][0]["options"] == ["ro", "nosuid"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1", {"a": 1}),
        ("a:\nb:\n", {"a": None, "b": None}),
        ("a:\n  b: x y\n  c: -1\nd: true # yes\n", {"a": {"b": "x y", "c": -1}, "d": True}),
        ("- 1\n- a\n-\n  - 2\n- - 3\n  - 4\n", [1, "a", [2], [3, 4]]),
        ("# top\n\na: # nothing\n  - x\n", {"a": ["x"]}),
        ("'a: b': \"c: #d\"\n", {"a: b": "c: #d"}),
        ("a: 'it''s'\n", {"a": "it's"}),
        ("a: b#c\nd: http://x:1/y\n", {"a": "b#c", "d": "http://x:1/y"}),
        ("a: 0o17\nb: 0x10\nc: 007\n", {"a": 15, "b": 16, "c": "007"}),
        ("- a: 1\n  b: 2\n- c: 3\n", [{"a": 1, "b": 2}, {"c": 3}]),
        ("a: []\n", {"a": []}),
    ],
)
def test_simple_documents(text, value):
    assert yaml.loads(text) == value


@pytest.mark.parametrize("text", [
    "a: &x 1", "a: *x", "a: !tag 1", "a: |\n  text", "a: >\n  text", "a: [1, 2]", "a: {b: 1}",
    "a: 1\n  b: 2", "a:\n    b: 1\n  c: 2", "a: 1\na: 2", "a: 'x", 'a: "x', "a: 'x' y", "\ta: 1",
    "a: b: c", "a: 1\nb", "? a\n: b", "- " * 200 + "x", "a\nb",
])  # fmt: skip
def test_what_is_refused(text):
    with pytest.raises(ValueError, match=r"line \d"):
        yaml.loads(text)


def test_json_strings_in_quotes():
    for string in ("a\tb", 'say "x"', "ä\u2028", "\\"):
        assert yaml.loads(f"a: {json.dumps(string)}") == {"a": string}
