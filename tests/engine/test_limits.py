"""Flags become linux.resources, and those that contradict one another are refused."""

import os

import pytest

from minirun.engine import limits
from minirun.errors import UsageError

MEMORY = {"memory": "64m"}
needs_swap = pytest.mark.skipif(
    not limits.has_swap_accounting(), reason="this kernel does not count swap"
)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {}),
        ({"memory": "0"}, {}),
        ({"memory_reservation": "32m"}, {"memory": {"reservation": 32 << 20}}),
        ({"memory_swappiness": "0"}, {"memory": {"swappiness": 0}}),
        ({"memory_swappiness": "-1"}, {}),
        ({"cpus": "1.5"}, {"cpu": {"quota": 150_000, "period": 100_000}}),
        ({"cpu_quota": "5000", "cpu_period": "10000"}, {"cpu": {"quota": 5000, "period": 10000}}),
        ({"cpu_quota": "-1"}, {"cpu": {"quota": -1}}),
        ({"cpu_shares": "512"}, {"cpu": {"shares": 512}}),
        ({"cpu_shares": "0"}, {}),
        ({"cpu_rt_runtime": "950000"}, {"cpu": {"realtimeRuntime": 950000}}),
        ({"cpuset_cpus": "0-1", "cpuset_mems": "0"}, {"cpu": {"cpus": "0-1", "mems": "0"}}),
        ({"pids_limit": "0"}, {"pids": {"limit": -1}}),
        ({"pids_limit": "-1"}, {"pids": {"limit": -1}}),
        ({"pids_limit": "7"}, {"pids": {"limit": 7}}),
        ({"blkio_weight": "300"}, {"blockIO": {"weight": 300}}),
        ({"blkio_weight": "0"}, {}),
    ],
)
def test_what_flags_ask_for(options, wanted):
    assert limits.resources(options) == wanted


@needs_swap
@pytest.mark.parametrize(
    ("swap", "wanted"), [(None, 64 << 20), ("0", 64 << 20), ("128m", 128 << 20), ("-1", -1)]
)
def test_memory_and_swap(swap, wanted):
    found = limits.resources({**MEMORY, "memory_swap": swap})["memory"]
    assert found == {"limit": 64 << 20, "swap": wanted}


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "1m"},
        {"memory_swap": "1g"},
        {**MEMORY, "memory_swap": "32m"},
        {**MEMORY, "memory_reservation": "65m"},
        {"memory_swappiness": "101"},
        {"oom_kill_disable": True},
        {"cpus": "0.001"},
        {"cpus": "1", "cpu_quota": "5000"},
        {"cpu_quota": "999"},
        {"cpu_period": "999"},
        {"cpu_period": "1000001"},
        {"cpuset_cpus": "one"},
        {"pids_limit": "-2"},
        {"blkio_weight": "9"},
        {"blkio_weight": "1001"},
        {"blkio_weight_device": ("/dev/null:300",)},
        {"device_read_bps": ("/no/such/disk:1m",)},
        {"device_read_bps": ("1m",)},
    ],
)
def test_what_is_refused(options):
    with pytest.raises(UsageError):
        limits.resources(options)


def test_rates_of_a_disk():
    disk = next((f"/dev/{name}" for name in os.listdir("/sys/block")
                 if os.path.exists(f"/dev/{name}")), None)  # fmt: skip
    if disk is None:
        pytest.skip("no disk here")
    numbers = os.stat(disk).st_rdev
    ids = {"major": os.major(numbers), "minor": os.minor(numbers)}
    asked = {"device_read_bps": (f"{disk}:1m",), "device_write_iops": (f"{disk}:30",),
             "blkio_weight_device": (f"{disk}:300",)}  # fmt: skip
    assert limits.resources(asked)["blockIO"] == {
        "throttleReadBpsDevice": [{**ids, "rate": 1 << 20}],
        "throttleWriteIOPSDevice": [{**ids, "rate": 30}],
        "weightDevice": [{**ids, "weight": 300}],
    }
    with pytest.raises(UsageError):
        limits.resources({"blkio_weight_device": (f"{disk}:9",)})
