"""Records, names, and who cleans up: through real processes and real locks."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from minirun.engine.container import check_name
from minirun.engine.containers import Containers, wait_for_runtime
from minirun.engine.paths import Paths
from minirun.errors import NotFound, StateError, UsageError

HOSTILE = [
    "../x",
    ".",
    "..",
    "a/b",
    "-x",
    "a b",
    "a\n",
    "x" * 300,
    "",
    "a\0b",
    "ä",
    "a:b",
    "~",
    "*",
    "_x",
]


@pytest.fixture
def containers(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    paths = Paths(str(tmp_path / "root"))
    paths.make()
    return Containers(paths)


@pytest.mark.parametrize("text", HOSTILE)
def test_rt37_names_that_are_paths_or_worse(containers, text):
    for action in (
        lambda: containers.claim(text, {}),
        lambda: containers.find(text),
        lambda: check_name(text),
    ):
        with pytest.raises(UsageError):
            action()
    assert containers.all() == []


def test_a_claim_is_a_record_a_lock_and_a_name(containers):
    container = containers.claim("web", {"image": "tiny"})
    record = json.loads(Path(container.directory, "container.json").read_text())
    assert record["name"] == "web" and record["image"] == "tiny" and record["id"] == container.id
    assert len(container.id) == 64
    assert containers.is_live(container)
    for text in ("web", container.id, container.id[:12], container.id[:3]):
        assert containers.find(text).id == container.id
    containers.remove(container)
    assert containers.all() == [] and not containers.is_live(container)
    with pytest.raises(NotFound):
        containers.find("web")
    assert os.listdir(containers.paths.names) == []


def test_modes_keep_other_users_out(containers):
    container = containers.claim(None, {})
    for path in (containers.paths.lib, containers.paths.run, container.directory):
        assert os.stat(path).st_mode & 0o77 == 0


def test_names_are_unique_and_a_taken_one_names_its_owner(containers):
    first = containers.claim("web", {})
    with pytest.raises(StateError) as caught:
        containers.claim("web", {})
    assert first.id[:12] in caught.value.message and "rm web" in caught.value.hint
    assert len(containers.all()) == 1  # the second left nothing
    containers.remove(first)
    containers.claim("web", {})


def test_a_name_whose_container_is_gone_is_free(containers):
    os.symlink("0" * 64, f"{containers.paths.names}/web")
    assert containers.claim("web", {}).name == "web"


def test_many_without_a_name_at_once_all_get_one(containers):
    names = []
    threads = [
        threading.Thread(target=lambda: names.append(containers.claim(None, {}).name))
        for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 30
    assert all("_" in name for name in names)


def test_an_id_that_begins_like_two_is_refused(containers):
    for digit in "01":
        os.mkdir(f"{containers.paths.containers}/ab{digit}{'0' * 61}")
    with pytest.raises(UsageError, match="multiple IDs found with provided prefix: ab"):
        containers.find("ab")


def test_a_damaged_record_does_not_hide_the_others(containers):
    good, bad = containers.claim("good", {}), containers.claim("bad", {})
    Path(bad.directory, "container.json").write_text('{"half')
    assert {c.id for c in containers.all()} == {good.id, bad.id}
    assert containers.find(bad.id).status == "damaged"


def test_a_damaged_state_is_a_damaged_container(containers):
    container = containers.claim("web", {})
    for text in ('{"half', "[]", '"text"', "[" * 100000):
        Path(container.directory, "state.json").write_text(text)
        assert containers.find("web").status == "damaged"


def test_who_ran_when_the_machine_ended_runs_no_more(containers):
    """The run directory is wiped by a restart of the machine: nobody attends to anything."""
    container = containers.claim("web", {})
    container.save_state(status="running", pid=1)
    assert containers.find("web").status == "running"
    os.unlink(f"{containers.paths.live}/{container.id}")
    found = containers.find("web")
    assert (found.status, found.state["exitCode"], found.is_up) == ("exited", 255, False)


def test_two_who_change_a_record_both_do(containers):
    container = containers.claim("web", {"image": "tiny"})
    containers.find("web").save(labels={"a": "1"})
    container.save(name="other")
    record = containers.find(container.id).record
    assert (record["labels"], record["name"], record["image"]) == ({"a": "1"}, "other", "tiny")


def in_a_process_that_dies(action):
    """Do it in a child that ends as by kill -9: nothing of Python's is undone."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(9)
    os.waitpid(child, 0)


def test_cr01_a_dead_owner_is_found_and_a_living_one_left_alone(containers):
    mine = containers.claim("mine", {})
    in_a_process_that_dies(lambda: containers.claim("orphan", {"autoRemove": True}))
    settled = []

    def settle(container):
        settled.append(container.name)
        containers.remove(container)

    containers.sweep(settle, pytest.fail)
    assert settled == ["orphan"]
    assert [c.id for c in containers.all()] == [mine.id]
    containers.sweep(settle, pytest.fail)
    assert settled == ["orphan"]


def test_cr01_killed_before_the_record_was_written(containers):
    in_a_process_that_dies(lambda: containers._lock("f" * 64, os.O_CREAT))
    containers.sweep(containers.remove, pytest.fail)
    assert os.listdir(containers.paths.live) == []


def test_what_cannot_be_cleaned_up_is_told_and_tried_again(containers):
    in_a_process_that_dies(lambda: containers.claim("orphan", {}))
    told = []

    def fail(_):
        raise StateError("no")

    containers.sweep(fail, told.append)
    assert len(told) == 1 and "no" in told[0]
    containers.sweep(containers.remove, pytest.fail)
    assert containers.all() == []


def test_only_one_sweeps(containers):
    in_a_process_that_dies(lambda: containers.claim("orphan", {}))
    ran = []

    def slow(container):
        ran.append(container.id)
        time.sleep(0.2)
        containers.remove(container)

    threads = [
        threading.Thread(target=containers.sweep, args=(slow, pytest.fail)) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == 1


def test_a_runtime_that_still_starts_is_ended_again_and_again(containers):
    """After a first delete, which finds nothing, the runtime still makes its container."""
    container = containers.claim("web", {})
    fd = container.lock_runtime()
    os.set_inheritable(fd, True)
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    os.close(fd)
    calls = []

    def end():
        calls.append(time.monotonic())
        if len(calls) == 3:
            os.kill(pid, 9)
            os.waitpid(pid, 0)

    wait_for_runtime(container.directory, end)
    assert len(calls) == 3
