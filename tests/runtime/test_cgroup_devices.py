"""Device rules mean the same in the spec, in v1's lists and in v2's program (RT32).

The rules' own words are the judge (``definition``). v1's lists and v2's program are first run by
small models of what the kernel does with them, and then by the kernel.
"""

import errno
import os
import random
import struct

import pytest

from minirun import linux
from minirun.errors import SpecError
from minirun.runtime import cgroup
from minirun.runtime.cgroup import devices

DENY_ALL = {"allow": False, "access": "rwm"}
TYPES = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}


def rule(allow: bool, kind: str, major: int, minor: int, access: str) -> dict:
    found = {"allow": allow, "type": kind, "access": access}
    if major != devices.ANY:
        found["major"] = major
    if minor != devices.ANY:
        found["minor"] = minor
    return found


def definition(rules: list[tuple], kind: str, major: int, minor: int, access: str) -> bool:
    """Each letter of ``access`` is decided by the last rule that speaks of it and the device."""
    for letter in access:
        allowed = True
        for allow, rule_kind, rule_major, rule_minor, letters in rules:
            if (
                rule_kind in ("a", kind)
                and rule_major in (devices.ANY, major)
                and rule_minor in (devices.ANY, minor)
                and letter in letters
            ):
                allowed = allow
        if not allowed:
            return False
    return True


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> int:
    """The eBPF machine, as far as these programs use it."""
    bits = sum(ACCESS[letter] for letter in access)
    context = {0: TYPES[kind] | bits << 16, 4: major, 8: minor}
    registers = dict.fromkeys(range(6), 0)
    code = list(struct.iter_unpack("=BBhi", program))
    counter = 0
    while True:
        operation, operands, offset, immediate = code[counter]
        counter += 1
        target, source = operands & 15, operands >> 4
        if operation == 0x61:
            registers[target] = context[offset]
        elif operation == 0xBC:
            registers[target] = registers[source]
        elif operation == 0xB4:
            registers[target] = immediate
        elif operation == 0x54:
            registers[target] &= immediate
        elif operation == 0x74:
            registers[target] >>= immediate
        elif operation == 0x15:
            counter += offset if registers[target] == immediate else 0
        elif operation == 0x55:
            counter += offset if registers[target] != immediate else 0
        elif operation == 0x45:
            counter += offset if registers[target] & immediate else 0
        elif operation == 0x05:
            counter += offset
        elif operation == 0x95:
            return registers[0]
        else:
            raise AssertionError(f"no such instruction: {operation:#x}")


def v1_allows(
    writes: list[tuple[str, str]], kind: str, major: int, minor: int, access: str
) -> bool:
    """v1's default and its exceptions (security/device_cgroup.c)."""
    default = True
    exceptions = []
    for file, value in writes:
        allow = file == "devices.allow"
        if value == "a":
            default, exceptions = allow, []
        else:
            assert allow != default, "an exception from an exception"
            device_kind, numbers, letters = value.split(" ")
            exceptions.append((device_kind, *numbers.split(":"), letters))
    excepted = {
        letter
        for device_kind, some_major, some_minor, letters in exceptions
        for letter in letters
        if device_kind == kind
        and some_major in ("*", str(major))
        and some_minor in ("*", str(minor))
    }
    if default:
        return not excepted & set(access)
    return set(access) <= excepted


def random_rules(seed: int) -> list[dict]:
    rng = random.Random(seed)
    found = [DENY_ALL] if rng.random() < 0.8 else []
    for _ in range(rng.randint(0, 6)):
        access = "".join(rng.sample("rwm", rng.randint(1, 3)))
        kind = rng.choice("bca")
        number = (devices.ANY, devices.ANY)
        if kind != "a":
            number = rng.choice([devices.ANY, 1, 8]), rng.choice([devices.ANY, 0, 3])
        found.append(rule(rng.random() < 0.6, kind, *number, access))
    return found


USES = [
    (kind, major, minor, access)
    for kind in "bc"
    for major in (1, 5, 8, 300)
    for minor in (0, 3, 70000)
    for access in ("r", "w", "m", "rw", "rwm")
]


@pytest.mark.parametrize("seed", range(150))
def test_the_program_of_v2_decides_as_the_rules_say(seed):
    rules = random_rules(seed)
    program, parsed = devices.v2_program(rules), devices.rules(rules)
    for use in USES:
        assert run(program, *use) == definition(parsed, *use), use


@pytest.mark.parametrize("seed", range(150))
def test_the_lists_of_v1_decide_as_the_rules_say_or_are_refused(seed):
    rules = random_rules(seed)
    parsed = devices.rules(rules)
    try:
        writes = devices.v1_settings(rules)
    except SpecError as error:
        assert "cgroup v1 cannot" in error.message
        return
    for *device, access in USES:
        allowed = v1_allows(writes, *device, access)
        # more nodes may be made than the rules say
        decided = access.replace("m", "") if allowed else access
        assert allowed == (not decided or definition(parsed, *device, decided)), device


def test_what_docker_asks_for_is_no_hole_in_v1():
    """It denies c 10:229 (fuse), of which a node can be made all the same, and not be opened."""
    writes = devices.v1_settings([DENY_ALL, rule(False, "c", 10, 229, "rwm")])
    assert not any(v1_allows(writes, "c", 10, 229, access) for access in ("r", "w", "rw", "rwm"))


