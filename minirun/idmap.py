"""User namespaces: who is who inside and outside (user_namespaces(7)).

A row of ``linux.uidMappings`` says: the IDs containerID, containerID + 1, … (``size`` of them) in
the container are hostID, hostID + 1, … outside it. The rows are the parent's to write, for this is
the question of who may act as whom:

- Who has CAP_SETUID (CAP_SETGID) outside may write any rows.
- Everybody may write one row of one ID: their own. For groups only if setgroups(2) is given up for
  good, since to leave a group may open files that are closed to it.
- What root has lent to a user in /etc/subuid and /etc/subgid, the set-user-ID programs newuidmap(1)
  and newgidmap(1) write for them.

Interface: rows, check, own, write, identity, become, is_root_of_machine, read, refusal,
remedy.
"""

from __future__ import annotations

import os
from errno import EACCES, ENOSPC, EPERM

from minirun import linux
from minirun.errors import SpecError, StepError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = tuple[int, int, int]  # the first ID inside, the first ID outside, how many

FIELDS = {"uid": "linux.uidMappings", "gid": "linux.gidMappings"}
MAX_ROWS, MAX_TEXT = 340, 4095  # UID_GID_MAP_MAX_EXTENTS; less than a page in one write(2)
NO_ID = (1 << 32) - 1  # -1, which says "no change" to setuid(2) and its like

# Switches of a machine that closes user namespaces to ordinary users, and what opens them.
SWITCHES = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "as root: "
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (or give minirun-oci's Python an "
     "AppArmor profile with the rule `userns,`)"),
    ("kernel/unprivileged_userns_clone", "0", "as root: sysctl -w "
     "kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "as root: sysctl -w user.max_user_namespaces=15000"),
)  # fmt: skip


def rows(mappings: list[dict[str, int]]) -> list[Row]:
    return [(row["containerID"], row["hostID"], row["size"]) for row in mappings]


def check(mappings: list[dict[str, int]], field: str) -> None:
    """Refuse rows that the kernel would only call "invalid".

    >>> check([{"containerID": 0, "hostID": 7, "size": 1}] * 2, "linux.uidMappings")
    Traceback (most recent call last):
        ...
    minirun.errors.SpecError: linux.uidMappings: containerID 0 a second time
    """
    if len(mappings) > MAX_ROWS or len(_text(rows(mappings))) > MAX_TEXT:
        raise SpecError(
            f"{field}: {len(mappings)} rows are more than the kernel takes",
            hint=f"at most {MAX_ROWS} rows, in {MAX_TEXT} bytes of text (user_namespaces(7))",
        )
    for key in ("containerID", "hostID"):
        free = 0
        for first, size in sorted((row[key], row["size"]) for row in mappings):
            if first < free:
                raise SpecError(f"{field}: {key} {first} a second time")
            if size < 1 or first + size > NO_ID:
                raise SpecError(f"{field}: {key} {first}: a size of {size} is out of range")
            free = first + size


def _text(rows: list[Row]) -> str:
    return "".join(f"{inside} {outside} {size}\n" for inside, outside, size in rows)


def write(pid: int, mappings: dict[str, list[Row]]) -> None:
    """Write the maps {"uid": rows, "gid": rows} of ``pid``, which has made a user namespace."""
    for kind, wanted in mappings.items():
        try:
            linux.write_file(f"/proc/{pid}/{kind}_map", _text(wanted))
        except PermissionError:
            for first, size in [row[1:] for row in wanted]:
                if not is_mapped(read(kind), first, size):
                    raise SpecError(
                        f"{FIELDS[kind]}: hostID {first} to {first + size - 1} are not mapped "
                        "in the user namespace that we are in ourselves",
                        hint=f"cat /proc/self/{kind}_map shows which are, in the first column",
                    ) from None
            if kind == "gid" and _own(kind, wanted):
                linux.write_file(f"/proc/{pid}/setgroups", "deny")
                linux.write_file(f"/proc/{pid}/gid_map", _text(wanted))
            else:
                _write_lent(kind, pid, wanted)


def _own(kind: str, wanted: list[Row]) -> bool:
    """Is it the one row that everybody may write?"""
    own = os.geteuid() if kind == "uid" else os.getegid()
    return len(wanted) == 1 and wanted[0][1:] == (own, 1)


