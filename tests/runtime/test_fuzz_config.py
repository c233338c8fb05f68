"""FZ02: whatever stands in config.json ends in a clean error, or is understood.

A config.json in which every field stands is changed in a few random places; then all that decides
before anything is made has to take it, or to refuse it with a SpecError. The same is done to the
bytes of the document.
"""

import copy
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from minirun import document, idmap
from minirun.errors import Error, SpecError
from minirun.runtime import (
    capabilities,
    cgroup,
    mounts,
    namespaces,
    powers,
    scheduling,
    seccomp,
    spec,
    trampoline,
)
from minirun.runtime.cgroup import devices, v1, v2
from tests.runtime.bundles import bind, default_config

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))  # 600 s are some 300,000
MACHINE = os.uname().machine


def full_config() -> dict:
    """The default one and more: most fields have a value that is understood."""
    config = copy.deepcopy(default_config())
    config["mounts"].append(bind("/srv", "/srv", "ro", "rnosuid", "rslave", "idmap"))
    config["process"] |= {
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
        "user": {"uid": 1, "gid": 2, "additionalGids": [3, 4], "umask": 18},
        "scheduler": {"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_FLAG_RECLAIM"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0-1", "final": "0"},
        "consoleSize": {"height": 25, "width": 80},
    }
    config["hooks"] = {"poststop": [{"path": "/bin/true", "args": ["a"], "env": ["A=b"]}]}
    ids = [{"containerID": 0, "hostID": 1000, "size": 10}]
    config["linux"] |= {
        "namespaces": [*config["linux"]["namespaces"], {"type": "user"}, {"type": "time"}],
        "uidMappings": ids,
        "gidMappings": copy.deepcopy(ids),
        "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 2}},
        "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438}],
        "cgroupsPath": "/a/b",
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [
                    {"index": 0, "value": 7, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            ],
        },
    }  # fmt: skip
    config["linux"]["resources"] |= {
        "memory": {"limit": 1 << 26, "swap": 1 << 27, "reservation": 1 << 25, "swappiness": 1},
        "cpu": {"shares": 100, "quota": 5000, "period": 10000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 10},
        "blockIO": {
            "weight": 100,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 50}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 9}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        "rdma": {"mlx5_1": {"hcaHandles": 1}},
        "unified": {"memory.high": "1000"},
    }
    return config


def places(value: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of everything in a document."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    found = []
    for key in keys:
        found.append((value, key))
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


SCALARS = (
    st.none() | st.booleans() | st.floats() | st.text(max_size=20)
    | st.sampled_from([0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, -(2**63) - 1])
    | st.sampled_from(["", "/", "..", "a\0b", "\ud800", "%s", "a=b", "=", "/proc/self/fd/7",
                       "\x1b[2J", "SCMP_ACT_NOTIFY", "remount", "9999999999", "0-", "CAP_X"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
CHANGES = st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from("=-+"), VALUES), max_size=4)


def change(config: dict, changes: list[tuple[int, str, Any]]) -> dict:
    """Set, remove or add values in places that the numbers choose."""
    for number, how, value in changes:
        found = places(config)
        holder, key = found[number % len(found)]
        if how == "=":
            holder[key] = value
        elif how == "-":
            del holder[key]
        elif isinstance(holder[key], list):
            holder[key].append(value)
        elif isinstance(holder[key], dict):
            holder[key][str(number)] = value
    return config


def decide(config: Any) -> None:
    """All that is decided about a config.json before a process is made."""
    spec.check(config)
    process, settings_of = config["process"], config.get("linux") or {}
    resources = settings_of.get("resources") or {}
    for version in (v1, v2):
        try:
            version.settings(resources)
        except SpecError:
            pass  # one of the two knows no such limit
    devices.v1_settings(resources.get("devices") or [])
    devices.v2_program(resources.get("devices") or [])
    if settings_of.get("cgroupsPath"):
        cgroup.normal_path(settings_of["cgroupsPath"])
    for index, mount in enumerate(config.get("mounts") or []):
        mounts.parse(mount, f"mounts[{index}]")
    namespaces.maps(config)
    for key in ("uidMappings", "gidMappings"):
        idmap.check(settings_of.get(key) or [], key)
    calls = list(powers.calls(process, 40, True, True))
    if settings_of.get("seccomp"):
        program = seccomp.compile(settings_of["seccomp"], MACHINE)
        calls.append(powers.seccomp(program, seccomp.flags(settings_of["seccomp"])))
    if settings_of.get("memoryPolicy"):
        scheduling.memory_policy(settings_of["memoryPolicy"])
    if process.get("scheduler"):
        scheduling._attributes(process["scheduler"])
    for when, text in (process.get("execCPUAffinity") or {}).items():
        if when in ("initial", "final"):
            scheduling.numbers(text or "", when)
    capabilities.granted(process.get("capabilities") or {})
    strings = [os.fsencode(text) + b"\0" for text in process["args"]]
    trampoline.build([*calls, ("execve", strings[0], [*strings, 0])], 9)


def test_the_config_that_is_changed_is_understood():
    decide(full_config())


@settings(max_examples=EXAMPLES, deadline=None)
@given(CHANGES)
def test_changed_configs(changes):
    try:
        decide(change(full_config(), changes))
    except SpecError as error:
        assert error.message and error.message.isprintable() and len(error.message) < 1000


@settings(max_examples=EXAMPLES, deadline=None)
@given(VALUES)
def test_any_document(value):
    try:
        decide(value)
    except SpecError as error:
        assert error.message.isprintable()


TEXT = document.dumps(full_config()).encode()


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 9), st.binary(max_size=4))))
def test_changed_bytes(changes):
    text = bytearray(TEXT)
    for start, length, new in changes:
        text[start : start + length] = new
    try:
        decide(document.loads(bytes(text), "config.json"))
    except Error as error:
        assert isinstance(error, SpecError) and error.message.isprintable()
