"""Filters decide as the runtime spec and libseccomp do, for every number, architecture, argument.

FZ07, RT44. Decisions are read off the compiled programs with a BPF machine (bpf_machine.py) and
compared with those of libseccomp's program; a few are also tried in the kernel.
"""

import ctypes
import errno
import operator
import os
import random
import signal
import sys

import pytest

from minirun import linux
from minirun.errors import SpecError
from minirun.runtime import bpf, schema, seccomp, syscalls
from minirun.runtime.syscalls import ARCHITECTURES, IPC, SOCKETCALL, numbers
from tests.runtime import bpf_machine, libseccomp

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0
ENOSYS = ERRNO | 38
MACHINES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "i686": "SCMP_ARCH_X86",
    "aarch64": "SCMP_ARCH_AARCH64",
    "armv7l": "SCMP_ARCH_ARM",
    "riscv64": "SCMP_ARCH_RISCV64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "mips": "SCMP_ARCH_MIPSEL",
    "mips64": "SCMP_ARCH_MIPSEL64",
    "s390x": "SCMP_ARCH_S390X",
}
BIG_ENDIAN = ("s390x",)  # libseccomp's program for the other byte order is half swapped
OPERATORS = {
    "NE": operator.ne,
    "LT": operator.lt,
    "LE": operator.le,
    "EQ": operator.eq,
    "GE": operator.ge,
    "GT": operator.gt,
}
X86_64, X86, X32 = "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return libseccomp.load()


def profile(*rules: dict, **values: object) -> dict:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules), **values}


def rule(names: str, action: str = "SCMP_ACT_ALLOW", *args: tuple, **values: object) -> dict:
    found: dict = {"names": names.split(), "action": action, **values}
    if args:
        keys = ("index", "op", "value", "valueTwo")
        found["args"] = [dict(zip(keys, argument, strict=False)) for argument in args]
    return found


def decide(program: bytes, architecture: str, name: str, *arguments: int) -> int:
    found = ARCHITECTURES[architecture]
    number = numbers(found)[name]
    return bpf_machine.run(bpf_machine.disassemble(program), found.audit, number, arguments)


