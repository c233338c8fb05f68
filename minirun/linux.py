"""The system calls that a container is made of, named as in man 2: the one door to the kernel.

Python's ``os`` lacks most of them, so ctypes calls the C library, or syscall(2) for what the oldest
library we run on (glibc 2.35) has no function for. Two rules hold for every call here:

- What fails raises ``OSError(errno, "name: reason", path)``; nothing returns -1.
- What was called is told to the observer, if there is one (``observe``). ``--explain`` is such an
  observer, so a trace of a container's birth is made of the calls themselves. The few functions of
  ``os`` that the set-up of a container needs are told too: see calls.py.

This module is loaded at the start of every container: it imports nothing but ``os`` and ctypes.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_int, c_long, c_uint, c_uint64, c_ulong, c_void_p

from minirun import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Path = str | bytes

# mount(2), umount2(2)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_SYNCHRONOUS, MS_REMOUNT, MS_MANDLOCK, MS_DIRSYNC = 0x10, 0x20, 0x40, 0x80
MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME = 0x100, 0x400, 0x800
MS_BIND, MS_MOVE, MS_REC, MS_SILENT = 0x1000, 0x2000, 0x4000, 0x8000
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
MS_RELATIME, MS_STRICTATIME, MS_LAZYTIME = 1 << 21, 1 << 24, 1 << 25
MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW = 0x1, 0x2, 0x4, 0x8

# the mount calls that work on file descriptors: open_tree(2), move_mount(2), fsopen(2), fsmount(2)
OPEN_TREE_CLONE, OPEN_TREE_CLOEXEC = 0x1, os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH = 0x4, 0x40
FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, FSPICK_CLOEXEC, FSPICK_EMPTY_PATH = 0x1, 0x1, 0x1, 0x8
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_SET_FD = 0, 1, 5
FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE = 6, 7
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 0x1, 0x2, 0x4, 0x8
MOUNT_ATTR_RELATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_STRICTATIME = 0x0, 0x10, 0x20
MOUNT_ATTR__ATIME, MOUNT_ATTR_NODIRATIME = 0x70, 0x80
MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOSYMFOLLOW = 0x100000, 0x200000

# openat2(2) and the *at calls
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS = 0x1, 0x2, 0x4
RESOLVE_BENEATH, RESOLVE_IN_ROOT = 0x8, 0x10
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x100, 0x1000, 0x8000
CLOSE_RANGE_CLOEXEC = 4

# unshare(2), setns(2)
CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x80, 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 1 << 27, 1 << 28, 1 << 29, 1 << 30

CLONE_PARENT, MSG_NOSIGNAL = 0x8000, 0x4000  # clone(2), send(2)

# prctl(2)
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_KEEPCAPS = 1, 3, 4, 8
PR_SET_SECCOMP, PR_CAPBSET_READ, PR_CAPBSET_DROP = 22, 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 36, 38, 39
PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, PR_CAP_AMBIENT_RAISE = 47, 1, 2
PR_CAP_AMBIENT_LOWER, PR_CAP_AMBIENT_CLEAR_ALL = 3, 4

# capabilities(7), in the order of their bits: linux/capability.h
CAPABILITIES = tuple(f"CAP_{name}" for name in (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split())  # fmt: skip

# seccomp(2), keyctl(2), statfs(2)
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 2, 4
SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 8, 32
KEYCTL_JOIN_SESSION_KEYRING = 1
PROC_SUPER_MAGIC, SYSFS_MAGIC, DEVPTS_SUPER_MAGIC = 0x9FA0, 0x62656572, 0x1CD1
CGROUP2_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC = 0x63677270, 0x794C7630
PROC_ROOT_INO = 1  # of the top of every procfs, and of nothing else in it

_libc = ctypes.CDLL(None, use_errno=True)

# what Python has
observe, told, fork, kill, dup2 = calls.observe, calls.told, calls.fork, calls.kill, calls.dup2
chdir, fchdir, chroot, setsid = calls.chdir, calls.fchdir, calls.chroot, calls.setsid
mkdirat, mknodat, symlinkat = calls.mkdirat, calls.mknodat, calls.symlinkat
fchownat, setresuid, setresgid = calls.fchownat, calls.setresuid, calls.setresgid


def _prototype(
    name: str, *types: Any, path: int | None = None, number: int | None = None
) -> Callable[..., int]:
    """One system call as a function. ``path`` is the index of the argument that an error names;
    ``number`` is given for calls that the C library doesn't know."""
    function: Any = None

    def call(*arguments: Any) -> int:
        nonlocal function
        if function is None:  # looked up when first called: a process needs few of them
            function = _libc[name if number is None else "syscall"]
            function.argtypes = types if number is None else (c_long, *types)
            function.restype = c_int if number is None else c_long
        result: int = function(*arguments) if number is None else function(number, *arguments)
        if result != -1:
            told(name, arguments, result)
            return result
        error = ctypes.get_errno()
        failure = OSError(error, f"{name}: {os.strerror(error)}")
        if path is not None and arguments[path] is not None:
            failure.filename = os.fsdecode(arguments[path])
        told(name, arguments, failure)
        raise failure

    return call


