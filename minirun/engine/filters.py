"""Filters of lists: ``-f status=running -f label=team=os``.

    TESTS = {"name": pattern(lambda c: [c.name]), "label": label(lambda c: c.labels)}
    shown = [c for c in containers if keep(words, TESTS)(c)]

A test is made from a filter's value, once, and then asked of each thing. Of two values for one name
either will do (both, for labels); two names must both fit. As in Docker.
"""

from __future__ import annotations

from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Test = Callable[[Any], bool]
    Maker = Callable[[str], Test]

ALL_OF = {"label", "label!"}  # filters of which every value has to fit


def parse(words: Iterable[str]) -> dict[str, list[str]]:
    """
    >>> parse(["status=exited", "label=a=b", "status=created"])
    {'status': ['exited', 'created'], 'label': ['a=b']}
    """
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"filter {printable(word)[:80]!r}: it is NAME=VALUE")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found


def keep(words: Iterable[str], makers: Mapping[str, Maker]) -> Test:
    """Whether a thing fits all filters. Raises UsageError for a filter that there is not."""
    groups = []
    for name, values in parse(words).items():
        if name not in makers:
            hint = "there are: " + ", ".join(makers)
            raise UsageError(f"invalid filter {printable(name)[:80]!r}", hint=hint)
        made = [makers[name](value) for value in values]
        groups.append((all if name in ALL_OF else any, made))
    return lambda thing: all(how(test(thing) for test in made) for how, made in groups)


def pattern(texts: Callable[[Any], Sequence[str]]) -> Maker:
    """A regular expression that is found in one of a thing's ``texts``."""

    def make(value: str) -> Test:
        import re

        try:
            search = re.compile(value).search
        except re.error as error:
            raise UsageError(f"filter {printable(value)[:80]!r}: {error}") from None
        return lambda thing: any(search(text) for text in texts(thing))

    return make


def label(labels: Callable[[Any], Mapping[str, str]], *, without: bool = False) -> Maker:
    """KEY, or KEY=VALUE; ``without``: things that lack it."""

    def make(value: str) -> Test:
        key, equals, wanted = value.partition("=")

        def test(thing: Any) -> bool:
            found = labels(thing).get(key)
            return (found is not None and (not equals or found == wanted)) != without

        return test

    return make


def one_of(name: str, choices: Sequence[str], value_of: Callable[[Any], str]) -> Maker:
    """One of a few words."""

    def make(value: str) -> Test:
        if value not in choices:
            hint = "it is one of: " + ", ".join(choices)
            raise UsageError(f"invalid filter '{name}={printable(value)[:80]}'", hint=hint)
        return lambda thing: value_of(thing) == value

    return make


def truth(name: str, holds: Test) -> Maker:
    """true or false (1 or 0)."""
    from minirun.engine.flags import FALSE, TRUE

    def make(value: str) -> Test:
        if value not in TRUE | FALSE:
            raise UsageError(f"invalid filter '{name}={printable(value)[:80]}'", hint="true, false")
        return lambda thing: holds(thing) == (value in TRUE)

    return make
