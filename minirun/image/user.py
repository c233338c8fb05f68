"""Who a container's process is: from USER's text to numbers, by the image's own passwd and group.

    ""           root                        "daemon"     the user of that name
    "1000"       that number                 "1000:50"    number and group, no other groups
    "1000:www"   a number and a group's name

The kernel knows only numbers (credentials(7)); the names are in the image's /etc/passwd and
/etc/group (passwd(5), group(5)), which strangers wrote: they are looked up inside the root, must be
regular files, and are read up to a limit. What is not exactly a number or a known name is an error,
never root by accident (CVE-2026-30892).
"""

from __future__ import annotations

import io
import os
import stat

from minirun import linux
from minirun.errors import ImageError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

LARGEST_ID = (1 << 31) - 1  # ids above it are negative to half of the programs (CVE-2024-40635)
LARGEST_FILE = 10 << 20  # bytes
MAX_GROUPS = 1 << 16  # NGROUPS_MAX: the kernel takes no more. getgroups(2)
COLUMNS = {"/etc/passwd": 7, "/etc/group": 4}


class User:
    """A process's identity: ``process.user`` of config.json, and what goes with it."""

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid, self.gid, self.groups, self.home = uid, gid, groups, home

    def spec(self) -> dict[str, int | list[int]]:
        """runtime-spec, config.md, "POSIX process user". The own group stands in the list, so that
        a program that drops its group cannot get around a file's group bits (CVE-2022-36109)."""
        others = [gid for gid in self.groups if gid != self.gid]
        return {"uid": self.uid, "gid": self.gid, "additionalGids": [self.gid, *others]}


def resolve(text: str, root: str) -> User:
    """The user that ``text`` means in the root file system ``root``; raises UsageError."""
    who, colon, group = text.partition(":")
    if (colon and not (who and group)) or ":" in group:
        raise _no_user(text)
    who = who or "0"
    uid = _number(who)
    entry = _find(root, "/etc/passwd", who, uid)
    if entry:
        name, uid = entry[0], _field(entry[2], "/etc/passwd")
        gid, home = _field(entry[3], "/etc/passwd"), entry[5]
    elif uid is not None:
        name, gid, home = "", 0, ""
    else:
        raise _unknown("user", who, "/etc/passwd")
    if group:
        return User(uid, group_id(root, group), [], home or "/")
    return User(uid, gid, _memberships(root, name) if name else [], home or "/")


def _number(text: str) -> int | None:
    """``text`` as an id if it is written as one: no sign, blank, leading zero, other alphabet."""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0"):
        return None
    if len(text) > 10 or int(text) > LARGEST_ID:
        raise UsageError(f"user or group {text[:40]}: ids end at {LARGEST_ID}")
    return int(text)


def group_id(root: str, text: str) -> int:
    """The group that ``text`` means there; a number need not be known."""
    number = _number(text)
    entry = _find(root, "/etc/group", text, number)
    if entry:
        return _field(entry[2], "/etc/group")
    if number is None:
        raise _unknown("group", text, "/etc/group")
    return number


def _memberships(root: str, name: str) -> list[int]:
    """The groups that list the user as a member; at most what the kernel takes."""
    gids = {
        _field(entry[2], "/etc/group")
        for entry in _entries(root, "/etc/group")
        if name in entry[3].split(",")
    }
    if len(gids) > MAX_GROUPS:
        raise ImageError(f"/etc/group of the image: {printable(name)} is in {len(gids)} groups")
    return sorted(gids)


def _find(root: str, path: str, name: str, number: int | None) -> list[str] | None:
    """The first entry with this name or, failing that, with this number."""
    by_number = None
    for entry in _entries(root, path):
        if entry[0] == name:
            return entry
        if by_number is None and number is not None and entry[2] == str(number):
            by_number = entry
    return by_number


def _entries(root: str, path: str) -> Iterator[list[str]]:
    """The lines of a database file, cut at the colons; what is not an entry is skipped."""
    with _open(root, path) as file:
        for line in file:
            entry = line.decode("utf-8", "surrogateescape").rstrip("\n").split(":")
            if len(entry) >= COLUMNS[path]:
                yield entry


def _field(text: str, path: str) -> int:
    number = _number(text)
    if number is None:
        raise ImageError(f"{path} of the image: {printable(text)[:40]!r} is not an id")
    return number


def _open(root: str, path: str) -> BinaryIO:
    """A file inside ``root``, opened only after a look at what it is: FIFOs hang, devices act.

    RESOLVE_IN_ROOT keeps a link to ``/`` inside, as chroot(2) would. openat2(2)
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_PATH | os.O_CLOEXEC
        fd = linux.openat2(root_fd, path.lstrip("/"), flags, resolve=linux.RESOLVE_IN_ROOT)
    except (FileNotFoundError, NotADirectoryError):
        return io.BytesIO()
    finally:
        os.close(root_fd)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(f"{path} of the image is not a regular file")
        if found.st_size > LARGEST_FILE:
            raise ImageError(f"{path} of the image is larger than {LARGEST_FILE >> 20} MiB")
        return open(f"/proc/self/fd/{fd}", "rb")
    finally:
        os.close(fd)


def _no_user(text: str) -> UsageError:
    return UsageError(
        f"{printable(text)[:80]!r} is not a user", hint="a user looks like NAME, UID, or USER:GROUP"
    )


def _unknown(kind: str, name: str, path: str) -> UsageError:
    return UsageError(
        f"no {kind} {printable(name)[:80]!r} in the image's {path}",
        hint=f"use a number, or see which there are: minirun run IMAGE cat {path}",
    )
