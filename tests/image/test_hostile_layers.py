"""IM01-IM09, IM33: no layer reaches anything outside its root, however it tries."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from minirun.errors import LayerError
from minirun.image import flatten, tree
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


def mutated(attacks: list[Attack], chance: random.Random) -> bytes:
    """Entries of several attacks in a new order, some bytes of them changed, check sums mended."""
    parts = [chance.choice(chance.choice(attacks).layers)[:-1024] for _ in range(3)]
    blocks = [part[at : at + 512] for part in parts for at in range(0, len(part), 512)]
    for _ in range(chance.randrange(2)):
        one, other = chance.randrange(len(blocks)), chance.randrange(len(blocks))
        blocks[one], blocks[other] = blocks[other], blocks[one]
    for n, block in enumerate(blocks):
        if block[257:262] == b"ustar":
            changed = bytearray(block)
            for _ in range(chance.choice([0, 0, 0, 1, 2])):
                at = chance.choice([*range(12), *range(100, 136), 156, *range(157, 169)])
                changed[at] = chance.choice([0, 47, 46, 48, 49, 50, 53, 55, chance.randrange(256)])
            fields = bytes(changed[:148]) + b" " * 8 + bytes(changed[156:])
            blocks[n] = fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]
    return b"".join(blocks) + bytes(1024)


@pytest.mark.parametrize(
    "rounds", [300, pytest.param(50_000, marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_mutations_of_attacks(field: Field, rounds: int) -> None:
    """FZ01: whatever comes of it, the canary sings on, and no error is a surprise."""
    attacks = [
        attack for attack in hostile.attacks(str(field.canary)) if attack.verdict == CONTAINED
    ]
    before = canary_of(field)
    verdicts = {CONTAINED: 0, REFUSED: 0}
    for seed in range(rounds):
        chance = random.Random(seed)
        layers = tuple(mutated(attacks, chance) for _ in range(chance.randrange(1, 3)))
        paths = field.layers(Attack("", "", layers))
        try:
            flatten.flatten(paths, str(field.root))
            verdicts[CONTAINED] += 1
            tree.rmtree(str(field.root))
        except LayerError as error:
            verdicts[REFUSED] += 1
            assert error.message.isprintable()
        assert not os.path.lexists(field.root)
        if seed % 50 == 0:
            assert canary_of(field) == before, f"after seed {seed}"
    assert canary_of(field) == before
    assert min(verdicts.values()) > rounds / 10


def test_what_is_beside_the_root_has_no_part_in_it(field: Field) -> None:
    """IM01: a name that begins like the root's is no way into another directory."""
    (field.top / "a" / "b2").mkdir()
    with pytest.raises(LayerError, match="leads out of the root"):
        flatten.flatten(
            field.layers(Attack("", "", (hostile.tar(hostile.file("../b2/x")),))), str(field.root)
        )
    assert os.listdir(field.top / "a" / "b2") == []