class TestActions:
    @pytest.mark.parametrize(
        ("action", "errno", "value"),
        [
            ("SCMP_ACT_KILL", None, 0),
            ("SCMP_ACT_KILL_THREAD", None, 0),
            ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
            ("SCMP_ACT_TRAP", None, 0x00030000),
            ("SCMP_ACT_ERRNO", None, 0x00050001),
            ("SCMP_ACT_ERRNO", 0, 0x00050000),
            ("SCMP_ACT_ERRNO", 4095, 0x00050FFF),
            ("SCMP_ACT_TRACE", None, 0x7FF00001),
            ("SCMP_ACT_TRACE", 7, 0x7FF00007),
            ("SCMP_ACT_NOTIFY", None, 0x7FC00000),
            ("SCMP_ACT_LOG", None, 0x7FFC0000),
            ("SCMP_ACT_ALLOW", None, 0x7FFF0000),
        ],
    )
    def test_each_action_is_the_value_of_the_kernel(self, action, errno, value):
        default = "SCMP_ACT_ALLOW" if action != "SCMP_ACT_ALLOW" else "SCMP_ACT_KILL"
        values = {} if errno is None else {"errnoRet": errno}
        program = seccomp.compile(
            profile(rule("mkdir", action, **values), defaultAction=default), "x86_64"
        )
        assert decide(program, X86_64, "mkdir") == value

    def test_the_default_has_an_errno_of_its_own(self):
        program = seccomp.compile(profile(rule("mkdir"), defaultErrnoRet=99), "x86_64")
        assert decide(program, X86_64, "chdir") == ERRNO | 99

    @pytest.mark.parametrize(
        ("broken", "words"),
        [
            (profile(defaultAction="SCMP_ACT_MAYBE"), "seccomp.defaultAction: .*SCMP_ACT_MAYBE"),
            (profile(defaultAction="SCMP_ACT_NOTIFY"), "defaultAction"),
            (profile(defaultAction="SCMP_ACT_ALLOW", defaultErrnoRet=1), "defaultErrnoRet is 1"),
            (profile(rule("read", errnoRet=1)), "errnoRet is 1"),
            (profile(rule("read", "SCMP_ACT_ERRNO", errnoRet=4096)), r"\[0\].errnoRet: .* 4096"),
            (profile(rule("read write", "SCMP_ACT_NOTIFY")), "write"),
            (profile(rule("read", "SCMP_ACT_LOG", (0, "SCMP_CMP_ISH", 1))), r"args\[0\].op: .*ISH"),
            (profile(rule("read", "SCMP_ACT_ALLOW", (6, "SCMP_CMP_EQ", 1))), r"index: .* 6"),
            (profile(rule("read", "SCMP_ACT_LOG", (0, "SCMP_CMP_EQ", 2**64))), r"args\[0\].value"),
            (profile(rule("")), r"syscalls\[0\].names: is empty"),
            (profile(architectures=["SCMP_ARCH_PDP11"]), r"architectures\[0\]: .*SCMP_ARCH_PDP11"),
            (profile(flags=["SECCOMP_FILTER_FLAG_FAST"]), "FLAG_FAST"),
        ],
    )
    def test_what_makes_no_sense_is_refused_by_name(self, broken, words):
        with pytest.raises(SpecError, match=words):
            schema.SECCOMP(broken, "linux.seccomp")
            seccomp.compile(broken, "x86_64")

    def test_an_unknown_machine_is_refused(self):
        with pytest.raises(SpecError, match="vax"):
            seccomp.compile(profile(), "vax")

    def test_a_rule_that_repeats_the_default_says_nothing(self):
        """As for runc: it is not the first rule of its call, which would win over later ones."""
        rules = rule("read"), rule("read", "SCMP_ACT_ERRNO")
        program = seccomp.compile(profile(*rules, defaultAction="SCMP_ACT_ALLOW"), "x86_64")
        assert decide(program, X86_64, "read") == ERRNO | 1

    def test_of_rules_without_conditions_the_first_counts_and_the_rest_do_not(self):
        rules = (
            rule("read", "SCMP_ACT_TRAP", (0, "SCMP_CMP_EQ", 1)),
            rule("read", "SCMP_ACT_LOG"),
            rule("read", "SCMP_ACT_ALLOW"),
        )
        program = seccomp.compile(profile(*rules), "x86_64")
        assert decide(program, X86_64, "read", 1) == seccomp.ACTIONS["SCMP_ACT_LOG"]

    def test_unknown_names_are_passed_over(self):
        program = seccomp.compile(profile(rule("not_a_call_yet mkdir")), "x86_64")
        assert decide(program, X86_64, "mkdir") == ALLOW


