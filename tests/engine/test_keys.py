"""--detach-keys: what is typed reaches the container, but for the keys that let go of it."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.engine import keys
from minirun.engine.keys import Keys, parse
from minirun.errors import UsageError


def test_examples():
    assert doctest.testmod(keys).failed == 0


@pytest.mark.parametrize("text, expected", [
    ("ctrl-p,ctrl-q", b"\x10\x11"), ("a", b"a"), ("ctrl-a,a", b"\x01a"), ("ctrl-@", b"\0"),
    ("ctrl-[,ctrl-_", b"\x1b\x1f"), ("ctrl-A", b"\x01"), ("", b""), ("~,.", b"~."),
])
def test_names_of_keys(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-pq", "ab", "ctrl-1", "a,,b", "é"])
def test_what_is_no_key(text):
    with pytest.raises(UsageError):
        parse(text)


@given(st.lists(st.text("pqx").map(str.encode)))
def test_however_the_bytes_come_the_first_time_counts(pieces):
    typed, listener = b"".join(pieces), Keys(b"pq")
    passed = b""
    for piece in pieces:
        passed += listener.feed(piece)
        if listener.pressed:
            break
    before, found, _ = typed.partition(b"pq")
    assert listener.pressed == bool(found)
    assert passed == before if found else typed.startswith(passed)
    assert len(passed) >= len(before) - 1


@given(st.lists(st.binary()))
def test_without_keys_everything_passes(pieces):
    listener = Keys(b"")
    assert b"".join(map(listener.feed, pieces)) == b"".join(pieces)
