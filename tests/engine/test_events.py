"""run/events: who tells and who hears, in many processes at once."""

import json
import multiprocessing

import pytest

from minirun.engine import events
from minirun.engine.paths import Paths


@pytest.fixture
def paths(tmp_path) -> Paths:
    (tmp_path / "run").mkdir()
    return Paths(str(tmp_path))


def known(paths: Paths) -> list[dict]:
    return list(events.follow(paths, lambda: True))


def test_what_is_told_is_heard(paths):
    hostile = 'a"b\\\n\x1b[2J\udcff'
    events.emit(paths, "container", "die", "4f", exitCode=137, name=hostile, kind="label")
    (event,) = known(paths)
    assert (event["Type"], event["Action"], event["Actor"]["ID"]) == ("container", "die", "4f")
    assert event["Actor"]["Attributes"] == {"exitCode": "137", "name": hostile, "kind": "label"}
    assert event["timeNano"] // 10**9 == event["time"]


def test_nobody_has_told_anything(paths):
    assert known(paths) == []


def tell(root: str, who: int, count: int) -> None:
    for number in range(count):
        events.emit(Paths(root), "container", "start", f"{who}-{number}")


def test_many_tell_at_once_while_the_file_fills_up(paths, tmp_path, monkeypatch):
    """Each event is heard once at most, a writer's in their order, and the last of all of them."""
    monkeypatch.setattr(events, "LARGEST", 2000)
    writers = [multiprocessing.Process(target=tell, args=(str(tmp_path), who, 200))
               for who in range(4)]
    for writer in writers:
        writer.start()
    monkeypatch.setattr(events, "PATIENCE", 0)
    heard = [event["Actor"]["ID"] for event in
             events.follow(paths, lambda: not any(writer.is_alive() for writer in writers))]
    for writer in writers:
        writer.join()
    assert len(heard) == len(set(heard))
    newest = {}
    for ident in heard:
        who, number = map(int, ident.split("-"))
        assert number > newest.get(who, -1)
        newest[who] = number
    assert set(newest.values()) == {199}
    kept = [tmp_path / "run/events", tmp_path / "run/events.1"]
    assert sum(file.stat().st_size for file in kept) < 5000


def test_a_line_that_was_cut_off_is_left_out(paths):
    events.emit(paths, "image", "pull", "a")
    with open(paths.events, "ab") as file:
        file.write(b'{"Type": "ima\n[1]\n')
    events.emit(paths, "image", "tag", "b")
    assert [event["Action"] for event in known(paths)] == ["pull", "tag"]


def test_where_nothing_can_be_written_nothing_fails(paths, tmp_path):
    (tmp_path / "run").rmdir()
    events.emit(paths, "container", "start", "a")


def test_a_line_is_json_without_the_json_module(paths):
    events.emit(paths, "volume", "create", "é", driver="local")
    with open(paths.events, encoding="ascii") as file:
        assert json.loads(file.read())["Actor"]["ID"] == "é"
