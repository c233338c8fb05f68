"""The measuring itself: turns, what a failure looks like, what is counted."""

import sys

import pytest

from tests.bench.measure import Contender, interleave, measure, table
from tests.components import require


@pytest.fixture(autouse=True)
def gnu_time():
    require("time")


def test_contenders_take_turns_after_one_warm_up_each():
    order = []
    both = [Contender(name, ["true"], lambda name=name: order.append(name)) for name in "AB"]
    results = interleave(both, 2)
    assert order == ["A", "B"] * 3
    assert [len(result.samples) for result in results] == [2, 2]


def test_what_fails_has_a_reason_and_no_time():
    failing = Contender("fails", ["sh", "-c", "echo 'no | space'; exit 3"])
    results = interleave([Contender("works", ["true"]), failing, Contender("lacks", ["/no"])], 1)
    text = table("title", results)
    assert "| fails | failed: no ¦ space |" in text
    assert "| lacks | not installed |" in text
    assert "| 1.00 |" in text


def test_memory_and_processor_time_are_those_of_the_command_and_its_children():
    code = "import os; os.fork() and os.wait() or print(len(bytearray(100_000_000)))"
    busy = measure([sys.executable, "-SIc", code])
    idle = measure(["sleep", "0.3"])
    assert 100e6 < busy.peak < 150e6
    assert busy.cpu > idle.cpu
    assert idle.peak < 5e6  # less than the Python that started it
    assert idle.wall > 0.3
