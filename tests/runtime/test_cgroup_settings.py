"""What ``linux.resources`` comes to in the files of cgroup v1 and v2: pure, so needs no root."""

import pytest

from minirun.errors import SpecError
from minirun.runtime.cgroup import v1, v2

MIB = 1 << 20

# section, values → what is written on v1 (without the controller), and on v2
SAME = [
    ({"pids": {"limit": 20}}, [("pids.max", "20")], [("pids.max", "20")]),
    ({"pids": {"limit": -1}}, [("pids.max", "max")], [("pids.max", "max")]),
    ({"pids": {"limit": 0}}, [("pids.max", "0")], [("pids.max", "0")]),
    ({"pids": None}, [], []),
    ({"memory": {}}, [], []),
    (
        {"memory": {"limit": 64 * MIB}},
        [("memory.limit_in_bytes", "67108864")],
        [("memory.max", "67108864")],
    ),
    (
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB}},
        [
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "100663296"),
            ("memory.soft_limit_in_bytes", "33554432"),
        ],
        [
            ("memory.max", "67108864"),
            ("memory.swap.max", "33554432"),
            ("memory.low", "33554432"),
        ],
    ),
    (
        {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
        [
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "67108864"),
        ],
        [("memory.max", "67108864"), ("memory.swap.max", "0")],
    ),
    (
        {"memory": {"limit": 64 * MIB, "swap": -1}},
        [("memory.limit_in_bytes", "67108864"), ("memory.memsw.limit_in_bytes", "-1")],
        [("memory.max", "67108864"), ("memory.swap.max", "max")],
    ),
    (
        {"memory": {"limit": -1}},
        [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
        [("memory.max", "max"), ("memory.swap.max", "max")],
    ),
    (
        {"cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000}},
        [
            ("cpu.shares", "512"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "50000"),
            ("cpu.cfs_burst_us", "1000"),
        ],
        [("cpu.weight", "59"), ("cpu.max", "50000 100000"), ("cpu.max.burst", "1000")],
    ),
    ({"cpu": {"quota": 50000}}, [("cpu.cfs_quota_us", "50000")], [("cpu.max", "50000")]),
    ({"cpu": {"quota": -1}}, [("cpu.cfs_quota_us", "-1")], [("cpu.max", "max")]),
    ({"cpu": {"period": 50000}}, [("cpu.cfs_period_us", "50000")], [("cpu.max", "max 50000")]),
    ({"cpu": {"idle": 1}}, [("cpu.idle", "1")], [("cpu.idle", "1")]),
    (
        {"cpu": {"cpus": "0-1,3", "mems": "0"}},
        [("cpuset.cpus", "0-1,3"), ("cpuset.mems", "0")],
        [("cpuset.cpus", "0-1,3"), ("cpuset.mems", "0")],
    ),
    ({"cpu": {"cpus": "", "shares": 0, "quota": 0, "period": 0}}, [], []),
    (
        {"blockIO": {"weight": 500}},
        [("blkio.weight", "500")],
        [("io.bfq.weight", "default 500")],
    ),
    (
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 10}]}},
        [("blkio.weight_device", "8:0 10")],
        [("io.bfq.weight", "8:0 10")],
    ),
    (
        {
            "blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2000}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 16, "rate": 30}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
            }
        },
        [
            ("blkio.throttle.read_bps_device", "8:0 1000"),
            ("blkio.throttle.write_bps_device", "8:0 2000"),
            ("blkio.throttle.read_iops_device", "8:16 30"),
            ("blkio.throttle.write_iops_device", "8:16 0"),
        ],
        [
            ("io.max", "8:0 rbps=1000"),
            ("io.max", "8:0 wbps=2000"),
            ("io.max", "8:16 riops=30"),
            ("io.max", "8:16 wiops=max"),
        ],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        [
            ("hugetlb.2MB.limit_in_bytes", "4194304"),
            ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304"),
        ],
        [("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
    ),
    (
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 5}}},
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"), ("rdma.max", "mlx4_0 hca_object=5")],
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"), ("rdma.max", "mlx4_0 hca_object=5")],
    ),
]


