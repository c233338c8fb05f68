"""The default profile decides as Docker's does (RT44, HD02), but for the differences it states.

Docker's own document is not part of this project. What it decides is kept as digests: they were
made by resolving default.json of github.com/moby/profiles at commit cd3bed8 as Docker does
(includes, excludes, archMap), leaving out x32, and running ``digest`` on the result.
"""

import ctypes
import errno
import hashlib
import mmap
import os
import signal
import struct
import sys

import pytest

from minirun import linux, seccomp_profile
from minirun.runtime import seccomp
from minirun.runtime.syscalls import ARCHITECTURES, native, numbers
from tests.runtime import bpf_machine

PODMAN = (
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_SETGID CAP_SETUID CAP_SETFCAP "
    "CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL"
).split()
EACH = sorted(seccomp_profile.WITH_CAPABILITY)
CAPABILITIES = [[], PODMAN, EACH, *([name] for name in EACH)]

DIGESTS = {
    "x86_64": "623feeaa3a35e800",
    "aarch64": "ff7e64df03cde2e5",
    "riscv64": "35f5ea56cfd94b05",
    "s390x": "4f26407e9bdd6dd5",
    "ppc64le": "e361a4eac4e04d4a",
    "loongarch64": "853e175f48e643b8",
}

# First and second arguments: enough to tell every rule of the profile apart.
FLAGS = (0, 17, 0x20000, 0x02000000, 0x10000000, 0x40000000, 0x7E020000, 0x01200011)
PERSONALITIES = (0, 1, 8, 9, 0x20000, 0x20008, 0xFFFFFFFF, 2**64 - 1)
ARGUMENTS = {
    "clone": [*((flags, 0) for flags in FLAGS), *((0, flags) for flags in FLAGS)],
    "socket": [(family,) for family in range(128)],
    "personality": [(persona,) for persona in PERSONALITIES],
}

REFUSED = (
    "keyctl add_key request_key userfaultfd io_uring_setup bpf mount unshare setns kexec_load "
    "init_module swapon reboot perf_event_open open_by_handle_at pivot_root"
).split()
ALLOW, KILL, ERRNO = 0x7FFF0000, 0, 0x00050000
MACHINE = os.uname().machine


def digest(specs: list[dict], machine: str) -> str:
    """The decisions about every number of every architecture of the profiles, in one word."""
    order = "big" if machine == "s390x" else "little"
    big = order == "big"
    digest = hashlib.sha256()
    for spec in specs:
        program = bpf_machine.disassemble(seccomp.compile(spec, machine, order), big)
        for name in spec["architectures"] or [native(machine, order)]:
            architecture = ARCHITECTURES[name]
            calls = {number: call for call, number in numbers(architecture).items()}
            for number in sorted({*calls, *range(520)}):
                for arguments in ARGUMENTS.get(calls.get(number, ""), [()]):
                    value = bpf_machine.run(program, architecture.audit, number, arguments, big)
                    digest.update(struct.pack("<I", value))
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("machine", DIGESTS)
def test_decisions_are_those_of_docker(machine):
    specs = [seccomp_profile.default(capabilities, machine) for capabilities in CAPABILITIES]
    assert digest(specs, machine) == DIGESTS[machine]


def decision(
    name: str, *arguments: int, capabilities=PODMAN, architecture="SCMP_ARCH_X86_64"
) -> int:
    found = ARCHITECTURES[architecture]
    program = seccomp.compile(seccomp_profile.default(capabilities, "x86_64"), "x86_64")
    lines = bpf_machine.disassemble(program)
    return bpf_machine.run(lines, found.audit, numbers(found)[name], arguments)