def _bytes(path: Path | None) -> bytes | None:
    """A string for the kernel, which would take what follows a zero byte as never said."""
    if path is None:
        return None
    data = os.fsencode(path)
    if b"\0" in data:
        raise OSError(22, "a zero byte in a path", path)
    return data


# pivot_root(2) and the capability calls are in glibc without a declaration in its headers. System
# calls since Linux 5.1 have one number everywhere; the older two differ between x86 and the rest.
_X86 = os.uname().machine == "x86_64"
_mount = _prototype("mount", c_void_p, c_void_p, c_void_p, c_ulong, c_void_p, path=1)
_umount2 = _prototype("umount2", c_void_p, c_int, path=0)
_pivot_root = _prototype("pivot_root", c_void_p, c_void_p, path=0)
_unshare = _prototype("unshare", c_int)
_setns = _prototype("setns", c_int, c_int)
_prctl = _prototype("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)
_capget = _prototype("capget", c_void_p, c_void_p)
_capset = _prototype("capset", c_void_p, c_void_p)
_sethostname = _prototype("sethostname", c_void_p, c_ulong)
_setdomainname = _prototype("setdomainname", c_void_p, c_ulong)
_syncfs = _prototype("syncfs", c_int)
_prlimit = _prototype("prlimit", c_int, c_int, c_void_p, c_void_p)
_fstatfs = _prototype("fstatfs", c_int, c_void_p)
_signalfd = _prototype("signalfd", c_int, c_void_p, c_int)
_sigprocmask = _prototype("sigprocmask", c_int, c_void_p, c_void_p)
_signal = _prototype("signal", c_int, c_void_p)
_personality = _prototype("personality", c_ulong)
_seccomp = _prototype("seccomp", c_uint, c_uint, c_void_p, number=317 if _X86 else 277)
_bpf = _prototype("bpf", c_int, c_void_p, c_uint, number=321 if _X86 else 280)
_keyctl = _prototype("keyctl", c_int, c_void_p, c_ulong, c_ulong, number=250 if _X86 else 219)
_sched_setattr = _prototype(
    "sched_setattr", c_int, c_void_p, c_uint, number=314 if _X86 else 274
)
_ioprio_set = _prototype("ioprio_set", c_int, c_int, c_int, number=251 if _X86 else 30)
_set_mempolicy = _prototype(
    "set_mempolicy", c_int, c_void_p, c_ulong, number=238 if _X86 else 237
)
_pidfd_send_signal = _prototype("pidfd_send_signal", c_int, c_int, c_void_p, c_uint, number=424)
_open_tree = _prototype("open_tree", c_int, c_void_p, c_uint, path=1, number=428)
_move_mount = _prototype("move_mount", c_int, c_void_p, c_int, c_void_p, c_uint, path=3, number=429)
_fsopen = _prototype("fsopen", c_void_p, c_uint, path=0, number=430)
_fsconfig = _prototype("fsconfig", c_int, c_uint, c_void_p, c_void_p, c_int, path=2, number=431)
_fsmount = _prototype("fsmount", c_int, c_uint, c_uint, number=432)
_fspick = _prototype("fspick", c_int, c_void_p, c_uint, path=1, number=433)
_close_range = _prototype("close_range", c_uint, c_uint, c_uint, number=436)
_openat2 = _prototype("openat2", c_int, c_void_p, c_void_p, c_ulong, path=1, number=437)
_mount_setattr = _prototype(
    "mount_setattr", c_int, c_void_p, c_uint, c_void_p, c_ulong, path=1, number=442
)


def mount(
    source: Path | None,
    target: Path,
    fstype: str | None = None,
    flags: int = 0,
    data: Path | None = None,
) -> None:
    """mount(2): ``flags`` are MS_*, ``data`` is what the file system itself understands."""
    _mount(_bytes(source), _bytes(target), _bytes(fstype), flags, _bytes(data))


def umount2(target: Path, flags: int = 0) -> None:
    """umount2(2): ``flags`` are MNT_* and UMOUNT_NOFOLLOW."""
    _umount2(_bytes(target), flags)


def pivot_root(new_root: Path, put_old: Path) -> None:
    """pivot_root(2): ``new_root`` becomes "/" of this mount namespace, "/" moves to ``put_old``."""
    _pivot_root(_bytes(new_root), _bytes(put_old))


def unshare(flags: int) -> None:
    """unshare(2): new namespaces (CLONE_NEW*); PID and time ones begin with the next child."""
    _unshare(flags)


def setns(fd: int, nstype: int = 0) -> None:
    """setns(2): join the namespace that ``fd`` is open on; ``nstype`` is the CLONE_NEW* wanted."""
    _setns(fd, nstype)


def openat2(dir_fd: int, path: Path, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2): open with a rule (RESOLVE_*) about where the path may lead. Close-on-exec."""
    how = (c_uint64 * 3)(flags | os.O_CLOEXEC, mode, resolve)
    return _openat2(dir_fd, _bytes(path), how, ctypes.sizeof(how))


def open_tree(dir_fd: int, path: Path, flags: int = 0) -> int:
    """open_tree(2): a mount (OPEN_TREE_CLONE: a new one of the same files, attached nowhere)."""
    return _open_tree(dir_fd, _bytes(path), flags | OPEN_TREE_CLOEXEC)


def move_mount(from_fd: int, from_path: Path, to_fd: int, to_path: Path, flags: int = 0) -> None:
    """move_mount(2): attach a mount; empty paths (MOVE_MOUNT_*_EMPTY_PATH) mean the fds."""
    _move_mount(from_fd, _bytes(from_path), to_fd, _bytes(to_path), flags)


def fsopen(fstype: str) -> int:
    """fsopen(2): begin to make a mount of ``fstype``. Reading the fd yields the kernel's words."""
    return _fsopen(_bytes(fstype), FSOPEN_CLOEXEC)


def fsconfig(
    fd: int, command: int, key: str | None = None, value: Path | None = None, aux: int = 0
) -> None:
    """fsconfig(2): set one option (FSCONFIG_SET_*) or make the file system (FSCONFIG_CMD_*)."""
    _fsconfig(fd, command, _bytes(key), _bytes(value), aux)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): the mount (MOUNT_ATTR_*) of what fsopen and fsconfig made, attached nowhere."""
    return _fsmount(fd, FSMOUNT_CLOEXEC, attributes)


def fspick(fd: int) -> int:
    """fspick(2): begin to change the file system that ``fd``, the top of a mount, is open on."""
    return _fspick(fd, b"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH)


def mount_setattr(
    dir_fd: int,
    path: Path,
    flags: int,
    *,
    set: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns_fd: int = 0,
) -> None:
    """mount_setattr(2): change MOUNT_ATTR_* and propagation (MS_*), AT_RECURSIVE for all below."""
    attributes = (c_uint64 * 4)(set, clear, propagation, userns_fd)
    _mount_setattr(dir_fd, _bytes(path), flags, attributes, ctypes.sizeof(attributes))


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    """prctl(2)"""
    return _prctl(option, arg2, arg3, arg4, arg5)


CAPABILITY_HEADER = (0x20080522).to_bytes(4, "little") + bytes(4)  # version 3, this process


def capability_sets(effective: int, permitted: int, inheritable: int) -> bytes:
    """Three masks as capset(2) wants them: first the low words of each, then the high words."""
    sets = (effective, permitted, inheritable)
    words = [s & 0xFFFFFFFF for s in sets] + [s >> 32 for s in sets]
    return b"".join(word.to_bytes(4, "little") for word in words)


def capget() -> tuple[int, int, int]:
    """capget(2): (effective, permitted, inheritable) of this process, as masks."""
    sets = (c_uint * 6)()
    _capget(CAPABILITY_HEADER, sets)
    effective, permitted, inheritable = (sets[i] | sets[i + 3] << 32 for i in range(3))
    return effective, permitted, inheritable


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2): the three sets of this process, as masks."""
    _capset(CAPABILITY_HEADER, capability_sets(effective, permitted, inheritable))


