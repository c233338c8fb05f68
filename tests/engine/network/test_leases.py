"""Leases: kept by one at a time, and never half written."""

import os

from minirun.engine.network import leases
from minirun.engine.paths import Paths


def test_nobodys_lease_is_lost_when_many_come_at_once(tmp_path):
    paths, workers, each = Paths(str(tmp_path)), 6, 30
    children = []
    for worker in range(workers):
        children.append(os.fork())
        if children[-1] == 0:
            for number in range(each):
                with leases.Leases(paths) as known:
                    known.add({"container": f"{worker}-{number}", "network": "n", "index": 0})
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * workers
    with leases.Leases(paths) as known:
        assert len({lease["container"] for lease in known.all}) == workers * each


def test_a_file_that_cannot_be_read_is_no_lease(tmp_path):
    paths = Paths(str(tmp_path))
    with leases.Leases(paths) as known:
        known.add({"container": "c", "network": "n", "index": 0})
    with open(known.path, "w") as file:
        file.write('{"leases": [')
    assert leases.read(known.path) == []
