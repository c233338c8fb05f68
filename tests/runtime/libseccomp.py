"""libseccomp as a second opinion: the same profile through the library that runc and crun use."""

import ctypes
import os

import pytest

ARCHITECTURES = {  # SCMP_ARCH_*: seccomp.h
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_MIPS": 0x00000008,
    "SCMP_ARCH_MIPS64": 0x80000008,
    "SCMP_ARCH_MIPS64N32": 0xA0000008,
    "SCMP_ARCH_MIPSEL": 0x40000008,
    "SCMP_ARCH_MIPSEL64": 0xC0000008,
    "SCMP_ARCH_MIPSEL64N32": 0xE0000008,
    "SCMP_ARCH_PPC": 0x00000014,
    "SCMP_ARCH_PPC64": 0x80000015,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
}
OPERATORS = "NE LT LE EQ GE GT MASKED_EQ".split()  # SCMP_CMP_*, from 1
UNKNOWN = -1  # __NR_SCMP_ERROR
OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE: 2 is a binary tree
ERRNO, TRACE = 0x00050000, 0x7FF00000
EPERM = 1
ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}


class Condition(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    )


def load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError:
        pytest.skip("libseccomp2 is not installed")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    for name in "release arch_add arch_remove rule_add_array export_bpf attr_set".split():
        getattr(library, f"seccomp_{name}").argtypes = {
            "release": (ctypes.c_void_p,),
            "arch_add": (ctypes.c_void_p, ctypes.c_uint32),
            "arch_remove": (ctypes.c_void_p, ctypes.c_uint32),
            "rule_add_array": (
                ctypes.c_void_p,
                ctypes.c_uint32,
                ctypes.c_int,
                ctypes.c_uint,
                ctypes.POINTER(Condition),
            ),
            "export_bpf": (ctypes.c_void_p, ctypes.c_int),
            "attr_set": (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32),
        }[name]
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_syscall_resolve_num_arch.argtypes = (ctypes.c_uint32, ctypes.c_int)
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_char_p
    return library


def number(library: ctypes.CDLL, architecture: str, name: str) -> int:
    """The number of a call; below 0 if the architecture has none."""
    token = ARCHITECTURES[architecture]
    found: int = library.seccomp_syscall_resolve_name_arch(token, name.encode())
    return found


def knows(library: ctypes.CDLL, name: str) -> bool:
    found: int = library.seccomp_syscall_resolve_name(name.encode())
    return found != UNKNOWN


def action(name: str, errno: int | None) -> int:
    carried = EPERM if errno is None else errno
    return ACTIONS[name] | (carried if ACTIONS[name] in (ERRNO, TRACE) else 0)


def compile(library: ctypes.CDLL, seccomp: dict, architectures: list[str]) -> bytes:
    """What runc loads, but for its ENOSYS stub: the filter for exactly these architectures."""
    default = action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    assert context
    try:
        native = library.seccomp_arch_native()
        tokens = [ARCHITECTURES[name] for name in architectures]
        if native not in tokens:
            check(library.seccomp_arch_remove(context, native), "arch_remove")
        for token in tokens:
            if token != native:
                check(library.seccomp_arch_add(context, token), f"arch_add {token:#x}")
        check(library.seccomp_attr_set(context, OPTIMIZE, 2), "attr_set")
        for rule in seccomp["syscalls"]:
            _add(library, context, rule, default)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: int, rule: dict, default: int) -> None:
    value = action(rule["action"], rule.get("errnoRet"))
    if value == default:
        return
    conditions = [
        Condition(
            argument["index"],
            OPERATORS.index(argument["op"].removeprefix("SCMP_CMP_")) + 1,
            argument["value"],
            argument.get("valueTwo", 0),
        )
        for argument in rule.get("args", ())
    ]
    several = len({c.index for c in conditions}) < len(conditions)
    for name in rule["names"]:
        call = library.seccomp_syscall_resolve_name(name.encode())
        for group in [[c] for c in conditions] if several else [conditions]:
            array = (Condition * len(group))(*group)
            result = library.seccomp_rule_add_array(context, value, call, len(group), array)
            check(result, f"rule_add {name}")


def _export(library: ctypes.CDLL, context: int) -> bytes:
    fd = os.memfd_create("bpf")
    with os.fdopen(fd, "rb") as file:
        check(library.seccomp_export_bpf(context, fd), "export_bpf")
        file.seek(0)
        return file.read()


def check(result: int, what: str) -> None:
    assert result >= 0, f"libseccomp: {what}: {os.strerror(-result)}"
