"""The numbers of system calls are the kernel's: held against headers and libseccomp, where here."""

import re
from pathlib import Path

import pytest

from minirun.runtime.syscalls import ARCHITECTURES, native, numbers
from tests.runtime import libseccomp

INCLUDE = Path("/usr/include/x86_64-linux-gnu/asm")
# In the headers, but not a call: the end of a table, or what a bit makes of another number.
NO_CALL = {"syscalls", "syscall_base", "x32_syscall_bit"}


@pytest.mark.parametrize(
    ("header", "architecture"),
    [
        ("unistd_64.h", "SCMP_ARCH_X86_64"),
        ("unistd_32.h", "SCMP_ARCH_X86"),
        ("unistd_x32.h", "SCMP_ARCH_X32"),
    ],
)
def test_the_kernel_headers_say_the_same(header, architecture):
    file = INCLUDE / header
    if not file.exists():
        pytest.skip(f"{file} is not here (linux-libc-dev)")
    table = numbers(ARCHITECTURES[architecture])
    base = ARCHITECTURES[architecture].base
    defined = re.findall(
        r"#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ (\d+)\)|(\d+))", file.read_text()
    )
    assert len(defined) > 300
    for name, x32, plain in defined:
        if name not in NO_CALL:
            assert table[name] == base + int(x32 or plain), name


@pytest.mark.parametrize("architecture", sorted(libseccomp.ARCHITECTURES))
def test_libseccomp_says_the_same(architecture):
    """It gives calls a number below 0 where an architecture multiplexes them, or lacks them."""
    library = libseccomp.load()
    compared = 0
    for name, number in numbers(ARCHITECTURES[architecture]).items():
        theirs = libseccomp.number(library, architecture, name)
        if theirs >= 0:
            assert theirs == number, name
            compared += 1
    assert compared > 280


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_number_means_one_call(architecture):
    table = numbers(ARCHITECTURES[architecture])
    assert len(set(table.values())) == len(table)


@pytest.mark.parametrize(
    ("machine", "byteorder", "architecture"),
    [
        ("x86_64", "little", "SCMP_ARCH_X86_64"),
        ("i686", "little", "SCMP_ARCH_X86"),
        ("aarch64", "little", "SCMP_ARCH_AARCH64"),
        ("armv7l", "little", "SCMP_ARCH_ARM"),
        ("s390x", "big", "SCMP_ARCH_S390X"),
        ("mips64", "little", "SCMP_ARCH_MIPSEL64"),
        ("mips64", "big", "SCMP_ARCH_MIPS64"),
        ("ppc64le", "little", "SCMP_ARCH_PPC64LE"),
        ("vax", "little", None),
    ],
)
def test_a_machine_has_an_architecture(machine, byteorder, architecture):
    assert native(machine, byteorder) == architecture
