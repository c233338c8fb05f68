"""The log of a container: what the monitor writes is what ``logs`` reads, whatever it was."""

import doctest
import os
import random

import pytest

from minirun.engine import logfile, logs, restart
from tests.waiting import wait_for


@pytest.fixture
def log(tmp_path):
    """A log of small files, as the monitor writes it."""
    return logfile.Log(str(tmp_path / "log"), 100, 3)


def texts(records):
    return [data for _, _, data in records]


def reader(log):
    return logs.Log(log.path)


def test_the_examples_in_the_docstrings():
    assert all(doctest.testmod(module).failed == 0 for module in (logs, restart))


def test_any_bytes_come_back_as_they_were_in_order(tmp_path):
    dice = random.Random(1)
    log = logfile.Log(str(tmp_path / "log"))
    written = [
        (dice.choice((b"o", b"e")), dice.randbytes(dice.choice((1, 10, 5000)))) for _ in range(200)
    ]
    for stream, data in written:
        log.write(stream, data)
    assert [(stream, data) for _, stream, data in reader(log).read()] == written


def test_rl07_the_oldest_goes_and_no_record_is_cut(log, tmp_path):
    for number in range(100):
        log.write(b"o", b"line %d\n" % number)
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    assert all(path.stat().st_size < 100 + 50 for path in tmp_path.iterdir())
    kept = texts(reader(log).read())
    assert kept == [b"line %d\n" % n for n in range(100 - len(kept), 100)]
    assert len(kept) > 6


def test_rl07_who_follows_loses_nothing_when_files_change_their_names(log):
    follower, seen = reader(log), []
    for number in range(60):
        log.write(b"o", b"%d\n" % number)
        if number % 5 == 0:  # several files may have begun since
            seen += texts(follower.read())
    seen += texts(follower.read())
    assert seen == [b"%d\n" % number for number in range(60)]


@pytest.mark.parametrize(("written", "lines", "last"), [
    ([b"a\nb\nc\n"], 2, b"b\nc\n"),
    ([b"a\nb\n", b"c"], 2, b"b\nc"),
    ([b"a\n", b"b", b"c\n"], 1, b"bc\n"),
    ([b"a\nb\n"], 5, b"a\nb\n"),
    ([b"a\nb\n"], 0, b""),
    ([b"\n\n\n"], 2, b"\n\n"),
    ([], 3, b""),
    ([b"x\na", b"b"], 1, b"ab"),
])  # fmt: skip
def test_the_last_lines(tmp_path, written, lines, last):
    log = logfile.Log(str(tmp_path / "log"))
    for data in written:
        log.write(b"o", data)
    assert b"".join(texts(reader(log).tail(lines, lambda record: True))) == last


def test_after_the_last_lines_comes_what_is_new(log):
    log.write(b"o", b"a\nb\n")
    follower = reader(log)
    assert texts(follower.tail(1, lambda record: True)) == [b"b\n"]
    log.write(b"o", b"c\n")
    assert texts(follower.read()) == [b"c\n"]


def test_a_record_that_is_not_whole_yet_is_waited_for(tmp_path):
    path = tmp_path / "log"
    whole = b"17 o 6\nhello\n23 e 4\nyou\n"
    follower, seen = logs.Log(str(path)), []
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        seen += follower.read()
    assert seen == [(17, b"o", b"hello\n"), (23, b"e", b"you\n")]


def test_what_a_power_cut_spoilt_does_not_hide_the_rest(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"\0\0\0\0junk\n17 x 6\nhello\n23 e 4\nyou\n")
    assert list(logs.Log(str(path)).read()) == [(23, b"e", b"you\n")]


def test_a_full_disk_leaves_no_half_record(tmp_path, monkeypatch):
    log = logfile.Log(str(tmp_path / "log"))
    log.write(b"o", b"before\n")
    full = os.open("/dev/full", os.O_WRONLY)
    real, log._fd = log._fd, full
    monkeypatch.setattr(os, "ftruncate", lambda fd, length: None)
    with pytest.raises(OSError, match="No space"):
        log.write(b"o", b"lost\n")
    log._fd = real
    log.write(b"o", b"after\n")
    assert texts(reader(log).read()) == [b"before\n", b"after\n"]


def test_times_before_lines_that_begin(log, capfdbinary):
    printer = logs.Printer(since=0, until=None, stamps=True)
    printer.show([(0, b"o", b"a\nb"), (10**9, b"o", b"c\n"), (2 * 10**9, b"e", b"x\n")])
    shown = capfdbinary.readouterr()
    zero, two = b"1970-01-01T00:00:00.000000000Z ", b"1970-01-01T00:00:02.000000000Z "
    assert (shown.out, shown.err) == (zero + b"a\n" + zero + b"bc\n", two + b"x\n")


def test_logs_of_a_container_to_the_streams_that_it_used(minirun):
    minirun("run", "--network", "none", "--name", "web", "tiny", "sh", "-c",
            "echo out; sleep 0.1; echo err >&2; printf '\\001\\033[31m'")  # fmt: skip
    done = minirun("logs", "web")
    assert (done.stdout, done.stderr) == ("out\n\x01\x1b[31m", "err\n")
    assert minirun.ok("logs", "-n", "0", "web") == ""
    assert minirun.ok("logs", "--until", "1h", "web") == ""
    assert minirun.ok("logs", "--since", "1h", "-t", "web").count("Z out\n") == 1
    minirun.ok("rm", "web")


def test_logs_f_ends_with_the_container(minirun):
    minirun.ok("run", "-d", "--network", "none", "--name", "web", "tiny", "sh", "-c",
               "for n in 1 2 3; do echo $n; sleep 0.2; done")  # fmt: skip
    assert minirun.ok("logs", "-f", "web") == "1\n2\n3\n"
    wait_for(lambda: minirun("rm", "web").returncode == 0)


def test_no_log_where_none_is_wanted(minirun):
    minirun.ok("run", "--log-driver", "none", "--network", "none", "--name", "web", "tiny",
               "echo", "seen")  # fmt: skip
    refused = minirun("logs", "web")
    assert refused.returncode == 125 and "--log-driver none" in refused.stderr
    minirun.ok("rm", "web")
