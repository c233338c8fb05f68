"""``--init``: a process 1 that does what process 1 has to do, in 400 bytes of machine code.

Process 1 of a container inherits every orphan in it, and only process 1 can reap them; and to it
the kernel passes no signal that it has no handler for (pid_namespaces(7)). Few programs are made
for that: under them zombies add up, and SIGTERM does nothing. With --init the command is the child
of a small program that

- waits for any signal (all are blocked, so that none is lost), and passes it on to the command;
- after SIGCHLD reaps whatever has ended, and ends when it was the command, with its exit code.

The command is in a process group of its own, in the foreground of the terminal: ^C goes to it.

The program is a file of the host, mounted read-only, as in Docker, at /sbin/docker-init. Each
container has its own, for in the file is the list of the paths to try for this command: execve(2)
knows no PATH. Nothing of ours is left in the container but these bytes, and no interpreter.

    offset 0     ELF header, one program header (minirun/elf.py)
    CODE         uses no memory but 16 bytes of its stack
    data         64 signals, all set
                 address, length: what to say when no path exists (exit code 127)
                 address, length: what to say when one exists, and cannot be executed (126)
                 addresses of the paths to try, and 0
                 the texts

Interface: install.
"""

from __future__ import annotations

import os
from _struct import pack

from minirun import elf
from minirun.errors import Error, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

PLACE = "/sbin/docker-init"  # in the container, under the name that Docker gives its own
FILE = "init"  # in the bundle