class TestNumbers:
    def test_calls_newer_than_the_profile_do_not_exist(self):
        """RT44: EPERM would end programs that ENOSYS makes fall back on an older call."""
        program = bpf_machine.disassemble(seccomp.compile(profile(rule("openat2")), "x86_64"))
        audit = ARCHITECTURES[X86_64].audit
        assert bpf_machine.run(program, audit, 436) == ERRNO | 1
        assert bpf_machine.run(program, audit, 437) == ALLOW
        assert bpf_machine.run(program, audit, 438) == ENOSYS
        assert bpf_machine.run(program, audit, 0x3FFFFFFF) == ENOSYS

    @pytest.mark.parametrize("default", ["ALLOW", "LOG", "TRACE"])
    def test_a_permissive_default_holds_for_new_calls_too(self, default):
        broad = profile(rule("mkdir", "SCMP_ACT_KILL"), defaultAction=f"SCMP_ACT_{default}")
        program = bpf_machine.disassemble(seccomp.compile(broad, "x86_64"))
        value = seccomp.ACTIONS[f"SCMP_ACT_{default}"] | (default == "TRACE")
        assert bpf_machine.run(program, ARCHITECTURES[X86_64].audit, 999) == value

    def test_arm_has_private_calls_far_above_the_new_ones(self):
        program = seccomp.compile(profile(rule("set_tls openat2")), "armv7l")
        program_lines = bpf_machine.disassemble(program)
        audit = ARCHITECTURES["SCMP_ARCH_ARM"].audit
        assert bpf_machine.run(program_lines, audit, 0xF0005) == ALLOW
        assert bpf_machine.run(program_lines, audit, 500) == ENOSYS

    def test_x32_and_foreign_architectures_are_killed(self):
        """RT44: neither is a way around the filter."""
        program = bpf_machine.disassemble(
            seccomp.compile(profile(rule("read"), architectures=[X86_64, X86]), "x86_64")
        )
        assert bpf_machine.run(program, ARCHITECTURES[X86_64].audit, 0x40000000) == KILL
        assert bpf_machine.run(program, ARCHITECTURES["SCMP_ARCH_ARM"].audit, 0) == KILL
        assert bpf_machine.run(program, ARCHITECTURES[X86].audit, 3) == ALLOW

    @pytest.mark.parametrize(("mux", "calls"), [("socketcall", SOCKETCALL), ("ipc", IPC)])
    def test_multiplexed_calls_are_covered(self, mux, calls):
        """A rule on socket(2) that socketcall(2) went around would be none."""
        for name, number in calls.items():
            deny = profile(rule(name, "SCMP_ACT_ERRNO"), defaultAction="SCMP_ACT_ALLOW")
            program = seccomp.compile({**deny, "architectures": [X86]}, "x86_64")
            assert decide(program, X86, mux, number) == ERRNO | 1
            assert decide(program, X86, mux, number + 1) == ALLOW
            assert decide(program, X86, mux, number | 1 << 32) == ERRNO | 1

    def test_s390_takes_unknown_numbers_for_0(self):
        """There 0 is the way to large numbers, and what is left of one that the kernel lacks."""
        program = bpf_machine.disassemble(
            seccomp.compile(profile(rule("read")), "s390x", "big"), True
        )
        audit = ARCHITECTURES["SCMP_ARCH_S390X"].audit
        assert bpf_machine.run(program, audit, 0, (), True) == ENOSYS
        assert bpf_machine.run(program, audit, 3, (), True) == ALLOW


@pytest.mark.parametrize("length", [1, 254, 255, 256, 257, 1000])
def test_jumps_reach_over_any_distance(length):
    """A conditional jump has eight bits: 255 instructions."""
    far = [(bpf.AND, 0, 0, 1)] * (length - 1) + [(bpf.RETURN, 0, 0, 2)]
    program = [
        (bpf.LOAD, 0, 0, bpf.NUMBER),
        *bpf.branch(bpf.JUMP_EQUAL, 7, [(bpf.RETURN, 0, 0, 1)], far),
    ]
    lines = bpf_machine.disassemble(bpf.assemble(program, False))
    assert (bpf_machine.run(lines, 0, 7), bpf_machine.run(lines, 0, 8)) == (1, 2)


def test_a_program_that_the_kernel_would_not_take_is_refused():
    conditions = [rule("ioctl", "SCMP_ACT_ALLOW", (0, "SCMP_CMP_EQ", n)) for n in range(2000)]
    with pytest.raises(SpecError, match="4096"):
        seccomp.compile(profile(*conditions), "x86_64")


