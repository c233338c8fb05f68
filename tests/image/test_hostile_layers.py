"""IM01-IM09, IM33: no layer reaches anything outside its root, however it tries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirun.errors import LayerError
from minirun.image import flatten
from tests.image import hostile
from tests.image.hostile import CONTAINED, REFUSED, Attack
from tests.image.trees import Picture, picture


class Field:
    """A root two directories deep, and a canary beside it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.canary = top / "canary"
        self.canary.mkdir()
        (self.canary / "file").write_text("the canary")
        (top / "a").mkdir()
        self.root = top / "a" / "b"

    def layers(self, attack: Attack) -> list[str]:
        paths = []
        for n, data in enumerate(attack.layers):
            path = self.top / f"{n}.tar"
            path.write_bytes(data)
            paths.append(str(path))
        return paths


def canary_of(field: Field) -> Picture:
    return picture(field.canary, inodes=True)


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path)


CANARY = "/CANARY"  # stands for the canary's path, which is known only when a test runs
ATTACKS = hostile.attacks(CANARY)


@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=[attack.name for attack in ATTACKS])
def test_nothing_gets_out(field: Field, number: int) -> None:
    attack = hostile.attacks(str(field.canary))[number]
    before = canary_of(field)
    beside = sorted(os.listdir(field.top / "a"))
    paths = field.layers(attack)
    try:
        flatten.flatten(paths, str(field.root))
        verdict = CONTAINED
    except LayerError as error:
        verdict = REFUSED
        assert "\n" not in error.message and "\x1b" not in error.message
    assert canary_of(field) == before
    assert verdict == attack.verdict
    expected = beside if verdict == REFUSED else [*beside, "b"]
    assert sorted(os.listdir(field.top / "a")) == sorted(expected)
    if verdict == CONTAINED:
        assert not field.root.is_symlink()
        assert not any(".minirun" in name for name in os.listdir(field.root))


@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=[attack.name for attack in ATTACKS])
def test_a_refusal_leaves_a_filled_directory_as_it_was(field: Field, number: int) -> None:
    """The same into a directory that holds a link to the canary already."""
    attack = hostile.attacks(str(field.canary))[number]
    field.root.mkdir()
    (field.root / "s").symlink_to(field.canary)
    (field.root / "keep").write_text("kept")
    before, inside = canary_of(field), picture(field.root, inodes=True)
    try:
        flatten.flatten(field.layers(attack), str(field.root))
    except LayerError:
        assert picture(field.root, inodes=True) == inside
    assert canary_of(field) == before


def test_what_is_beside_the_root_has_no_part_in_it(field: Field) -> None:
    """IM01: a name that begins like the root's is no way into another directory."""
    (field.top / "a" / "b2").mkdir()
    with pytest.raises(LayerError, match="leads out of the root"):
        flatten.flatten(
            field.layers(Attack("", "", (hostile.tar(hostile.file("../b2/x")),))), str(field.root)
        )
    assert os.listdir(field.top / "a" / "b2") == []
