"""The values of flags, as Docker understands them."""

import doctest

import pytest

from minirun.engine import table, values
from minirun.errors import UsageError


def test_the_examples_in_the_docstrings():
    for module in (values, table):
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("32", 32),
        ("32b", 32),
        ("32k", 32 << 10),
        ("32KB", 32 << 10),
        ("32kib", 32 << 10),
        ("1.5m", 3 << 19),
        ("2G", 2 << 30),
        ("1t", 1 << 40),
        ("0", 0),
        ("64 MiB", 64 << 20),
    ],
)
def test_sizes(text, count):
    assert values.size(text) == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "-1",
        "+1m",
        "1x",
        "1mm",
        "1.2.3g",
        "1e3",
        "0x10",
        "１m",
        "99999999p",
        "1ib",
        "nan",
        "inf",
        ".",
        "1 2m",
    ],
)
def test_what_is_no_size(text):
    with pytest.raises(UsageError):
        values.size(text)


@pytest.mark.parametrize("text", ["", "-1", "x", "nan", "inf", "1e9", "99999999"])
def test_what_is_no_number_of_cpus(text):
    with pytest.raises(UsageError):
        values.cpus(text)


def test_whole_numbers():
    assert [values.integer(t, values.ANY, "-x") for t in ("-1", "0", "2048")] == [-1, 0, 2048]
    for text in ("", "-", "-2", "--1", "1.5", "١", "+1", "9" * 30):
        with pytest.raises(UsageError):
            values.integer(text, values.ANY, "-x")
    with pytest.raises(UsageError, match="-x 8: between 1 and 7"):
        values.integer("8", range(1, 8), "-x")


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("nofile=1024", ("RLIMIT_NOFILE", 1024, 1024)),
        ("nofile=1024:2048", ("RLIMIT_NOFILE", 1024, 2048)),
        ("memlock=-1:-1", ("RLIMIT_MEMLOCK", 2**64 - 1, 2**64 - 1)),
        ("CORE=0:unlimited", ("RLIMIT_CORE", 0, 2**64 - 1)),
    ],
)
def test_ulimits(text, limits):
    assert tuple(values.ulimit(text).values()) == limits


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile=", "nofile=x", "nope=1", "nofile=2:1", "nofile=1:2:3", "core=-2"]
)
def test_what_is_no_ulimit(text):
    with pytest.raises(UsageError):
        values.ulimit(text)


@pytest.mark.parametrize("text", ["", "dev/x", "/dev/x:y", "/x:/y:rwx", "/a:/b:r:w", "/a:/b:rr"])
def test_what_is_no_device(text):
    with pytest.raises(UsageError):
        values.device(text)


@pytest.mark.parametrize("text", ["", "c", "d 1:1 r", "c 1:1", "c 1 r", "c x:1 r", "c 1:1 rx"])
def test_what_is_no_device_rule(text):
    with pytest.raises(UsageError):
        values.device_rule(text)


@pytest.mark.parametrize("text", ["a", "1-", "-1", "2-1", "0,,1", "0-3-4"])
def test_what_is_no_list_of_processors(text):
    assert values.numbers("0-3,7", "-x") == "0-3,7"
    with pytest.raises(UsageError):
        values.numbers(text, "-x")


@pytest.mark.parametrize("text", ["a", "web-1", "a.b.c", "x" * 64])
def test_hostnames(text):
    assert values.hostname(text) == text


@pytest.mark.parametrize("text", ["", ".", "a..b", "-a", "a b", "a/b", "ä", "a\n", "x" * 65])
def test_what_is_no_hostname(text):
    with pytest.raises(UsageError):
        values.hostname(text)