@pytest.mark.parametrize("architecture", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
class TestForTheReader:
    """What the digests say, by examples."""

    @pytest.mark.parametrize("name", REFUSED)
    def test_refused(self, name, architecture):
        assert decision(name, architecture=architecture) == ERRNO | errno.EPERM

    def test_new_namespaces_need_sys_admin(self, architecture):
        newuser = 0x10000000
        assert decision("clone", newuser, architecture=architecture) == ERRNO | errno.EPERM
        assert decision("clone", 17, architecture=architecture) == ALLOW
        assert decision("clone3", architecture=architecture) == ERRNO | errno.ENOSYS
        admin = {"capabilities": [*PODMAN, "CAP_SYS_ADMIN"], "architecture": architecture}
        assert decision("clone", newuser, **admin) == decision("clone3", **admin) == ALLOW

    @pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
    def test_a_family_is_what_the_kernel_sees_of_it(self, architecture, high):
        """socket(2) takes an int: what stands above its 32 bits must not decide."""
        for family, expected in ((2, ALLOW), (38, ERRNO | 1), (39, ALLOW), (40, ERRNO | 1)):
            assert decision("socket", family | high, architecture=architecture) == expected


libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> int:
    """The errno of a system call by number; 0 if it succeeds."""
    failed = libc.syscall(number, *map(ctypes.c_long, arguments)) == -1
    return ctypes.get_errno() if failed else 0


def under_profile(probe) -> int:
    """The wait status of a child that makes ``probe`` under the profile; the exit code is its."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            spec = seccomp_profile.default(PODMAN, MACHINE)
            linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
            program = seccomp.compile(spec, MACHINE)
            linux.seccomp(linux.SECCOMP_SET_MODE_FILTER, seccomp.flags(spec), program)
            code = probe()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def table() -> dict[str, int]:
    name = native(MACHINE, sys.byteorder)
    assert name
    return numbers(ARCHITECTURES[name])


class TestKernel:
    @pytest.mark.parametrize(
        ("name", "arguments", "expected"),
        [
            ("getpid", (), 0),
            ("keyctl", (0, 0), errno.EPERM),
            ("unshare", (0x10000000,), errno.EPERM),
            ("mount", (), errno.EPERM),
            ("clone3", (), errno.ENOSYS),
            ("userfaultfd", (0,), errno.EPERM),
            ("io_uring_setup", (1, 0), errno.EPERM),
            ("socket", (2, 1, 0), 0),
            ("socket", (38, 5, 0), errno.EPERM),
            ("socket", (40, 1, 0), errno.EPERM),
            ("socket", (40 | 1 << 32, 1, 0), errno.EPERM),
            ("personality", (0xFFFFFFFF,), 0),
            ("personality", (0x40000,), errno.EPERM),
        ],
    )
    def test_a_call(self, name, arguments, expected):
        number = table()[name]
        status = under_profile(lambda: call(number, *arguments))
        assert os.waitstatus_to_exitcode(status) == expected

    def test_a_call_that_is_not_yet_invented(self):
        assert os.waitstatus_to_exitcode(under_profile(lambda: call(1000))) == errno.ENOSYS

    @pytest.mark.skipif(MACHINE != "x86_64", reason="only x86_64 has x32")
    def test_x32_is_killed(self):
        status = under_profile(lambda: call(0x40000000 | table()["getpid"]))
        assert os.WTERMSIG(status) == signal.SIGSYS

    @pytest.mark.skipif(MACHINE != "x86_64", reason="only x86_64 has int 0x80")
    def test_32_bit_numbers_are_filtered_too(self):
        """int 0x80 from a 64-bit program: the calls of i386, whose mount is number 21."""
        calls = numbers(ARCHITECTURES["SCMP_ARCH_X86"])

        def int80(number: int) -> int:
            code = b"\x53\x89\xf8\x31\xdb\x31\xc9\xcd\x80\x5b\xc3"  # push rbx; mov eax, edi; …
            page = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page.write(code)
            address = ctypes.addressof(ctypes.c_char.from_buffer(page))
            result: int = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)(number)
            return -result if result < 0 else 0

        def probe() -> int:
            if int80(calls["getpid"]):
                return 77
            return int80(calls["mount"])

        child = os.fork()
        if child == 0:
            os._exit(int80(calls["getpid"]))
        if os.waitpid(child, 0)[1]:
            pytest.skip("this kernel takes no 32-bit calls")
        assert os.waitstatus_to_exitcode(under_profile(probe)) == errno.EPERM
