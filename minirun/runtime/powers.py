"""Who the command runs as and what it may do: the last system calls of all, as a table.

These calls are made by the trampoline (trampoline.py), after the last line of Python has run. Their
order is not free, since each takes away what those before it needed:

1. no_new_privs, and the bounding set: needs CAP_SETPCAP.
2. The groups, the group, the user: needs CAP_SETGID and CAP_SETUID. A change from root to another
   user empties the other capability sets, were it not for PR_SET_KEEPCAPS.
3. The capability sets. CAP_SYS_ADMIN is kept beyond what config.json grants if seccomp needs it:
   the execve that follows computes all sets anew from the user, the bounding, the inheritable and
   the ambient set (capabilities(7)), so it does not reach the command.
4. The seccomp filter. It need not allow any of the calls above.

Interface: keep, calls, seccomp.
"""

from __future__ import annotations

from struct import pack

from minirun import linux
from minirun.runtime import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.runtime.trampoline import Argument, Call

SYS_ADMIN = capabilities.BITS["CAP_SYS_ADMIN"]


def calls(
    process: dict[str, Any], last_cap: int, may_set_groups: bool, needs_admin: bool
) -> Iterator[Call]:
    """The calls that leave the process with what ``process`` grants it, and no more.

    ``last_cap`` is the kernel's highest capability; where setgroups(2) is given up (idmap.py), the
    process keeps the groups that its caller has. ``needs_admin``: for a seccomp filter, see 3.
    """
    if process.get("noNewPrivileges"):
        yield "prctl", linux.PR_SET_NO_NEW_PRIVS, 1
    sets, _ = capabilities.granted(process.get("capabilities") or {})
    for bit in range(last_cap + 1):
        if not sets["bounding"] >> bit & 1:
            yield "prctl", linux.PR_CAPBSET_DROP, bit
    yield "prctl", linux.PR_SET_KEEPCAPS, 1
    yield from _user(process.get("user") or {}, may_set_groups)
    yield from _sets(sets, SYS_ADMIN if needs_admin else 0)


def keep() -> None:
    """Keep all powers when the trampoline is executed, also by who is not root: in a user namespace
    that has none. The ambient set is for that, until ``calls`` clear it."""
    _, permitted, _ = linux.capget()
    linux.capset(permitted, permitted, permitted)
    for bit in range(permitted.bit_length()):
        if permitted >> bit & 1:
            linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_RAISE, bit)


def seccomp(filter: bytes, flags: int) -> Call:
    """The call that loads a filter."""
    program: list[Argument] = [len(filter) // 8, filter]  # struct sock_fprog: a count, a pointer
    return "seccomp", linux.SECCOMP_SET_MODE_FILTER, flags, program


def _user(user: dict[str, Any], may_set_groups: bool) -> Iterator[Call]:
    groups = user.get("additionalGids") or []
    gid, uid = user.get("gid") or 0, user.get("uid") or 0
    if may_set_groups:
        yield "setgroups", len(groups), pack(f"<{len(groups)}I", *groups)
    yield "setresgid", gid, gid, gid
    yield "setresuid", uid, uid, uid


def _sets(sets: dict[str, int], extra: int) -> Iterator[Call]:
    effective, permitted = sets["effective"] | extra, sets["permitted"] | extra
    data = linux.capability_sets(effective, permitted, sets["inheritable"])
    yield "prctl", linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL
    yield "capset", linux.CAPABILITY_HEADER, data
    for bit in range(sets["ambient"].bit_length()):
        if sets["ambient"] >> bit & 1:
            yield "prctl", linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_RAISE, bit