def _write_lent(kind: str, pid: int, wanted: list[Row]) -> None:
    """Have newuidmap(1) or newgidmap(1) write the map; what it says when it will not."""
    program, place = f"new{kind}map", FIELDS[kind]
    words = os.memfd_create(program)
    try:
        child = os.posix_spawnp(
            program,
            [program, str(pid), *_text(wanted).split()],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, words, 2)],
        )
    except OSError as error:
        raise StepError(
            f"{place}: more than one's own ID takes {program}: {error.strerror}",
            hint="install the package uidmap (shadow-utils)",
        ) from error
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = os.pread(words, 1024, 0).decode(errors="replace").strip()
    os.close(words)
    if status:
        raise StepError(f"{place}: {printable(said)}", hint=_line_for_root(kind, wanted))


def _line_for_root(kind: str, wanted: list[Row]) -> str:
    """The line of subuid(5) that would lend us what is not our own."""
    import pwd

    uid, own = os.geteuid(), os.geteuid() if kind == "uid" else os.getegid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"newuidmap lends to users of /etc/passwd only, and {uid} is not there"
    lines = [f"{name}:{first}:{size}" for _, first, size in wanted if (first, size) != (own, 1)]
    return f"as root: echo {lines[0]} >> /etc/sub{kind}"


def identity(process: dict[str, Any], pid: int | str = "self") -> tuple[int, int, bool]:
    """The user and group that set a container up in the user namespace of process ``pid``: its
    root, or ``process.user`` where it has none; and whether groups can be changed in it.

    IDs of ``process.user`` that nobody maps, and additionalGids that cannot be had, are refused.
    """
    user = process.get("user") or {}
    groups = user.get("additionalGids") or []
    wanted = {"uid": [user.get("uid") or 0], "gid": [user.get("gid") or 0, *groups]}
    ids = []
    for kind, field in FIELDS.items():
        known = read(kind, pid)
        for number in wanted[kind]:
            if not is_mapped(known, number):
                raise SpecError(
                    f"process.user: {kind} {number} is not mapped in the user namespace",
                    hint=f"{field} must have a row that includes it",
                )
        ids.append(0 if is_mapped(known, 0) else wanted[kind][0])
    with open(f"/proc/{pid}/setgroups") as file:
        may_set_groups = file.read().strip() == "allow"
    if groups and not may_set_groups:
        raise SpecError(
            f"process.user.additionalGids: {groups[0]}: who maps only their own group may set none",
            hint="more gidMappings take a line in /etc/subgid and newgidmap (package uidmap)",
        )
    return ids[0], ids[1], may_set_groups


def become(uid: int, gid: int) -> None:
    """Take on an identity in the user namespace that we are in."""
    try:
        linux.setresgid(gid, gid, gid)
        linux.setresuid(uid, uid, uid)
    except PermissionError as error:  # AppArmor gives us a user namespace, but no power in it
        raise refusal(error) from error


def own(kind: str) -> list[Row]:
    """What a user namespace maps when config.json has no rows for it: root keeps all IDs that it
    has, as themselves, and anybody else becomes root. So it takes powers away, and no files."""
    if os.geteuid() == 0:
        return [(first, first, size) for first, _, size in read(kind)]
    return [(0, os.geteuid() if kind == "uid" else os.getegid(), 1)]


def is_mapped(known: list[Row], number: int, size: int = 1) -> bool:
    """Does one row have all these IDs inside?"""
    return any(first <= number and number + size <= first + count for first, _, count in known)


def is_root_of_machine() -> bool:
    """Are we root, and not only in some user namespace? The first one maps every ID to itself."""
    return os.geteuid() == 0 and read("uid") == [(0, 0, NO_ID)]


def read(kind: str, pid: int | str = "self") -> list[Row]:
    """The rows ("uid" or "gid") of the user namespace of a process; seen from outside it, or if it
    is our own, from its parent."""
    with open(f"/proc/{pid}/{kind}_map") as file:
        return [(int(a), int(b), int(c)) for a, b, c in map(str.split, file)]


def refusal(error: OSError) -> StepError:
    """What to say when namespaces are refused, and what the machine's owner can do about it."""
    return StepError(f"linux.namespaces: {error.strerror}", hint=remedy(error))


def remedy(error: OSError) -> str | None:
    """What opens a machine that refuses namespaces with this error; None if we see no reason."""
    hint = None
    for switch, closed, help_ in SWITCHES if error.errno in (EPERM, EACCES, ENOSPC) else ():
        try:
            with open(f"/proc/sys/{switch}") as file:
                if file.read().strip() == closed:
                    hint = help_
        except FileNotFoundError:
            continue
    if hint is None and error.errno == ENOSPC:
        hint = "sysctl user shows how many namespaces a user may have"
    return hint
