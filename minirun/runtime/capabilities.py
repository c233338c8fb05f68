"""Capabilities: root's power cut into pieces, of which a container gets a few (capabilities(7)).

A process has five sets, each a bit mask. ``bounding`` is the ceiling of what any execve(2) may
ever give back; ``permitted`` what the process may use; ``effective`` what it uses now;
``inheritable`` and ``ambient`` say what survives an execve(2) of a program of another user.

The order matters, since each step takes away what an earlier one needs:

    sets, ungranted = granted(process["capabilities"])
    drop_bounding(sets)       # needs CAP_SETPCAP
    setgroups, setgid, setuid # would clear the other sets, were it not for PR_SET_KEEPCAPS
    apply(sets)               # from here on the process has what the container has
"""

from __future__ import annotations

from minirun import linux
from minirun.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# In the order of their bits: linux/capability.h.
_TABLE = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES = _TABLE.split()
BITS = {f"CAP_{name}": 1 << bit for bit, name in enumerate(NAMES)}

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def mask(names: Iterable[str]) -> int:
    """The bits of capabilities by name, with or without ``CAP_``; an unknown one is refused."""
    bits = 0
    for name in names:
        bit = BITS.get(name if name.startswith("CAP_") else f"CAP_{name}")
        if bit is None:
            raise SpecError(
                f"unknown capability {name!r}", hint="capabilities(7) lists them: CAP_CHOWN, …"
            )
        bits |= bit
    return bits


def names(bits: int) -> list[str]:
    """The names in a mask, lowest bit first."""
    return [name for name, bit in BITS.items() if bits & bit]


def granted(wanted: Mapping[str, list[str] | None]) -> tuple[dict[str, int], list[str]]:
    """The five sets of a config.json as masks, and the names that cannot be granted here.

    Names that this kernel does not know, or that the runtime itself does not hold, are to be
    warned about and left out, not refused (runtime-spec, config.md, "Linux Process"): what is
    left out only makes the container weaker. The kernel's own rules between the sets are applied
    here too, because capset(2) says no more than EPERM.
    """
    _, held, _ = linux.capget()
    sets = {}
    ungranted = {}
    for kind in SETS:
        asked = wanted.get(kind) or []
        known = [name for name in asked if BITS.get(name, 0) & held]
        ungranted.update(dict.fromkeys(name for name in asked if name not in known))
        sets[kind] = mask(known)
    sets["effective"] &= sets["permitted"]
    sets["inheritable"] &= sets["bounding"]
    sets["ambient"] &= sets["permitted"] & sets["inheritable"]
    return sets, list(ungranted)


def last_cap() -> int:
    """The highest bit that this kernel knows, which may be beyond what this file can name."""
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def drop_bounding(sets: Mapping[str, int]) -> None:
    """Lower the ceiling, and keep the permitted set over the change of user that comes next."""
    for bit in range(last_cap() + 1):
        if not sets["bounding"] >> bit & 1:
            linux.prctl(linux.PR_CAPBSET_DROP, bit)
    linux.prctl(linux.PR_SET_KEEPCAPS, 1)


def apply(sets: Mapping[str, int]) -> None:
    """Take the other four sets. What this gives away cannot be had back."""
    linux.capset(sets["effective"], sets["permitted"], sets["inheritable"])
    linux.prctl(linux.PR_SET_KEEPCAPS, 0)
    linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
    for bit in range(sets["ambient"].bit_length()):
        if sets["ambient"] >> bit & 1:
            linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_RAISE, bit)