def test_v1_lists_the_callers_rules_first_and_in_their_order():
    """Whoever reads devices.list finds them there, whatever we add for /dev."""
    rules = [rule(True, "c", 10, 229, "rwm"), rule(True, "b", 8, 20, "rw")]
    writes = devices.v1_settings([DENY_ALL, *rules])
    assert [value for _, value in writes[:3]] == ["a", "c 10:229 rwm", "b 8:20 rw"]


def test_v1_refuses_an_exception_from_an_exception():
    """The kernel would take it, and go on allowing what it denies."""
    rules = [DENY_ALL, rule(True, "c", 8, devices.ANY, "rwm"), rule(False, "c", 8, 3, "w")]
    with pytest.raises(SpecError, match="8:3"):
        devices.v1_settings(rules)


def test_the_defaults_follow_the_last_deny_all():
    assert devices.rules([]) == []
    assert devices.rules([DENY_ALL]) == [(False, "a", -1, -1, "rwm"), *devices.DEFAULTS]
    denied = rule(False, "c", 1, 8, "rwm")
    program = devices.v2_program([DENY_ALL, denied])
    assert not run(program, "c", 1, 8, "r")
    assert run(program, "c", 1, 9, "r")
    assert devices.v1_settings([denied]) == [("devices.deny", "c 1:8 rwm")]


@pytest.mark.parametrize(
    "broken",
    [
        {"allow": True, "type": "x", "access": "r"},
        {"allow": True, "type": "c", "access": "rx"},
        {"allow": True, "type": "a", "major": 1, "access": "r"},
        {"allow": True, "major": 1, "access": "r"},
    ],
)
def test_what_makes_no_sense_is_refused(broken):
    with pytest.raises(SpecError, match=r"linux\.resources\.devices"):
        devices.rules([broken])


def opened(group: cgroup.Cgroup, path: str, flags: int) -> int:
    """The errno of an open(2) by a process in the cgroup."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            group.enter()
            os.close(os.open(path, flags))
            code = 0
        except OSError as error:
            code = error.errno or 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def group(residue):
    """A cgroup, with rules applied by the test; on hybrid machines it has v1's devices."""
    found = cgroup.prepare(None, f"test-{os.getpid()}-devices", {})
    found.make()
    yield found
    found.kill()
    found.delete()


class TestKernel:
    def test_only_what_is_allowed_opens(self, group, tmp_path):
        zero_read_only = rule(False, "c", 1, 5, "w")
        group.apply({"devices": [DENY_ALL, zero_read_only]})
        memory = tmp_path / "mem"
        os.mknod(memory, 0o20666, os.makedev(1, 1))
        assert opened(group, "/dev/null", os.O_RDWR) == 0
        assert opened(group, "/dev/zero", os.O_RDONLY) == 0
        assert opened(group, "/dev/zero", os.O_RDWR) == errno.EPERM
        assert opened(group, str(memory), os.O_RDONLY) == errno.EPERM

    def test_without_rules_all_is_allowed(self, group):
        group.apply({"devices": []})
        assert opened(group, "/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK) == 0

    def test_the_program_loads_on_v2_beside_v1(self, residue):
        """On a hybrid machine v1's files are used; the program is tried on its v2 tree here."""
        trees = [tree for tree in cgroup.hierarchies() if tree.version == 2]
        if not trees:
            pytest.skip("no cgroup v2 tree is mounted")
        group = cgroup.Cgroup(f"/test-{os.getpid()}-bpf", trees)
        group.make()
        try:
            devices.attach(group.directories()[0], devices.v2_program([DENY_ALL]))
            assert opened(group, "/dev/null", os.O_RDWR) == 0
            assert opened(group, "/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK) == errno.EPERM
        finally:
            group.delete()

    def test_long_programs_are_taken(self, residue):
        trees = [tree for tree in cgroup.hierarchies() if tree.version == 2]
        if not trees:
            pytest.skip("no cgroup v2 tree is mounted")
        group = cgroup.Cgroup(f"/test-{os.getpid()}-long", trees)
        group.make()
        try:
            many = [rule(True, "b", 8, minor, "rw") for minor in range(300)]
            null = rule(True, "c", 1, 3, "rw")
            devices.attach(group.directories()[0], devices.v2_program([DENY_ALL, null, *many]))
            assert opened(group, "/dev/null", os.O_RDWR) == 0
            assert opened(group, "/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK) == errno.EPERM
        finally:
            group.delete()


def test_the_calls_are_told(residue):
    """--explain shows bpf(2) too."""
    trees = [tree for tree in cgroup.hierarchies() if tree.version == 2]
    if not trees:
        pytest.skip("no cgroup v2 tree is mounted")
    group = cgroup.Cgroup(f"/test-{os.getpid()}-told", trees)
    group.make()
    heard: list[str] = []
    linux.observe(lambda name, arguments, result: heard.append(name))
    try:
        devices.attach(group.directories()[0], devices.v2_program([DENY_ALL]))
    finally:
        linux.observe(None)
        group.delete()
    assert heard == ["bpf"] * 3  # load, ask what is attached, attach
