"""run/events: who tells and who hears, in many processes at once."""

import json
import multiprocessing
import os

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
    """Each event is heard once, and each writer's in their order."""
    monkeypatch.setattr(events, "LARGEST", 60_000)  # so that the file steps aside once
    writers = [multiprocessing.Process(target=tell, args=(str(tmp_path), who, 200))
               for who in range(4)]
    for writer in writers:
        writer.start()
    monkeypatch.setattr(events, "PATIENCE", 0)
    heard = [event["Actor"]["ID"] for event in
             events.follow(paths, lambda: not any(writer.is_alive() for writer in writers))]
    for writer in writers:
        writer.join()
    for who in range(4):
        own = [ident for ident in heard if ident.startswith(f"{who}-")]
        assert own == [f"{who}-{number}" for number in range(200)]
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"events", "events.1"}


def test_who_waits_while_the_file_steps_aside_writes_to_the_new_one(paths, monkeypatch):
    events.emit(paths, "container", "start", "before")
    real = events.fcntl.flock

    def step_aside(fd, how):
        monkeypatch.setattr(events.fcntl, "flock", real)
        os.rename(paths.events, paths.events + ".1")
        real(fd, how)

    monkeypatch.setattr(events.fcntl, "flock", step_aside)
    events.emit(paths, "container", "start", "after")
    with open(paths.events, encoding="ascii") as file:
        assert '"after"' in file.read()


def test_a_line_that_was_cut_off_is_left_out(paths):
    events.emit(paths, "image", "pull", "a")
    with open(paths.events, "ab") as file:
        file.write(b'{"Type": "ima\n[1]\n')
    events.emit(paths, "image", "tag", "b")
    assert [event["Action"] for event in known(paths)] == ["pull", "tag"]


def test_where_nothing_can_be_written_nothing_fails(paths, tmp_path):
    (tmp_path / "run").rmdir()
    events.emit(paths, "container", "start", "a")
    assert not (tmp_path / "run").exists()


def test_a_line_is_json_without_the_json_module(paths):
    events.emit(paths, "volume", "create", "é", driver="local")
    with open(paths.events, encoding="ascii") as file:
        assert json.loads(file.read())["Actor"]["ID"] == "é"
