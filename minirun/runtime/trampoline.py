"""The last system calls before the container's command, made by 80 bytes of machine code.

Why not simply ``os.execve(command)``? Because of CVE-2019-5736. Until execve(2) is over,
/proc/self/exe of our process is the host's Python. A command that is the script
``#!/proc/self/exe`` would therefore run the host's Python inside the container, whose root could
then open that file for writing: the host's interpreter. To look at the command before (is it a
script? of what?) is not enough, for whoever shares the directory can swap the file in between.

So the process first executes a program that is no file of the host: an ELF file of one page in a
memfd_create(2), sealed against writing. It is made anew for each container and holds a table of
system calls with all they point to::

    offset 0     ELF header, one program header: map all of this at BASE, read and execute
    CODE         make the calls of the table, one after the other; when one returns more than
                 its row allows, write (result, call number) to the error fd and exit(126)
    ...          error fd
    ...          table: rows of seven words: number, five arguments, highest result to go on with
    ...          what the arguments point to: strings, arrays, the seccomp program

The last row is execve(2) of the command. Errors are negative, and so the highest of all results
when they are compared without a sign. Three more things come for free:

- A container that waits for its ``start`` is this one page, and no Python of 8 MB: the table's
  first row is accept(2) on the socket that ``start`` connects to.
- ``exec`` has it make the process that appears in a container, by clone(2), when the powers are
  given up already: no Python of ours is ever seen in there. Only the child goes on, whose result
  is 0; for the parent the pid is too high a result, so it tells it and ends.
- The seccomp filter is loaded by the last row but one. Only execve has to be allowed by it, and
  nothing that an interpreter happens to call.

Interface: build, report.
"""

from __future__ import annotations

import os
from _struct import pack, unpack

from minirun import elf
from minirun.errors import StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    # An argument: a number, bytes (a pointer to them), or a list (a pointer to an array of such).
    Argument = int | bytes | list["Argument"]
    Call = tuple[str | Argument, ...]

ROW_SIZE, HIGHEST_RESULT = 7 * 8, 2**63 - 1
ERROR_SIZE = 16

# fmt: off
X86_64 = bytes.fromhex(
    "488d1d51000000"  # start: lea  rbx, [rip + table]
    "488b03"          # next:  mov  rax, [rbx]           the call's number
    "488b7b08"        #        mov  rdi, [rbx + 8]       and its five arguments
    "488b7310"        #        mov  rsi, [rbx + 16]
    "488b5318"        #        mov  rdx, [rbx + 24]
    "4c8b5320"        #        mov  r10, [rbx + 32]
    "4c8b4328"        #        mov  r8,  [rbx + 40]
    "0f05"            #        syscall
    "4883c338"        #        add  rbx, 56
    "483b43f8"        #        cmp  rax, [rbx - 8]       the highest result to go on with
    "76dd"            #        jbe  next                 without a sign errors are higher
    "ff73c8"          #        push [rbx - 56]           the number of the call
    "50"              #        push rax                  and its result
    "488b3d1b000000"  #        mov  rdi, [rip + error_fd]
    "4889e6"          #        mov  rsi, rsp
    "ba10000000"      #        mov  edx, 16
    "b801000000"      #        mov  eax, 1               write
    "0f05"            #        syscall
    "bf7e000000"      #        mov  edi, 126
    "b8e7000000"      #        mov  eax, 231             exit_group
    "0f05"            #        syscall                   error_fd and table follow
)
AARCH64 = b"".join(word.to_bytes(4, "little") for word in (
    0x10000293,       # start: adr  x19, table
    0xA8C10268,       # next:  ldp  x8, x0, [x19], #16   the call's number, first argument
    0xA8C10A61,       #        ldp  x1, x2, [x19], #16
    0xA8C11263,       #        ldp  x3, x4, [x19], #16
    0xD4000001,       #        svc  #0
    0xF8408669,       #        ldr  x9, [x19], #8        the highest result to go on with
    0xEB09001F,       #        cmp  x0, x9
    0x54FFFF49,       #        b.ls next                 without a sign errors are higher
    0xF85C8261,       #        ldur x1, [x19, #-56]      the number of the call
    0xA9BF07E0,       #        stp  x0, x1, [sp, #-16]!
    0x58000100,       #        ldr  x0, error_fd
    0x910003E1,       #        mov  x1, sp
    0xD2800202,       #        mov  x2, #16
    0xD2800808,       #        mov  x8, #64              write
    0xD4000001,       #        svc  #0
    0xD2800FC0,       #        mov  x0, #126
    0xD2800BC8,       #        mov  x8, #94              exit_group
    0xD4000001,       #        svc  #0                   error_fd and table follow
))
NAMES = ("accept4", "close", "prctl", "setgroups", "setresgid", "setresuid", "capset",
         "seccomp", "execve", "fcntl", "clone", "setsid", "ioctl", "recvfrom", "sendto", "sendmsg",
         "openat", "write")
MACHINES = {  # uname -m: (code, e_machine of ELF, the numbers of NAMES)
    "x86_64": (X86_64, elf.X86_64, (288, 3, 157, 116, 119, 117, 126, 317, 59, 72, 56, 112, 16, 45,
                                    44, 46, 257, 1)),
    "aarch64": (AARCH64, elf.AARCH64, (242, 57, 167, 159, 149, 147, 91, 277, 221, 25, 220, 157, 29,
                                       207, 206, 211, 56, 64)),
}
# fmt: on


MACHINE = os.uname().machine  # before personality(2) makes it another's


def machine() -> tuple[bytes, int, dict[str, int]]:
    """The code, the ELF machine and the system call numbers of the machine we run on."""
    if MACHINE not in MACHINES:
        raise StepError(f"no machine code for {MACHINE}: only for {' and '.join(MACHINES)}")
    code, elf_machine, numbers = MACHINES[MACHINE]
    return code, elf_machine, dict(zip(NAMES, numbers, strict=True))


def build(calls: Sequence[Call], error_fd: int) -> bytes:
    """The ELF file that makes ``calls``: tuples of a name (NAMES) and at most five arguments."""
    code, elf_machine, numbers = machine()
    table_at = elf.HEADERS + len(code) + 8
    data = bytearray()

    def place(argument: Argument) -> int:
        if isinstance(argument, int):
            return argument & (1 << 64) - 1
        if isinstance(argument, list):
            argument = pack(f"<{len(argument)}Q", *[place(item) for item in argument])
        data.extend(bytes(-len(data) % 8))
        address = elf.BASE + table_at + ROW_SIZE * len(calls) + len(data)
        data.extend(argument)
        return address

    table = bytearray()
    for name, *arguments in calls:
        words = [numbers[str(name)], *map(place, arguments)]  # type: ignore[arg-type]
        highest = 0 if name == "clone" else HIGHEST_RESULT
        table += pack("<7Q", *words, *[0] * (6 - len(words)), highest)
    body = code + pack("<Q", error_fd) + table + data
    return elf.executable(elf_machine, body)


def report(message: bytes) -> tuple[str, int]:
    """(name of the call, result) from what the code wrote to the error fd."""
    result, number = unpack("<qQ", message)
    names = {n: name for name, n in machine()[2].items()}
    return names.get(number, f"system call {number}"), result
