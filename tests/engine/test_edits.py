"""Each flag is one edit of config.json, and touches nothing else."""

import pytest

from minirun import defaults
from minirun.engine import edits, powers
from minirun.errors import UsageError


@pytest.fixture
def spec():
    return defaults.config()


def applied(**options):
    spec = defaults.config()
    edits.apply(spec, options)
    return spec


def difference(old, new, path=""):
    """The paths at which two documents differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = old.keys() | new.keys()
        return {p for key in keys for p in difference(old.get(key), new.get(key), f"{path}.{key}")}
    return set() if old == new else {path[1:]}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"tty": True}, {"process.terminal", "process.env"}),
        ({"workdir": "/srv"}, {"process.cwd"}),
        ({"env": ("A=1",)}, {"process.env"}),
        ({"hostname": "web"}, {"hostname"}),
        ({"memory": "64m"}, {"linux.resources.memory"}),
        ({"cpus": "0.5"}, {"linux.resources.cpu"}),
        ({"pids_limit": "10"}, {"linux.resources.pids.limit"}),
        ({"read_only": True}, {"root.readonly"}),
        ({"network": ("none",)}, set()),
        ({"network": ("host",)}, {"linux.namespaces"}),
        ({"security_opt": ("no-new-privileges",)}, {"process.noNewPrivileges"}),
        ({"security_opt": ("seccomp=unconfined",)}, {"linux.seccomp"}),
        ({"security_opt": ("apparmor=unconfined", "label=disable")}, set()),
    ],
)
def test_a_flag_changes_what_it_says_and_no_more(options, changed):
    assert difference(applied(), applied(**options)) == changed


def test_hd01_the_default_capabilities_are_eleven_and_none_is_inheritable():
    capabilities = applied()["process"]["capabilities"]
    assert len(defaults.CAPABILITIES) == 11
    assert set(capabilities) == {"bounding", "effective", "permitted"}
    assert all(names == list(defaults.CAPABILITIES) for names in capabilities.values())


def held(**options):
    return applied(**options)["process"]["capabilities"]["bounding"]


def test_capabilities_are_added_and_dropped():
    assert "CAP_NET_ADMIN" in held(cap_add=("net_admin",))
    assert "CAP_CHOWN" not in held(cap_drop=("CAP_CHOWN",))
    assert held(cap_drop=("all",)) == []
    assert held(cap_drop=("ALL",), cap_add=("chown",)) == ["CAP_CHOWN"]
    assert set(held(cap_add=("ALL",))) == set(powers.held_capabilities()) | set(
        defaults.CAPABILITIES
    )
    for name in ("NOPE", "", "CAP_", "chown,kill"):
        with pytest.raises(UsageError):
            held(cap_add=(name,))


def test_the_seccomp_filter_follows_the_capabilities():
    plain, mighty = applied(), applied(cap_add=("SYS_ADMIN",))

    def allowed(spec):
        return {
            n
            for rule in spec["linux"]["seccomp"]["syscalls"]
            if rule["action"] == "SCMP_ACT_ALLOW"
            for n in rule["names"]
        }

    assert "mount" not in allowed(plain) and "mount" in allowed(mighty)


def test_privileged_takes_the_walls_away_but_other_flags_still_count():
    spec = applied(privileged=True)
    assert "seccomp" not in spec["linux"]
    assert spec["linux"]["maskedPaths"] == spec["linux"]["readonlyPaths"] == []
    assert not any("ro" in mount["options"] for mount in spec["mounts"])
    assert held(privileged=True, cap_drop=("ALL",)) == []


def test_a_memory_limit_allows_no_swap():
    memory = applied(memory="64m")["linux"]["resources"]["memory"]
    assert memory["limit"] == 64 << 20
    assert memory.get("swap", 64 << 20) == 64 << 20
    with pytest.raises(UsageError):
        applied(memory="1m")


def test_env_without_a_value_is_ours_if_there_is_one(monkeypatch):
    monkeypatch.setenv("MINE", "value")
    env = applied(env=("MINE", "NOT_THERE_AT_ALL", "B="))["process"]["env"]
    assert "MINE=value" in env and "B=" in env
    assert not any(variable.startswith("NOT_THERE") for variable in env)


@pytest.mark.parametrize("text", ["", "nope", "seccomp", "seccomp=", "no-new-privileges=maybe"])
def test_unknown_security_options(text):
    with pytest.raises(UsageError):
        applied(security_opt=(text,))


def test_hd03_masked_and_read_only_are_the_union_of_docker_and_podman(spec):
    assert {
        "/proc/kcore",
        "/proc/keys",
        "/proc/interrupts",
        "/sys/firmware",
        "/proc/asound",
        "/sys/devices/virtual/powercap",
        "/sys/fs/selinux",
    } <= set(spec["linux"]["maskedPaths"])
    assert set(spec["linux"]["readonlyPaths"]) == {
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    }


def test_hd04_devices_are_denied_first_and_then_nine_allowed(spec):
    rules = spec["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert all(rule["allow"] and rule["major"] in (1, 5, 136) for rule in rules[1:])
    assert len(rules) == 10
