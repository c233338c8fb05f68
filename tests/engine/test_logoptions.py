"""How much of a log is kept."""

import pytest

from minirun.engine import logfile
from minirun.engine.logoptions import size_and_files
from minirun.errors import UsageError


@pytest.mark.parametrize(
    ("driver", "words", "answer"),
    [
        (None, (), (logfile.SIZE, logfile.FILES)),
        ("local", (), (logfile.SIZE, logfile.FILES)),
        ("json-file", ("max-size=10k",), (10240, logfile.FILES)),
        (None, ("max-size=-1", "max-file=1"), (2**63 - 1, 1)),
        ("none", (), (0, 0)),
    ],
)
def test_what_is_kept(driver, words, answer):
    assert size_and_files({"log_driver": driver, "log_opt": words}) == answer


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("syslog", ()),
        ("none", ("max-size=1m",)),
        (None, ("max-size",)),
        (None, ("max-size=0",)),
        (None, ("max-size=x",)),
        (None, ("max-file=0",)),
        (None, ("max-file=1001",)),
        (None, ("tag=x",)),
    ],
)
def test_what_cannot_be_kept(driver, words):
    with pytest.raises(UsageError):
        size_and_files({"log_driver": driver, "log_opt": words})