class TestArguments:
    """Each operator at its boundaries, on 64-bit and on 32-bit arguments."""

    @pytest.mark.parametrize("comparison", OPERATORS)
    @pytest.mark.parametrize("value", [0, 1, 40, 2**31, 2**32 - 1, 2**32, 2**40 + 5, 2**64 - 1])
    def test_comparisons(self, comparison, value):
        only = profile(
            rule("ioctl", "SCMP_ACT_ALLOW", (1, f"SCMP_CMP_{comparison}", value)),
            architectures=[X86],
        )
        program = seccomp.compile(only, "x86_64")
        holds = OPERATORS[comparison]
        for near in boundaries(value):
            expected = ALLOW if holds(near, value) else ERRNO | 1
            assert decide(program, X86_64, "ioctl", 0, near) == expected, hex(near)
            low = holds(near % 2**32, value % 2**32)
            assert decide(program, X86, "ioctl", 0, near) == (ALLOW if low else ERRNO | 1)

    @pytest.mark.parametrize(
        ("mask", "wanted"), [(0x7E020000, 0), (2**64 - 1, 2**40), (0xFF, 7), (2**40, 2**40)]
    )
    def test_masked_equality(self, mask, wanted):
        only = profile(rule("clone", "SCMP_ACT_ALLOW", (0, "SCMP_CMP_MASKED_EQ", mask, wanted)))
        program = seccomp.compile(only, "x86_64")
        for near in {*boundaries(wanted), *boundaries(mask), 0x7E020000, 0x11, 0x20000}:
            expected = ALLOW if near & mask == wanted else ERRNO | 1
            assert decide(program, X86_64, "clone", near) == expected, hex(near)

    def test_conditions_on_several_arguments_must_all_hold(self):
        both = rule("ioctl", "SCMP_ACT_ALLOW", (0, "SCMP_CMP_EQ", 1), (2, "SCMP_CMP_GT", 2**33))
        program = seccomp.compile(profile(both), "x86_64")
        assert decide(program, X86_64, "ioctl", 1, 0, 2**33 + 1) == ALLOW
        assert decide(program, X86_64, "ioctl", 1, 0, 2**33) == ERRNO | 1
        assert decide(program, X86_64, "ioctl", 2, 0, 2**33 + 1) == ERRNO | 1

    def test_conditions_on_one_argument_are_alternatives(self):
        either = rule("ioctl", "SCMP_ACT_ALLOW", (0, "SCMP_CMP_EQ", 1), (0, "SCMP_CMP_EQ", 5))
        program = seccomp.compile(profile(either), "x86_64")
        assert [decide(program, X86_64, "ioctl", n) for n in (1, 3, 5)] == [ALLOW, ERRNO | 1, ALLOW]


def boundaries(value: int) -> set[int]:
    near = {value + offset for offset in (-(2**32), -1, 0, 1, 2**32)} | {
        0,
        2**64 - 1,
        value % 2**32,
    }
    return {number for number in near if 0 <= number < 2**64}


class TestAgainstDefinition:
    """Several rules on one call: the first that holds decides.

    libseccomp is no judge of this: it loses a case when such conditions overlap ("argument ≥ 40"
    or "argument ≠ 2**32 - 1", for the argument 2**32 - 1 itself).
    """

    @pytest.mark.parametrize("machine", ["x86_64", "i686", "s390x"])
    @pytest.mark.parametrize("seed", range(4))
    def test_random_rules(self, machine, seed):
        rng = random.Random(f"{machine}{seed}")
        architecture = ARCHITECTURES[MACHINES[machine]]
        big = machine in BIG_ENDIAN
        rules = []
        for _ in range(rng.randint(1, 6)):
            indexes = rng.sample(range(6), rng.randint(1, 3))
            action = rng.choice(["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRAP"])
            rules.append(rule("ioctl", action, *(random_condition(rng, i) for i in indexes)))
        spec = profile(*rules)
        program = bpf_machine.disassemble(
            seccomp.compile(spec, machine, "big" if big else "little"), big
        )
        table = numbers(architecture)
        for arguments in arguments_by_number(spec, table)[table["ioctl"]]:
            got = bpf_machine.run(program, architecture.audit, table["ioctl"], arguments, big)
            assert got == by_definition(rules, arguments, architecture.wide), arguments


def by_definition(rules: list[dict], arguments: tuple[int, ...], wide: bool) -> int:
    bits = 2**64 - 1 if wide else 2**32 - 1
    for each in rules:
        for condition in each["args"]:
            value, seen = condition["value"] & bits, arguments[condition["index"]] & bits
            comparison = condition["op"].removeprefix("SCMP_CMP_")
            if comparison == "MASKED_EQ":
                if seen & value != condition["valueTwo"] & bits:
                    break
            elif not OPERATORS[comparison](seen, value):
                break
        else:
            return libseccomp.action(each["action"], None)
    return ERRNO | 1


class TestAgainstLibseccomp:
    """FZ07: the same decisions as libseccomp's program with runc's ENOSYS rule in front of it."""

    @pytest.mark.parametrize("machine", sorted(set(MACHINES) - set(BIG_ENDIAN)))
    @pytest.mark.parametrize("seed", range(4))
    def test_random_profiles(self, library, machine, seed):
        architecture = MACHINES[machine]
        rng = random.Random(f"{machine}{seed}")
        names = sorted(name for name in all_names() if libseccomp.knows(library, name))
        seccomp_spec = random_profile(rng, names)
        same(library, seccomp_spec, machine, [architecture])

    @pytest.mark.parametrize("seed", range(4))
    def test_random_profiles_on_all_of_x86(self, library, seed):
        rng = random.Random(seed)
        names = sorted(name for name in all_names() if libseccomp.knows(library, name))
        same(library, random_profile(rng, names), "x86_64", [X86_64, X86, X32])


