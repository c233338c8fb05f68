"""Tars as no tool would write them: built byte by byte, and a table of those that once got out.

    tar(directory("d"), file("d/f", b"data"), end=False)

ATTACKS are layers that try to reach a canary beside the root; test_hostile_layers.py drives them.
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

BLOCK = 512


def number(value: int, size: int) -> bytes:
    """Octal, as POSIX has it; base 256, as GNU has it, where octal has no room."""
    if 0 <= value < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, value)
    return bytes([0x80 if value >= 0 else 0xFF]) + value.to_bytes(size, "big", signed=True)[1:]


def header(
    name: bytes | str,
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_000_000_000,
    link: bytes | str = b"",
    major: int = 0,
    minor: int = 0,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    checksum: bytes | None = None,
) -> bytes:
    fields = struct.pack(
        "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
        _bytes(name), number(mode, 8), number(uid, 8), number(gid, 8),
        size if isinstance(size, bytes) else number(size, 12), number(mtime, 12), b" " * 8,
        kind, _bytes(link), magic, b"", b"", number(major, 8), number(minor, 8), prefix,
    )  # fmt: skip
    return fields[:148] + (checksum or b"%06o\0 " % sum(fields)) + fields[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def pax(records: dict[str, bytes | str] | list[tuple[str, bytes]], kind: bytes = b"x") -> bytes:
    pairs = records.items() if isinstance(records, dict) else records
    data = b"".join(record(key.encode(), _bytes(value)) for key, value in pairs)
    return header("pax", kind, size=len(data)) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while length != len(str(length)) + len(rest):
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def file(name: bytes | str, data: bytes = b"new", kind: bytes = b"0", **fields: object) -> bytes:
    return header(name, kind, **{"size": len(data), **fields}) + padded(data)  # type: ignore[arg-type]


def directory(name: bytes | str, mode: int = 0o755, **fields: object) -> bytes:
    return header(name, b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: bytes | str, target: bytes | str, **fields: object) -> bytes:
    return header(name, b"2", link=target, mode=0o777, **fields)  # type: ignore[arg-type]


def hardlink(name: bytes | str, target: bytes | str, **fields: object) -> bytes:
    return header(name, b"1", link=target, **fields)  # type: ignore[arg-type]


def device(name: str, major: int, minor: int, kind: bytes = b"3", **fields: object) -> bytes:
    return header(name, kind, major=major, minor=minor, **fields)  # type: ignore[arg-type]


def fifo(name: str) -> bytes:
    return header(name, b"6")


def long_name(name: bytes | str, kind: bytes = b"L") -> bytes:
    data = _bytes(name) + b"\0"
    return header("././@LongLink", kind, size=len(data), magic=b"ustar  \0") + padded(data)


def whiteout(path: str) -> bytes:
    """That of ``path`` in the layers below."""
    parent, slash, name = path.rpartition("/")
    return file(f"{parent}{slash}.wh.{name}", b"")


def opaque(path: str) -> bytes:
    return file(f"{path}/.wh..wh..opq", b"")


def tar(*entries: bytes, end: bool = True) -> bytes:
    return b"".join(entries) + (bytes(2 * BLOCK) if end else b"")


def stream(*entries: bytes) -> io.BytesIO:
    return io.BytesIO(tar(*entries))


# --- attacks ------------------------------------------------------------------------------------

REFUSED, CONTAINED = "refused", "contained"


class Attack(NamedTuple):
    name: str
    verdict: str
    layers: tuple[bytes, ...]


def attacks(canary: str) -> list[Attack]:
    """``canary``: the absolute path of a directory that holds ``file`` and must not change.

    The root that is attacked lies two directories deep beside it: ``canary/../a/b``.
    """
    up = "../../canary"
    inside = "/".join([".."] * 30) + canary
    targets = {
        "absolute": canary,
        "relative": up,
        "climbing": inside,
        "proc": "/proc/self/root" + canary,
    }
    table = [
        # IM01: names
        *(
            Attack(f"IM01 name {name!r}", verdict, (tar(file(name)),))
            for name, verdict in (
                (f"{up}/new", REFUSED),
                ("../x", REFUSED),
                ("..", REFUSED),
                ("../", REFUSED),
                ("a/../../x", REFUSED),
                ("./../x", REFUSED),
                ("a/../..", REFUSED),
                ("/../x", REFUSED),
                ("//../x", REFUSED),
                ("a//..//../x", REFUSED),
                (inside[1:] + "/new", REFUSED),
                ("../b2/x", REFUSED),
                ("..//x", REFUSED),
                (f"{canary}/new", CONTAINED),
                (f"{canary}/file", CONTAINED),
                (f"//{canary}/new", CONTAINED),
                (f"/.{canary}/new", CONTAINED),
                ("/etc/passwd", CONTAINED),
                ("a/../x", CONTAINED),
                ("a/./b", CONTAINED),
                ("...", CONTAINED),
                ("..x", CONTAINED),
                ("a/..x/y", CONTAINED),
                ("\\..\\x", CONTAINED),
                ("c:\\x", CONTAINED),
                ("~/x", CONTAINED),
                ("-rf", CONTAINED),
            )
        ),
        *(
            Attack(f"IM01 {kind} of {name!r}", REFUSED, (tar(entry),))
            for name in (f"{up}/new", f"{up}/file", up)
            for kind, entry in (
                ("directory", directory(name)),
                ("symlink", symlink(name, "x")),
                ("fifo", fifo(name)),
                ("hard link", hardlink(name, "x")),
                ("device", device(name, 1, 3)),
                ("pax name", pax({"path": name}) + file("x")),
                ("gnu name", long_name(name) + file("x")),
                ("prefix", file("new", prefix=name.encode())),
                ("whiteout", whiteout(name)),
                ("opaque", opaque(name)),
            )
        ),
        # IM03: hard links
        *(
            Attack(f"IM03 hard link to {what}", REFUSED, (tar(*before, hardlink("h", target)),))
            for what, before, target in (
                ("absolute", (), f"{canary}/file"),
                ("relative", (), f"{up}/file"),
                ("climbing", (), f"{inside}/file"),
                ("proc", (), f"/proc/self/root{canary}/file"),
                ("nothing", (), "none"),
                ("nothing in a directory", (), "a/b/c"),
                ("a directory", (directory("d"),), "d"),
                ("the root", (), "/"),
                ("dot", (), "."),
                ("empty", (), ""),
                ("up", (), ".."),
                ("a whiteout", (whiteout("x"),), ".wh.x"),
                ("what is hidden", (device("x", 0, 0),), "x"),
            )
        ),
        Attack("IM03 before the target", REFUSED, (tar(hardlink("h", "f"), file("f")),)),
        Attack(
            "IM03 write through",
            CONTAINED,
            (tar(symlink("s", f"{canary}/file"), hardlink("h", "s"), file("h")),),
        ),
        Attack(
            "IM07 mode through a hard link to a symlink",
            CONTAINED,
            (tar(symlink("s", f"{canary}/file"), hardlink("h", "s", mode=0o4777, uid=7)),),
        ),
        # IM04: the root itself
        *(
            Attack(f"IM04 {name!r} as {kind}", REFUSED, (tar(entry), tar(file("new"))))
            for name in (".", "/", "./", "", "././", "//", "a/..")
            for kind, entry in (
                ("symlink", symlink(name, canary)),
                ("hard link", hardlink(name, "x")),
                ("device", device(name, 1, 3)),
                ("fifo", fifo(name)),
            )
        ),
        *(
            Attack(f"IM04 {name!r} as file", REFUSED, (tar(file(name)),))
            for name in (".", "", "a/..")
        ),
        # IM05: whiteouts
        *(
            Attack(
                f"IM05 {name!r}", REFUSED, (tar(file("x/keep"), file("keep")), tar(file(name, b"")))
            )
            for name in (
                ".wh.",
                ".wh..",
                ".wh...",
                "x/.wh.",
                "x/.wh..",
                "x/.wh...",
                ".wh..wh.x",
                "x/.wh..wh.x",
                ".wh.a/b",
                "x/.wh.a/b",
                ".wh..wh..opq/x",
                ".wh..wh.",
                ".wh.x/.wh.keep",
                "../.wh.canary",
                "x/../../.wh.canary",
                ".wh..wh..opq.",
                ".wh..wh..wh.x",
            )
        ),
        *(
            Attack(f"IM05 whiteout as {kind}", REFUSED, (tar(file("a")), tar(entry)))
            for kind, entry in (
                ("directory", directory(".wh.a")),
                ("symlink", symlink(".wh.a", canary)),
                ("hard link", hardlink(".wh.a", "a")),
                ("device", device(".wh.a", 1, 3)),
                ("fifo", fifo(".wh.a")),
                ("opaque directory", directory(".wh..wh..opq")),
                ("opaque symlink", symlink(".wh..wh..opq", canary)),
            )
        ),
        Attack(
            "IM05 hidden name through a symlink",
            REFUSED,
            (tar(symlink("s", ".wh.a"), whiteout("a"), file("s/x")),),
        ),
    ]
    for what, target in targets.items():
        table += _through_links(what, target, canary)
    return table


def _through_links(what: str, target: str, canary: str) -> list[Attack]:
    """IM02, IM06, IM07: a link first, and then something through it, in this layer or the next."""
    link = symlink("s", target)
    chain = symlink("t", target) + symlink("u", "t") + symlink("s", "./u")
    to_file = symlink("s", f"{target}/file")
    steps = {
        "file": file("s/new"), "over file": file("s/file"), "directory": directory("s/d", 0o777),
        "the link as directory": directory("s", 0o777, uid=5), "deep": file("s/x/y/z"),
        "symlink": symlink("s/file", "x"), "fifo": fifo("s/file"), "device": device("s/file", 1, 3),
        "hard link into": file("f") + hardlink("s/file", "f"), "whiteout": whiteout("s/file"),
        "whiteout of all": whiteout("s"), "opaque": opaque("s"), "back": file("s/../canary/file"),
        "trailing slash": file("s/"), "dot": directory("s/.", 0o777, uid=5),
    }  # fmt: skip
    table = []
    for step, entry in steps.items():
        for way, first in (("", link), (" by a chain", chain)):
            name = f"IM02 {step} through a {what} link{way}"
            table.append(Attack(name, CONTAINED, (tar(first, entry),)))
            table.append(Attack(f"{name}, next layer", CONTAINED, (tar(first), tar(entry))))
    xattr = pax({"SCHILY.xattr.user.x": "y"})
    for step, entry in {
        "file over": file("s"), "file over, as its mode": file("s", mode=0o4777, uid=5),
        "xattr": xattr + file("s"), "xattr of a link": xattr + symlink("s", f"{canary}/file"),
        "link over": symlink("s", f"{canary}/file", uid=5, mtime=5), "whiteout": whiteout("s"),
    }.items():  # fmt: skip
        for name, first in (("directory", link), ("file", to_file)):
            table.append(
                Attack(f"IM07 {step} a {what} link to a {name}", CONTAINED, (tar(first, entry),))
            )
    table.append(
        Attack(
            f"IM03 hard link through a {what} link", REFUSED, (tar(link, hardlink("h", "s/file")),)
        )
    )
    table.append(
        Attack(f"IM02 {what} link to itself", REFUSED, (tar(symlink("s", "s"), file("s/x")),))
    )
    return table
