"""The system calls that a container may make when nobody says otherwise, as ``linux.seccomp``.

The decisions are those of Docker's default profile (github.com/moby/profiles, July 2026), so what
runs under Docker runs here: what a program needs is allowed, and what only root of a whole machine
needs (modules, mounts, clocks, keys, new user namespaces) is refused with EPERM, unless the
container was given the capability that the call is about. It is a second fence behind the
capabilities: what cannot be called cannot have an exploitable bug.

Two differences, both on the safe side:

- x32, a third set of numbers on x86_64 that hardly any kernel takes, is killed, not filtered.
- ``socket`` is decided on the 32 bits of the address family that the kernel looks at. Docker's
  profile compares 64 bits, so that 2**32 + 40 gets by as "greater than 40", and makes a vsock.

Plain data and one function, used by the engine when it writes a config.json.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

EPERM, ENOSYS = 1, 38

# Which other numbers a kernel takes beside those of its own architecture.
ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
    "loongarch64": ["SCMP_ARCH_LOONGARCH64"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
}

# Names that end in 32 or 64 are the same call on architectures where it once had smaller fields.
ALLOWED = {
    "files": """
        open openat openat2 creat close close_range read readv pread64 preadv preadv2 write writev
        pwrite64 pwritev pwritev2 lseek _llseek sendfile sendfile64 copy_file_range splice tee
        vmsplice readahead fadvise64 fadvise64_64 fallocate truncate truncate64 ftruncate
        ftruncate64 sync syncfs fsync fdatasync sync_file_range flock fcntl fcntl64 ioctl dup dup2
        dup3 pipe pipe2 memfd_create memfd_secret
    """,
    "names and what is known of files": """
        access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat
        statx statfs statfs64 fstatfs fstatfs64 statmount listmount readlink readlinkat getdents
        getdents64 getcwd chdir fchdir mkdir mkdirat rmdir mknod mknodat link linkat symlink
        symlinkat unlink unlinkat rename renameat renameat2 chmod fchmod fchmodat fchmodat2 chown
        chown32 fchown fchown32 fchownat lchown lchown32 umask utime utimes futimesat utimensat
        utimensat_time64 name_to_handle_at getxattr lgetxattr fgetxattr getxattrat setxattr
        lsetxattr fsetxattr setxattrat listxattr llistxattr flistxattr listxattrat removexattr
        lremovexattr fremovexattr removexattrat
    """,
    "memory": """
        brk mmap mmap2 munmap mremap mprotect msync madvise mincore mlock mlock2 mlockall munlock
        munlockall remap_file_pages membarrier pkey_alloc pkey_free pkey_mprotect mseal
        map_shadow_stack process_mrelease
    """,
    "processes": """
        fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid
        getpgid getpgrp setpgid getsid setsid set_tid_address get_robust_list set_robust_list
        get_thread_area set_thread_area rseq prctl getrlimit ugetrlimit setrlimit prlimit64
        getrusage times kill tkill tgkill pidfd_open pidfd_send_signal restart_syscall uretprobe
        process_vm_readv process_vm_writev ptrace
    """,
    "users, and giving powers up": """
        getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32
        getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid
        setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid
        setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset seccomp
        landlock_create_ruleset landlock_add_rule landlock_restrict_self
    """,
    "signals": """
        rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn
        rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaltstack sigprocmask sigreturn
        signalfd signalfd4 pause alarm
    """,
    "time": """
        time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64
        clock_nanosleep clock_nanosleep_time64 clock_adjtime clock_adjtime64 adjtimex nanosleep
        getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime
        timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
        timerfd_gettime64 timerfd_settime timerfd_settime64
    """,
    "scheduling": """
        sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam
        sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max
        sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 getpriority
        setpriority ioprio_get ioprio_set getcpu
    """,
    "waiting": """
        select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create
        epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2
        eventfd eventfd2 inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
        fanotify_mark futex futex_time64 futex_wait futex_waitv futex_wake futex_requeue io_setup
        io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64
    """,
    "network": """
        socketpair socketcall bind listen accept accept4 connect shutdown getsockname getpeername
        getsockopt setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg
        recvmmsg_time64
    """,
    "messages between processes": """
        ipc shmget shmat shmctl shmdt semget semop semctl semtimedop semtimedop_time64 msgget msgsnd
        msgrcv msgctl mq_open mq_unlink mq_getsetattr mq_notify mq_timedsend mq_timedsend_time64
        mq_timedreceive mq_timedreceive_time64
    """,
    "the machine": "uname sysinfo getrandom cachestat riscv_hwprobe",
}

WITH_CAPABILITY = {
    "CAP_BPF": "bpf",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
        open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
        umount umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "init_module finit_module delete_module",
    "CAP_SYS_NICE": "get_mempolicy set_mempolicy set_mempolicy_home_node mbind",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}

_ARM = "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"
ON_MACHINE = {
    "x86_64": "arch_prctl modify_ldt",
    "aarch64": _ARM,
    "armv7l": _ARM,
    "ppc64le": "sync_file_range2 swapcontext",
    "riscv64": "riscv_flush_icache",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}

# Address families as (bits to look at, what they must be): all below 128 but 38 (AF_ALG, the
# kernel's cryptography: a large surface that few programs use) and 40 (AF_VSOCK, which talks to
# the hypervisor and knows no network namespaces). The kernel itself knows 46.
FAMILIES = (
    (0xFFFFFFE0, 0),  # 0 to 31
    (0xFFFFFFFC, 32),  # to 35
    (0xFFFFFFFE, 36),  # 36, 37
    (0xFFFFFFFF, 39),
    (0xFFFFFFFF, 41),
    (0xFFFFFFFE, 42),  # 42, 43
    (0xFFFFFFFC, 44),  # to 47
    (0xFFFFFFF0, 48),  # to 63
    (0xFFFFFFC0, 64),  # to 127
)

# personality(2): Linux as it is, with UNAME26, as on 32 bits (PER_LINUX32), both; and "tell me".
PERSONALITIES = (0x0, 0x20000, 0x8, 0x20008, 0xFFFFFFFF)

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET: none of them.
CLONE_NEW_MASK = 0x7E020000


def default(capabilities: Iterable[str], machine: str) -> dict[str, Any]:
    """``linux.seccomp`` for a container with these capabilities (its bounding set) on ``machine``.

    ``machine`` is what uname(2) calls it, such as "x86_64".
    """
    held = set(capabilities)
    names = [name for text in ALLOWED.values() for name in text.split()]
    for capability, text in WITH_CAPABILITY.items():
        if capability in held:
            names += text.split()
    names += ON_MACHINE.get(machine, "").split()
    rules = [
        {"names": list(dict.fromkeys(names)), "action": "SCMP_ACT_ALLOW"},
        *(_allow_if("socket", 0, "SCMP_CMP_MASKED_EQ", *family) for family in FAMILIES),
        *(_allow_if("personality", 0, "SCMP_CMP_EQ", persona) for persona in PERSONALITIES),
    ]
    if "CAP_SYS_ADMIN" not in held:
        flags_at = 1 if machine == "s390x" else 0
        rules += [
            _allow_if("clone", flags_at, "SCMP_CMP_MASKED_EQ", CLONE_NEW_MASK, 0),
            # clone3's flags are in memory, out of a filter's sight: programs must use clone
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
        ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": ARCHITECTURES.get(machine, []),
        "syscalls": rules,
    }


def _allow_if(
    name: str, index: int, operator: str, value: int, value_two: int | None = None
) -> dict[str, Any]:
    argument = {"index": index, "value": value, "op": operator}
    if value_two is not None:
        argument["valueTwo"] = value_two
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]}
