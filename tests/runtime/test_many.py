"""Many containers, at once and one after the other: nothing of them is left, nothing grows (RL13).

Whether the last ones cost more than the first is judged by processor time, and by medians: other
work on the machine makes a test wait, but hardly makes it compute. File descriptors are in no list
of their own: they end with the processes that have them, and none of those may be left.
"""

import os
import resource
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.residue import keyrings
from tests.runtime.bundles import Bundle

SAMPLE = 100  # of the first and of the last
SLOWER = 1.3


def costs(action: Callable[[object], object], things: Iterable[object]) -> list[float]:
    """Call ``action`` with each thing: the seconds of processor time that its commands took."""
    found, before = [], children_time()
    for thing in things:
        action(thing)
        found.append((now := children_time()) - before)
        before = now
    return found


def children_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check_growth(what: str, found: list[float]) -> None:
    """The last of them were as cheap as the first. Few tell nothing."""
    if len(found) < 5 * SAMPLE:
        return
    first, last = statistics.median(found[:SAMPLE]), statistics.median(found[-SAMPLE:])
    print(f"{what}: {first * 1000:.1f} ms at first, {last * 1000:.1f} ms at last")
    assert last <= first * SLOWER, what


@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_all_alive_at_once(bundle: Bundle, tidy, count):
    """RL11: created and started one after the other, then all killed, then all deleted."""
    names = [f"{bundle.id}-{number}" for number in range(count)]

    def make(name: object) -> None:
        bundle.id = str(name)
        bundle.create()
        bundle.oci("start", name, check=True)

    def delete(name: object) -> None:
        bundle.id = str(name)
        bundle.wait_for("stopped")
        bundle.oci("delete", name, check=True)

    bundle.process["args"] = ["sleep", "3600"]
    made = costs(make, names)
    listed = bundle.oci("list", check=True).stdout
    assert listed.count(" running ") == count
    killed = costs(lambda name: bundle.oci("kill", name, "KILL", check=True), names)
    deleted = costs(delete, names)
    assert bundle.listed() == []
    for what, found in (("create and start", made), ("kill", killed), ("delete", deleted)):
        check_growth(what, found)


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_one_run_after_the_other(bundle: Bundle, tidy, count):
    """RL13: no mount, cgroup, keyring, process or file more, and none costs more."""
    bundle.run("true")
    before = sorted(bundle.directory.rglob("*"))

    def run(_: object) -> None:
        assert bundle.oci("run", bundle.id).returncode == 0

    found = costs(run, range(count))
    assert sorted(bundle.directory.rglob("*")) == before
    check_growth("run", found)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_execs_in_one(bundle: Bundle, count):
    """RL04, RL13: the container is afterwards what it was after one of them."""
    bundle.create("sleep", "3600")
    bundle.oci("start", bundle.id, check=True)
    pid = bundle.pid()

    def execute(_: object) -> None:
        bundle.oci("exec", bundle.id, "true", check=True)

    def count_keyrings() -> int:
        return sum(f"_ses.{bundle.id}" in ring for ring in keyrings())

    keyrings_of_init = count_keyrings()  # that of an exec goes when the kernel finds the time

    def seen() -> dict[str, object]:
        return {
            "fds": sorted(os.listdir(f"/proc/{pid}/fd")),
            "mounts": Path(f"/proc/{pid}/mountinfo").read_text(),
            "processes": bundle.oci("ps", "-f", "json", bundle.id, check=True).stdout,
            "keyrings": count_keyrings(),
            "state": bundle.oci("state", bundle.id, check=True).stdout,
            "files": sorted(bundle.directory.rglob("*")),
        }

    execute(None)
    before = seen() | {"keyrings": keyrings_of_init}
    found = costs(execute, range(count))
    assert wait_for_same(seen, before) == before
    check_growth("exec", found)


def wait_for_same(seen: Callable[[], dict], before: dict) -> dict:
    """Keyrings and zombies go a moment after the processes that had them."""
    for _ in range(50):
        if (now := seen()) == before:
            break
    return now