class _sock_fprog(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def seccomp(operation: int, flags: int, program: bytes | None = None) -> int:
    """seccomp(2) with ``program``, an array of struct sock_filter; a listener's fd, or 0."""
    if program is None:
        return _seccomp(operation, flags, None)
    return _seccomp(operation, flags, ctypes.byref(_sock_fprog(len(program) // 8, program)))


def bpf(command: int, attributes: Any) -> int:
    """bpf(2): ``attributes`` is a ctypes structure or array, the call's union bpf_attr."""
    return _bpf(command, ctypes.byref(attributes), ctypes.sizeof(attributes))


def sethostname(name: str) -> None:
    """sethostname(2): of this UTS namespace."""
    data = os.fsencode(name)
    _sethostname(data, len(data))


def setdomainname(name: str) -> None:
    """setdomainname(2): the NIS domain of this UTS namespace."""
    data = os.fsencode(name)
    _setdomainname(data, len(data))


def keyctl(operation: int, arg2: Path | None = None, arg3: int = 0, arg4: int = 0) -> int:
    """keyctl(2)"""
    return _keyctl(operation, _bytes(arg2), arg3, arg4)


def syncfs(fd: int) -> None:
    """syncfs(2): flush the one file system that ``fd`` is on."""
    _syncfs(fd)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2): both ends included."""
    _close_range(first, last, flags)


def prlimit(pid: int, resource: int, soft: int, hard: int) -> None:
    """prlimit(2): set a limit of process ``pid`` (0: this one); 2**64 - 1 is no limit."""
    _prlimit(pid, resource, (c_uint64 * 2)(soft, hard), None)


def fstatfs_type(fd: int) -> int:
    """fstatfs(2): the kind of the file system (*_MAGIC) that ``fd`` is on."""
    buffer = (c_long * 16)()
    _fstatfs(fd, buffer)
    return int(buffer[0])


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2): to that very process, and never to one that got its number later."""
    _pidfd_send_signal(pidfd, signal, None, 0)


def personality(persona: int) -> int:
    """personality(2): the execution domain; returns the old one."""
    return _personality(persona)


def sched_setattr(pid: int, attributes: bytes) -> None:
    """sched_setattr(2): ``attributes`` is a struct sched_attr."""
    _sched_setattr(pid, attributes, 0)


def ioprio_set(pid: int, priority: int) -> None:
    """ioprio_set(2): the class (IOPRIO_CLASS_*, shifted by 13) and the priority in it."""
    _ioprio_set(1, pid, priority)  # IOPRIO_WHO_PROCESS


def set_mempolicy(mode: int, nodes: bytes) -> None:
    """set_mempolicy(2) of this process: MPOL_*, and a mask of memory nodes."""
    _set_mempolicy(mode, nodes or None, 8 * len(nodes) + 1 if nodes else 0)


def _signal_set(signals: Sequence[int]) -> Any:
    bits = 0
    for signal in signals:
        bits |= 1 << (signal - 1)
    return (c_uint64 * 16)(bits)


def sigprocmask(how: int, signals: Sequence[int]) -> None:
    """sigprocmask(2): ``how`` is 0 to block, 1 to unblock, 2 to block these and no others."""
    _sigprocmask(how, _signal_set(signals), None)


def signal_default(signal: int) -> None:
    """signal(2) with SIG_DFL: the signal does again what signal(7) says."""
    _signal(signal, None)


def signalfd(signals: Sequence[int]) -> int:
    """signalfd(2): an fd that yields 128 bytes for each signal; the first four are its number."""
    return _signalfd(-1, _signal_set(signals), os.O_CLOEXEC)


def open_proc(path: str, flags: int) -> int:
    """Open a file of the real /proc, ``path`` below it. Whatever is mounted over it or over a part
    of it (EXDEV) would have us tell something else than we mean, or tell it to somebody else:
    CVE-2025-52881."""
    top = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if fstatfs_type(top) != PROC_SUPER_MAGIC or os.fstat(top).st_ino != PROC_ROOT_INO:
            raise OSError(18, "/proc is not the kernel's", path)
        return openat2(top, path, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_XDEV)
    finally:
        os.close(top)


def write_file(path: Path, data: Path, dir_fd: int | None = None) -> None:
    """As ``calls.write_file``, also below a directory, and to the kernel's own /proc."""

    def opener(name: str) -> int:
        if name.startswith("/proc/"):
            return open_proc(name.removeprefix("/proc/"), os.O_WRONLY)
        return os.open(name, calls.WRITE, dir_fd=dir_fd)

    calls.write_file(os.fsdecode(path), data, opener)
