"""--explain tells every step in one form, in the order in which they happen."""

import io
import json
import sys

import pytest

from minirun import explain, linux
from minirun.engine import launch
from minirun.image import transfer
from minirun.teach.explain import Narrator

STEPS = [
    launch.find_image,
    launch.claim,
    launch.mount_layers,
    launch.write_bundle,
    launch.start,
    launch.clean_up,
]


@pytest.mark.parametrize("step", [*STEPS, *transfer.STEPS], ids=lambda step: step.__name__)
def test_every_step_says_why_how_and_where_to_read_more(step):
    story = explain.fields(step)
    assert all(story.values()), story
    assert len(story["about"]) < 200


def test_a_step_is_told_with_its_calls_also_when_it_fails(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    def look(path):
        """Look.

        why:  to see
        """
        linux.mount("x\x1b[31m", path, "nope")

    with pytest.raises(OSError):
        Narrator("text").run(look, "/no/such/place")
    told = sys.stderr.getvalue()
    assert told.startswith("● look: Look.\n")
    assert 'mount("x\\x1b[31m", "/no/such/place"' in told and "= -1 (" in told
    assert "    why:   to see\n" in told


def test_run_explain_tells_engine_and_runtime_in_order(minirun):
    minirun.ok("run", "--rm", "tiny", "true")
    done = minirun("run", "--rm", "--explain", "tiny", "echo", "hello")
    assert done.stdout == "hello\n"
    told = [line.split(":")[0][2:] for line in done.stderr.splitlines() if line.startswith("● ")]
    positions = [
        told.index(name) for name in ("find_image", "claim", "mount_layers", "write_bundle")
    ]
    assert positions == [0, 1, 2, 3]
    assert "make_cgroup" in told and "enter_root" in told  # the runtime's own steps, in the middle
    assert told[-1] == "clean_up"


def test_run_explain_json_is_one_object_a_line(minirun):
    done = minirun("run", "--rm", "--explain=json", "tiny", "true")
    steps = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"step", "about", "calls", "why", "shell", "man"} <= set(steps[0])
    assert [step["step"] for step in steps][-1] == "clean_up"
    overlay = next(step for step in steps if step["step"] == "mount_layers")
    assert any("overlay" in call for call in overlay["calls"])