# fmt: off
X86_64 = bytes.fromhex(
    "488d1d69010000"  # start:  lea  rbx, [rip + data]     the data behind the code
    "488b0424"        #         mov  rax, [rsp]            argc
    "488d6c2418"      #         lea  rbp, [rsp + 24]       the command's argv: behind "--"
    "4c8d64c410"      #         lea  r12, [rsp+rax*8+16]   envp
    "4883ec10"        #         sub  rsp, 16               for a mask, a status, a pid
    "bf24000000"      #         mov  edi, 36               PR_SET_CHILD_SUBREAPER
    "be01000000"      #         mov  esi, 1
    "b89d000000"      #         mov  eax, 157              prctl
    "0f05"            #         syscall
    "bf02000000"      #         mov  edi, 2                SIG_SETMASK
    "4889de"          #         mov  rsi, rbx              all signals wait for us to ask
    "4889e2"          #         mov  rdx, rsp
    "41ba08000000"    #         mov  r10d, 8
    "b80e000000"      #         mov  eax, 14               rt_sigprocmask
    "0f05"            #         syscall
    "bf11000000"      #         mov  edi, 17               SIGCHLD
    "31f6"            #         xor  esi, esi
    "31d2"            #         xor  edx, edx
    "4531d2"          #         xor  r10d, r10d
    "4531c0"          #         xor  r8d, r8d
    "b838000000"      #         mov  eax, 56               clone, which is fork
    "0f05"            #         syscall
    "4189c5"          #         mov  r13d, eax             the command's process
    "bf7e000000"      #         mov  edi, 126
    "85c0"            #         test eax, eax
    "7469"            #         jz  child
    "7860"            #         js  quit                   no process left (pids.max)
    "4889df"          # wait:   mov  rdi, rbx              any signal
    "31f6"            #         xor  esi, esi
    "31d2"            #         xor  edx, edx
    "41ba08000000"    #         mov  r10d, 8
    "b880000000"      #         mov  eax, 128              rt_sigtimedwait
    "0f05"            #         syscall
    "83f811"          #         cmp  eax, 17               SIGCHLD
    "7412"            #         je  reap
    "85c0"            #         test eax, eax
    "7ee3"            #         jle  wait                  EINTR
    "89c6"            #         mov  esi, eax              all others are for the command
    "4489ef"          #         mov  edi, r13d
    "b83e000000"      #         mov  eax, 62               kill
    "0f05"            #         syscall
    "ebd5"            #         jmp  wait
    "bfffffffff"      # reap:   mov  edi, -1               any child
    "4889e6"          #         mov  rsi, rsp
    "ba01000000"      #         mov  edx, 1                WNOHANG
    "4531d2"          #         xor  r10d, r10d
    "b83d000000"      #         mov  eax, 61               wait4
    "0f05"            #         syscall
    "85c0"            #         test eax, eax
    "7eba"            #         jle  wait                  no more of them
    "4439e8"          #         cmp  eax, r13d
    "75e0"            #         jne  reap
    "8b3c24"          #         mov  edi, [rsp]            the command has ended: so do we
    "89f8"            #         mov  eax, edi
    "83e07f"          #         and  eax, 127
    "7408"            #         jz  exited
    "8db880000000"    #         lea  edi, [rax + 128]      by a signal
    "eb03"            #         jmp  quit
    "c1ef08"          # exited: shr  edi, 8
    "b8e7000000"      # quit:   mov  eax, 231              exit_group
    "0f05"            #         syscall
    "31ff"            # child:  xor  edi, edi
    "31f6"            #         xor  esi, esi
    "b86d000000"      #         mov  eax, 109              setpgid: a group of its own
    "0f05"            #         syscall
    "b827000000"      #         mov  eax, 39               getpid
    "0f05"            #         syscall
    "89442408"        #         mov  [rsp + 8], eax
    "31ff"            #         xor  edi, edi
    "be10540000"      #         mov  esi, 0x5410           TIOCSPGRP: the one for ^C
    "488d542408"      #         lea  rdx, [rsp + 8]
    "b810000000"      #         mov  eax, 16               ioctl, if it has a terminal
    "0f05"            #         syscall
    "bf02000000"      #         mov  edi, 2
    "4889e6"          #         mov  rsi, rsp              the mask we began with
    "31d2"            #         xor  edx, edx
    "41ba08000000"    #         mov  r10d, 8
    "b80e000000"      #         mov  eax, 14               rt_sigprocmask
    "0f05"            #         syscall
    "41bf7f000000"    #         mov  r15d, 127             not found
    "4c8d7328"        #         lea  r14, [rbx + 40]       the paths to try
    "498b3e"          # try:    mov  rdi, [r14]
    "4885ff"          #         test rdi, rdi
    "7423"            #         jz  failed
    "4983c608"        #         add  r14, 8
    "4889ee"          #         mov  rsi, rbp
    "4c89e2"          #         mov  rdx, r12
    "b83b000000"      #         mov  eax, 59               execve
    "0f05"            #         syscall
    "83f8fe"          #         cmp  eax, -2               ENOENT
    "74e2"            #         je  try
    "83f8ec"          #         cmp  eax, -20              ENOTDIR
    "74dd"            #         je  try
    "41bf7e000000"    #         mov  r15d, 126             found, and not executable
    "ebd5"            #         jmp  try
    "488d4308"        # failed: lea  rax, [rbx + 8]        what to say of 127
    "4183ff7f"        #         cmp  r15d, 127
    "7404"            #         je  say
    "4883c010"        #         add  rax, 16               and of 126
    "488b30"          # say:    mov  rsi, [rax]
    "488b5008"        #         mov  rdx, [rax + 8]
    "bf02000000"      #         mov  edi, 2
    "b801000000"      #         mov  eax, 1                write
    "0f05"            #         syscall
    "4489ff"          #         mov  edi, r15d
    "e95bffffff"      #         jmp  quit
)
AARCH64 = b"".join(word.to_bytes(4, "little") for word in (
    0x10000CD3,  # start:  adr  x19, data             the data behind the code
    0xF94003E9,  #         ldr  x9, [sp]              argc
    0x910063F4,  #         add  x20, sp, #24          the command's argv: behind "--"
    0x8B296FF5,  #         add  x21, sp, x9, lsl #3
    0x910042B5,  #         add  x21, x21, #16         envp
    0xD10043FF,  #         sub  sp, sp, #16           for a mask, a status, a pid
    0xD2800480,  #         mov  x0, #36               PR_SET_CHILD_SUBREAPER
    0xD2800021,  #         mov  x1, #1
    0xD28014E8,  #         mov  x8, #167              prctl
    0xD4000001,  #         svc  #0
    0xD2800040,  #         mov  x0, #2                SIG_SETMASK
    0xAA1303E1,  #         mov  x1, x19               all signals wait for us to ask
    0x910003E2,  #         mov  x2, sp
    0xD2800103,  #         mov  x3, #8
    0xD28010E8,  #         mov  x8, #135              rt_sigprocmask
    0xD4000001,  #         svc  #0
    0xD2800220,  #         mov  x0, #17               SIGCHLD
    0xD2800001,  #         mov  x1, #0
    0xD2800002,  #         mov  x2, #0
    0xD2800003,  #         mov  x3, #0
    0xD2800004,  #         mov  x4, #0
    0xD2801B88,  #         mov  x8, #220              clone, which is fork
    0xD4000001,  #         svc  #0
    0x2A0003F6,  #         mov  w22, w0               the command's process
    0x34000460,  #         cbz  w0, child
    0xD2800FC0,  #         mov  x0, #126
    0x37F803F6,  #         tbnz w22, #31, quit        no process left (pids.max)
    0xAA1303E0,  # wait:   mov  x0, x19               any signal
    0xD2800001,  #         mov  x1, #0
    0xD2800002,  #         mov  x2, #0
    0xD2800103,  #         mov  x3, #8
    0xD2801128,  #         mov  x8, #137              rt_sigtimedwait
    0xD4000001,  #         svc  #0
    0x7100441F,  #         cmp  w0, #17               SIGCHLD
    0x54000100,  #         b.eq reap
    0x7100001F,  #         cmp  w0, #0
    0x54FFFEED,  #         b.le wait                  EINTR
    0x2A0003E1,  #         mov  w1, w0                all others are for the command
    0x2A1603E0,  #         mov  w0, w22
    0xD2801028,  #         mov  x8, #129              kill
    0xD4000001,  #         svc  #0
    0x17FFFFF2,  #         b  wait
    0x92800000,  # reap:   mov  x0, #-1               any child
    0x910003E1,  #         mov  x1, sp
    0xD2800022,  #         mov  x2, #1                WNOHANG
    0xD2800003,  #         mov  x3, #0
    0xD2802088,  #         mov  x8, #260              wait4
    0xD4000001,  #         svc  #0
    0x7100001F,  #         cmp  w0, #0
    0x54FFFD4D,  #         b.le wait                  no more of them
    0x6B16001F,  #         cmp  w0, w22
    0x54FFFEE1,  #         b.ne reap
    0xB94003E9,  #         ldr  w9, [sp]              the command has ended: so do we
    0x53087D20,  #         lsr  w0, w9, #8
    0x72001929,  #         ands w9, w9, #127
    0x54000040,  #         b.eq quit
    0x11020120,  #         add  w0, w9, #128          by a signal
    0xD2800BC8,  # quit:   mov  x8, #94               exit_group
    0xD4000001,  #         svc  #0
    0xD2800000,  # child:  mov  x0, #0
    0xD2800001,  #         mov  x1, #0
    0xD2801348,  #         mov  x8, #154              setpgid: a group of its own
    0xD4000001,  #         svc  #0
    0xD2801588,  #         mov  x8, #172              getpid
    0xD4000001,  #         svc  #0
    0xB9000BE0,  #         str  w0, [sp, #8]
    0xD2800000,  #         mov  x0, #0
    0xD28A8201,  #         mov  x1, #0x5410           TIOCSPGRP: the one for ^C
    0x910023E2,  #         add  x2, sp, #8
    0xD28003A8,  #         mov  x8, #29               ioctl, if it has a terminal
    0xD4000001,  #         svc  #0
    0xD2800040,  #         mov  x0, #2
    0x910003E1,  #         mov  x1, sp                the mask we began with
    0xD2800002,  #         mov  x2, #0
    0xD2800103,  #         mov  x3, #8
    0xD28010E8,  #         mov  x8, #135              rt_sigprocmask
    0xD4000001,  #         svc  #0
    0x52800FF8,  #         mov  w24, #127             not found
    0x9100A277,  #         add  x23, x19, #40         the paths to try
    0xF84086E0,  # try:    ldr  x0, [x23], #8
    0xB4000160,  #         cbz  x0, failed
    0xAA1403E1,  #         mov  x1, x20
    0xAA1503E2,  #         mov  x2, x21
    0xD2801BA8,  #         mov  x8, #221              execve
    0xD4000001,  #         svc  #0
    0x3100081F,  #         cmn  w0, #2                ENOENT
    0x54FFFF20,  #         b.eq try
    0x3100501F,  #         cmn  w0, #20               ENOTDIR
    0x54FFFEE0,  #         b.eq try
    0x52800FD8,  #         mov  w24, #126             found, and not executable
    0x17FFFFF5,  #         b  try
    0x91002269,  # failed: add  x9, x19, #8           what to say of 127
    0x7101FF1F,  #         cmp  w24, #127
    0x54000040,  #         b.eq say
    0x91004129,  #         add  x9, x9, #16           and of 126
    0xA9400921,  # say:    ldp  x1, x2, [x9]
    0xD2800040,  #         mov  x0, #2
    0xD2800808,  #         mov  x8, #64               write
    0xD4000001,  #         svc  #0
    0x2A1803E0,  #         mov  w0, w24
    0x17FFFFD5,  #         b  quit
))
MACHINES = {"x86_64": (X86_64, elf.X86_64), "aarch64": (AARCH64, elf.AARCH64)}
# fmt: on


