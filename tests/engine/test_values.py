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


def test_counts():
    assert [values.count(text) for text in ("-1", "0", "2048")] == [-1, 0, 2048]
    for text in ("", "-2", "1.5", "١", "9" * 30):
        with pytest.raises(UsageError):
            values.count(text)


@pytest.mark.parametrize("text", ["a", "web-1", "a.b.c", "x" * 64])
def test_hostnames(text):
    assert values.hostname(text) == text


@pytest.mark.parametrize("text", ["", ".", "a..b", "-a", "a b", "a/b", "ä", "a\n", "x" * 65])
def test_what_is_no_hostname(text):
    with pytest.raises(UsageError):
        values.hostname(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/a:/b", ("/a", "/b", ["rbind", "rprivate"])),
        ("./a:/b:ro", ("./a", "/b", ["rbind", "rprivate", "ro"])),
        ("/a:/b:rw,rslave", ("/a", "/b", ["rbind", "rslave"])),
        ("/a:/b:Z,cached", ("/a", "/b", ["rbind", "rprivate"])),
    ],
)
def test_volumes(text, parts):
    assert values.volume(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "/a",
        "data:/b",
        "/a:b",
        "/a:/b:rx",
        "/a:/b:ro,rw",
        "/a:/b:shared,slave",
        "/a:/b\0",
        ":/b",
        "",
    ],
)
def test_what_is_no_volume(text):
    with pytest.raises(UsageError):
        values.volume(text)