def all_names() -> set[str]:
    """Without a call that libseccomp 2.5 does not find on ppc64 when it runs on x86_64."""
    names = {name for arch in ARCHITECTURES.values() for name in numbers(arch)}
    return names - {"sys_debug_setcontext"}


def random_profile(rng: random.Random, names: list[str]) -> dict:
    """Rules without conditions for some calls, one rule with conditions for some others."""
    default, default_errno = random_action(rng, set(libseccomp.ACTIONS) - {"SCMP_ACT_NOTIFY"})
    actions = set(libseccomp.ACTIONS) - {default}
    names = [name for name in names if name not in seccomp.TELLING]  # see there
    rng.shuffle(names)
    muxed = {*SOCKETCALL, *IPC, "socketcall", "ipc"}
    rules = [
        random_rule(rng, " ".join(names[start : start + 20]), actions)
        for start in range(0, 200, 20)
    ]
    for name in [name for name in names[200:260] if name not in muxed]:
        indexes = rng.sample(range(6), rng.randint(1, 3))
        conditions = [random_condition(rng, index) for index in indexes]
        rules.append(random_rule(rng, name, actions, *conditions))
    flags = rng.sample(sorted(seccomp.FLAGS), rng.randint(0, 4))
    spec = {"defaultAction": default, "flags": flags, "listenerPath": "/x", "syscalls": rules}
    return spec if default_errno is None else {**spec, "defaultErrnoRet": default_errno}


def random_action(rng: random.Random, actions: set[str]) -> tuple[str, int | None]:
    """An action, and for half of those that can carry an errno, one."""
    action = rng.choice(sorted(actions))
    errno = rng.choice([None, 0, 1, 38, 4094]) if action in seccomp.WITH_ERRNO else None
    return action, errno


def random_rule(rng: random.Random, names: str, actions: set[str], *conditions: tuple) -> dict:
    action, errno = random_action(rng, actions)
    return rule(names, action, *conditions, **({} if errno is None else {"errnoRet": errno}))


def random_condition(rng: random.Random, index: int) -> tuple:
    value = rng.choice([0, 1, 40, 2**31, 2**32 - 1, 2**32, 2**40, 2**63])
    comparison = rng.choice(libseccomp.OPERATORS)
    if comparison == "MASKED_EQ":
        mask = rng.choice([0xFF, 0x7E020000, 2**64 - 1])
        return index, "SCMP_CMP_MASKED_EQ", mask, value & mask
    return index, f"SCMP_CMP_{comparison}", value


def same(library: ctypes.CDLL, spec: dict, machine: str, architectures: list[str]) -> None:
    """Compare all numbers of all tables, and every argument near a value that a rule names."""
    ours = bpf_machine.disassemble(
        seccomp.compile({**spec, "architectures": architectures}, machine)
    )
    theirs = bpf_machine.disassemble(libseccomp.compile(library, spec, architectures))
    for architecture in architectures:
        found = ARCHITECTURES[architecture]
        table = numbers(found)
        conditions = arguments_by_number(spec, table)
        known = {table[n] for r in spec["syscalls"] for n in r["names"] if n in table}
        last = max(number for number in known if number < found.base + 0xF0000)
        for number in {*table.values(), *range(found.base, found.base + 560)}:
            for arguments in conditions.get(number, [()]):
                expected = bpf_machine.run(theirs, found.audit, number, arguments)
                beyond = number > last and number not in known
                if beyond and spec["defaultAction"] not in seccomp.PERMISSIVE:
                    expected = ENOSYS
                got = bpf_machine.run(ours, found.audit, number, arguments)
                assert got == expected, f"{architecture} {number} {arguments}: {got:#x}"