def install(spec: dict[str, Any], directory: str) -> None:
    """Put the reaper before the command of ``spec``, and its file into the bundle ``directory``."""
    process = spec["process"]
    name, path = process["args"][0], f"{directory}/{FILE}"
    with open(path + ".new", "wb") as file:
        os.fchmod(file.fileno(), 0o755)
        file.write(build(os.uname().machine, name, candidates(name, process["env"])))
    os.rename(path + ".new", path)
    process["args"] = [PLACE, "--", *process["args"]]
    spec["mounts"].append(
        {
            "destination": PLACE,
            "type": "bind",
            "source": path,
            "options": ["bind", "rprivate", "ro", "nosuid", "nodev"],
        }
    )


def candidates(name: str, env: Sequence[str]) -> list[str]:
    """The paths to try for a command, as execvp(3) would.

    >>> candidates("sh", ["A=b", "PATH=/bin::/usr/bin/"]), candidates("./run", [])
    (['/bin/sh', './sh', '/usr/bin/sh'], ['./run'])
    """
    if "/" in name:
        return [name]
    path = next((text[5:] for text in env if text.startswith("PATH=")), "/bin:/usr/bin")
    return [os.path.join(folder or ".", name) for folder in path.split(":")]


def build(machine: str, name: str, paths: Sequence[str]) -> bytes:
    """The ELF file that runs the first of ``paths`` that there is."""
    if machine not in MACHINES:
        raise Error(f"--init: no machine code for {machine}: only for {' and '.join(MACHINES)}")
    code, number = MACHINES[machine]
    code += bytes(-len(code) % 8)
    shown = printable(name)[:80]
    says = [
        f"error: {shown}: no such command in the container\n".encode(),
        f"error: {shown}: cannot be executed\n".encode(),
    ]
    texts = [*says, *(os.fsencode(path) + b"\0" for path in paths)]
    at = elf.BASE + elf.HEADERS + len(code) + 8 * (5 + len(paths) + 1)
    places = []
    for text in texts:
        places.append(at)
        at += len(text)
    said = (places[0], len(says[0]), places[1], len(says[1]))
    data = pack(f"<{6 + len(paths)}Q", 2**64 - 1, *said, *places[2:], 0)
    return elf.executable(number, code + data + b"".join(texts))
