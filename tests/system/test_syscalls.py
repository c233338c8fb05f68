"""RT44: which system calls a default container may make, tried one by one from inside it.

The probe makes every call that the profile does not allow, by its number, through each of the three
doors that x86_64 has. What must come back is what the profile says of it; that the profile says
what Docker's does is tested in tests/runtime/test_seccomp_profile.py.
"""

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from minirun import defaults, seccomp_profile
from minirun.runtime import seccomp
from minirun.runtime.syscalls import ARCHITECTURES, numbers
from tests.runtime import bpf_machine

# Reads "DOOR NUMBER ARGUMENT ARGUMENT" lines; answers each with the errno, or 1000 + the signal.
PROBE = r"""
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static long i386(long number, long first, long second) {
    int result;
    __asm__ volatile("push %%rbx; mov %2, %%ebx; int $0x80; pop %%rbx" : "=a"(result)
        : "0"((int)number), "r"((int)first), "c"((int)second), "d"(-1), "S"(-1), "D"(-1)
        : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static long native(long number, long first, long second) {
    long result = syscall(number, first, second, -1, -1, -1, -1);
    return result == -1 ? -errno : result;
}

int main(void) {
    char door[16];
    long number, first, second;
    while (scanf("%15s %ld %ld %ld", door, &number, &first, &second) == 4) {
        int status, pipe_fds[2];
        long result = 0;
        pipe(pipe_fds);
        if (!fork()) {
            alarm(2);
            result = door[0] == 'i' ? i386(number, first, second) : native(number, first, second);
            write(pipe_fds[1], &result, sizeof result);
            _exit(0);
        }
        close(pipe_fds[1]);
        read(pipe_fds[0], &result, sizeof result);
        close(pipe_fds[0]);
        wait(&status);
        printf("%ld\n", WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : -result);
        fflush(stdout);
    }
}
"""
DOORS = {"x86_64": "SCMP_ARCH_X86_64", "x32": "SCMP_ARCH_X32", "i386": "SCMP_ARCH_X86"}
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
NEWUSER = 0x10000000
PASSED = {335, 336}  # uretprobe, uprobe: since Linux 6.14 the kernel lets them pass every filter
CAPABILITIES = defaults.config()["process"]["capabilities"]["bounding"]


@pytest.fixture(scope="module")
def probe(tmp_path_factory) -> Path:
    if os.uname().machine != "x86_64":
        pytest.skip("only x86_64 has these three doors")
    directory = tmp_path_factory.mktemp("probe")
    (directory / "probe.c").write_text(PROBE)
    command = ["gcc", "-static", "-w", "-O", "-o", directory / "probe", directory / "probe.c"]
    subprocess.run(command, check=True)
    return directory / "probe"


def answers(command, probe: Path, calls: list[tuple]) -> list[int]:
    """What each of the calls (door, number, two arguments) brings in a new default container."""
    lines = "".join(f"{' '.join(map(str, call))}\n" for call in calls)
    done = command("run", "--rm", "-i", "-v", f"{probe}:/probe:ro", "tiny", "/probe", input=lines)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def expected(program: list, door: str, number: int, *arguments: int) -> int | None:
    """What the filter says: an errno, 1000 + SIGSYS, or None for a call that it lets pass."""
    unsigned = [argument % 2**64 for argument in (*arguments, -1, -1, -1, -1)]
    if door == "i386":
        unsigned = [argument % 2**32 for argument in unsigned]
    audit = ARCHITECTURES[DOORS[door]].audit
    decision = bpf_machine.run(program, audit, number % 2**32, unsigned)
    if decision == ALLOW:
        return None
    return decision & 0xFFFF if decision & ~0xFFFF == ERRNO else 1000 + signal.SIGSYS


def all_calls() -> list[tuple]:
    calls = [(door, ARCHITECTURES[name].base + number, -1, -1)
             for door, name in DOORS.items() for number in (*range(512), 1000, 0x3FFFFFFF)]
    calls += [("x86_64", -1, -1, -1), ("x86_64", 0x7FFFFFFF, -1, -1)]
    for door in ("x86_64", "i386"):
        table = numbers(ARCHITECTURES[DOORS[door]])
        calls += [(door, table["socket"], family, 1) for family in (38, 40, 40 | 1 << 32)]
        calls += [(door, table["clone"], NEWUSER, 0), (door, table["clone"], NEWUSER | 17, 0),
                  (door, table["unshare"], NEWUSER, 0), (door, table["clone3"], 0, 0),
                  (door, table["personality"], 0x40000, 0)]  # fmt: skip
    return calls


def test_rt44_no_door_leads_around_the_profile(minirun, probe):
    profile = seccomp_profile.default(CAPABILITIES, "x86_64")
    program = bpf_machine.disassemble(seccomp.compile(profile, "x86_64"))
    refused = [(call, verdict) for call in all_calls()
               if (verdict := expected(program, *call)) is not None]  # fmt: skip
    assert len(refused) > 600
    got = answers(minirun, probe, [call for call, _ in refused])
    wrong = [(call, verdict, answer) for (call, verdict), answer in zip(refused, got, strict=True)
             if answer != verdict]  # fmt: skip
    wrong = [entry for entry in wrong if entry[0][:2] not in [("x86_64", n) for n in PASSED]]
    if all(call[0] == "i386" and answer == 1000 + signal.SIGSEGV for call, _, answer in wrong):
        wrong = []  # a kernel without that door
    assert wrong == []


def test_rt44_by_examples(minirun, probe):
    """The same in numbers that a reader can look up."""
    names = numbers(ARCHITECTURES["SCMP_ARCH_X86_64"])
    cases = {
        ("x86_64", names["clone3"], 0, 0): errno.ENOSYS,
        ("x86_64", names["clone"], NEWUSER, 0): errno.EPERM,
        ("x86_64", names["unshare"], NEWUSER, 0): errno.EPERM,
        ("x86_64", names["socket"], 38, 5): errno.EPERM,  # AF_ALG
        ("x86_64", names["socket"], 40, 1): errno.EPERM,  # AF_VSOCK
        ("x86_64", names["mount"], -1, -1): errno.EPERM,
        ("x86_64", names["keyctl"], 0, 0): errno.EPERM,
        ("x86_64", 1000, 0, 0): errno.ENOSYS,
        ("x32", 0x40000000 + names["getpid"], 0, 0): 1000 + signal.SIGSYS,
    }
    assert dict(zip(cases, answers(minirun, probe, list(cases)), strict=True)) == cases


def test_the_probe_tells_the_difference(minirun, probe):
    """Without the profile the calls are made, and complain of their arguments."""
    names = numbers(ARCHITECTURES["SCMP_ARCH_X86_64"])
    calls = [("x86_64", names["keyctl"], 0, 0), ("x86_64", names["socket"], 2, 1)]
    lines = "".join(f"{' '.join(map(str, call))}\n" for call in calls)
    done = minirun("run", "--rm", "-i", "--security-opt", "seccomp=unconfined", "-v",
                   f"{probe}:/probe:ro", "tiny", "/probe", input=lines)  # fmt: skip
    assert done.stdout.split() == [str(errno.EINVAL)] * 2, done
