"""A program as a file, made by hand: the smallest executable that Linux takes. elf(5)

For 64 bits, little endian: two headers, and one segment, which is the whole file, mapped at BASE to
be read and executed. What is in it needs no library and no loader, and finds nothing to write to
but its stack. The last steps of the runtime (runtime/trampoline.py) and the process 1 of --init
(engine/reaper.py) are such programs.
"""

from __future__ import annotations

from _struct import pack

BASE = 0x10000000
HEADERS = 64 + 56  # bytes before the code
X86_64, AARCH64 = 62, 183  # e_machine
EXECUTABLE, CURRENT = 2, 1  # e_type, e_version
LOAD, READ, EXECUTE = 1, 4, 1  # p_type, p_flags
PAGE = 0x10000  # the largest that an aarch64 has


def executable(machine: int, code: bytes) -> bytes:
    """The file that starts at the first byte of ``code``."""
    size = HEADERS + len(code)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = pack(
        "<HHIQQQIHHHHHH",
        EXECUTABLE, machine, CURRENT, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    segment = pack("<IIQQQQQQ", LOAD, READ | EXECUTE, 0, BASE, BASE, size, size, PAGE)
    return ident + header + segment + code