def arguments_by_number(spec: dict, table: dict[str, int]) -> dict[int, list[tuple[int, ...]]]:
    cases: dict[int, list[tuple[int, ...]]] = {}
    for each in spec["syscalls"]:
        for argument in each.get("args", ()):
            values = {argument["value"], argument.get("valueTwo", 0)}
            for value in {near for v in values for near in boundaries(v)}:
                arguments = [0] * 6
                arguments[argument["index"]] = value
                for name in each["names"]:
                    if name in table:
                        cases.setdefault(table[name], []).append(tuple(arguments))
        # all conditions of one rule at once: each at its own value
        together = [0] * 6
        for argument in each.get("args", ()):
            together[argument["index"]] = argument.get("valueTwo", argument["value"])
        for name in each["names"]:
            if name in table and each.get("args"):
                cases.setdefault(table[name], []).append(tuple(together))
    return cases


def filtered(spec: dict, call) -> int:
    """The status of a child that installs the filter and then makes ``call``; its exit code."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            program = seccomp.compile(spec, os.uname().machine)
            linux.seccomp(linux.SECCOMP_SET_MODE_FILTER, seccomp.flags(spec), program)
            code = call()
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


class TestKernel:
    """The kernel takes the programs and decides as they say."""

    def test_errno_and_allow(self, tmp_path):
        spec = profile(
            rule("mkdir mkdirat", "SCMP_ACT_ERRNO", errnoRet=errno.EXDEV),
            defaultAction="SCMP_ACT_ALLOW",
        )
        assert (
            os.waitstatus_to_exitcode(filtered(spec, lambda: os.mkdir(tmp_path / "x")))
            == errno.EXDEV
        )
        assert not (tmp_path / "x").exists()
        assert os.waitstatus_to_exitcode(filtered(spec, lambda: len(os.listdir(tmp_path)))) == 0

    def test_kill(self):
        spec = profile(rule("getpriority", "SCMP_ACT_KILL_PROCESS"), defaultAction="SCMP_ACT_ALLOW")
        status = filtered(spec, lambda: os.getpriority(os.PRIO_PROCESS, 0))
        assert os.WTERMSIG(status) == signal.SIGSYS

    def test_an_argument_of_64_bits(self):
        spec = profile(
            rule("lseek", "SCMP_ACT_ERRNO", (1, "SCMP_CMP_GT", 2**33), errnoRet=errno.EXDEV),
            defaultAction="SCMP_ACT_ALLOW",
        )

        def seek() -> int:
            fd = os.memfd_create("x")
            os.lseek(fd, 2**33, os.SEEK_SET)
            os.lseek(fd, 2**33 + 1, os.SEEK_SET)
            return 0

        assert os.waitstatus_to_exitcode(filtered(spec, seek)) == errno.EXDEV

    def test_calls_from_the_future_do_not_exist(self):
        spec = profile(rule(" ".join(numbers(ARCHITECTURES[native()]))))
        libc = ctypes.CDLL(None, use_errno=True)

        def future() -> int:
            assert libc.syscall(1000) == -1
            return ctypes.get_errno()

        assert os.waitstatus_to_exitcode(filtered(spec, future)) == errno.ENOSYS

    def test_a_listener_is_returned_for_notify(self):
        notify = rule("mkdir", "SCMP_ACT_NOTIFY")
        spec = profile(notify, defaultAction="SCMP_ACT_ALLOW", listenerPath="/run/agent.sock")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
                program = seccomp.compile(spec, os.uname().machine)
                flags = seccomp.flags(spec)
                listener = linux.seccomp(linux.SECCOMP_SET_MODE_FILTER, flags, program)
                code = 0 if "seccomp" in os.readlink(f"/proc/self/fd/{listener}") else 1
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0

    def test_notify_without_anybody_to_answer_is_refused(self):
        with pytest.raises(SpecError, match="listenerPath"):
            seccomp.flags(profile(rule("mkdir", "SCMP_ACT_NOTIFY")))

    def test_flags_are_the_bits_of_the_kernel(self):
        """linux/seccomp.h; we have one thread, so that TSYNC is nothing."""
        flags = list(seccomp.FLAGS)
        assert seccomp.flags(profile(flags=flags)) == 2 | 4
        notify = rule("mkdir", "SCMP_ACT_NOTIFY")
        assert seccomp.flags(profile(notify, flags=flags, listenerPath="/x")) == 2 | 4 | 8 | 32


def native() -> str:
    found = syscalls.native(os.uname().machine, sys.byteorder)
    assert found
    return found