@pytest.mark.parametrize(("resources", "on_v1", "on_v2"), SAME, ids=lambda value: str(value)[:60])
def test_both_versions(resources, on_v1, on_v2):
    assert [setting[1:] for setting in v1.settings(resources)] == on_v1
    assert [setting[1:] for setting in v2.settings(resources)] == on_v2


@pytest.mark.parametrize(("resources", "on_v1", "on_v2"), SAME, ids=lambda value: str(value)[:60])
def test_the_controller_is_the_first_word_of_the_file(resources, on_v1, on_v2):
    for controller, file, _ in [*v1.settings(resources), *v2.settings(resources)]:
        assert file.startswith(f"{controller}.")


@pytest.mark.parametrize(
    ("resources", "written"),
    [
        (
            {"memory": {"swappiness": 0, "kernelTCP": MIB, "disableOOMKiller": True}},
            [
                ("memory.kmem.tcp.limit_in_bytes", "1048576"),
                ("memory.swappiness", "0"),
                ("memory.oom_control", "1"),
            ],
        ),
        ({"memory": {"disableOOMKiller": False}}, []),
        (
            {"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 950000}},
            [("cpu.rt_period_us", "1000000"), ("cpu.rt_runtime_us", "950000")],
        ),
        (
            {"network": {"classID": 0x100001, "priorities": [{"name": "eth0", "priority": 5}]}},
            [("net_cls.classid", "1048577"), ("net_prio.ifpriomap", "eth0 5")],
        ),
        ({"blockIO": {"leafWeight": 300}}, [("blkio.leaf_weight", "300")]),
    ],
)
def test_what_only_v1_has(resources, written):
    assert [setting[1:] for setting in v1.settings(resources)] == written


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        ({"memory": {"swappiness": 0}}, "memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "memory.disableOOMKiller"),
        ({"memory": {"kernelTCP": MIB}}, "memory.kernelTCP"),
        ({"cpu": {"realtimeRuntime": 1}}, "cpu.realtimeRuntime"),
        ({"network": {"classID": 1}}, "network.classID"),
        ({"blockIO": {"leafWeight": 300}}, "blockIO.leafWeight"),
        ({"memory": {"swap": 5}}, "memory.swap is 5"),
        ({"memory": {"limit": 6, "swap": 5}}, "less than memory.limit"),
        ({"unified": {"../memory.max": "1"}}, "'../memory.max'"),
        ({"unified": {"cgroup.procs": "1"}}, "cgroup.procs"),
        ({"unified": {"memory": "1"}}, "'memory'"),
        ({"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]}, "../2MB"),
    ],
)
def test_what_v2_cannot_do_is_refused_by_name(resources, name):
    with pytest.raises(SpecError, match=name.replace(".", r"\.")):
        v2.settings(resources)


def test_v1_refuses_the_files_of_v2():
    with pytest.raises(SpecError, match=r"unified\.memory\.high"):
        v1.settings({"unified": {"memory.high": "1"}})


def test_unified_files_are_written_as_they_are_line_by_line():
    files = {"memory.high": "1000", "io.max": "8:0 rbps=1\n8:16 rbps=2"}
    assert v2.settings({"unified": files}) == [
        ("memory", "memory.high", "1000"),
        ("io", "io.max", "8:0 rbps=1"),
        ("io", "io.max", "8:16 rbps=2"),
    ]


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000), (10**9, 10000)],
)
def test_shares_become_weights_and_the_default_stays_the_default(shares, weight):
    assert v2.cpu_weight(shares) == weight


def test_weights_grow_with_shares():
    weights = [v2.cpu_weight(shares) for shares in range(2, 262145, 97)]
    assert weights == sorted(weights)


@pytest.mark.parametrize(("weight", "converted"), [(10, 1), (500, 4950), (1000, 10000)])
def test_io_weights_are_stretched(weight, converted):
    assert v2.io_weight(f"default {weight}") == ("io.weight", f"default {converted}")
