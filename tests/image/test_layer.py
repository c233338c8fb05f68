"""What a layer becomes. The judges are GNU tar, for one layer, and overlayfs, for several."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.errors import LayerError
from minirun.image import filling, flatten, layer
from tests.image import hostile
from tests.image.hostile import directory, file, hardlink, opaque, symlink, tar, whiteout
from tests.image.trees import Overlay, Picture, for_overlay, gnu_tar, picture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., Path]:
    """Write layers to files, lay them on one another in a directory, and return that."""

    def unpack(*layers: bytes) -> Path:
        paths = [tmp_path / f"{n}.tar" for n in range(len(layers))]
        for path, data in zip(paths, layers, strict=True):
            path.write_bytes(data)
        flatten.flatten([str(path) for path in paths], str(tmp_path / "root"))
        return tmp_path / "root"

    return unpack


def by_overlay(layers: list[bytes], work: Path) -> Picture:
    """What the kernel makes of layers that GNU tar has unpacked."""
    work.mkdir()
    unpacked = []
    for n, data in enumerate(layers):
        (work / f"{n}.tar").write_bytes(data)
        gnu_tar(work / f"{n}.tar", work / str(n))
        for_overlay(work / str(n))
        unpacked.append(work / str(n))
    with Overlay(unpacked, work / "overlay") as merged:
        return picture(merged)


# --- one layer ----------------------------------------------------------------------------------


def difficult_tree(top: Path) -> None:
    top.mkdir(0o751)
    (top / "closed").mkdir()
    (top / "closed" / "file").write_text("in a directory nobody may enter")
    (top / "tmp").mkdir()
    (top / "file").write_bytes(random.Random(1).randbytes(3_000_000))
    os.link(top / "file", top / "tmp" / "again")
    (top / "empty").touch()
    (top / "su").write_text("#!/bin/sh\n")
    os.chown(top / "su", 0, 42)
    os.chmod(top / "su", 0o6755)
    os.chmod(top / "tmp", 0o1777)
    os.chmod(top / "closed", 0)
    os.symlink("/nowhere/at/all", top / "absolute")
    os.symlink("../../up", top / "tmp" / "relative")
    os.symlink("x" * 98, top / "to-98")
    os.lchown(top / "absolute", 70_000, 70_001)
    os.mknod(top / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(top / "disk", 0o660 | stat.S_IFBLK, os.makedev(259, 70_000))
    os.mkfifo(top / "fifo", 0o640)
    with (top / "holes").open("wb") as sparse:
        sparse.seek(1 << 20)
        sparse.write(b"middle")
        sparse.truncate(5 << 20)
    os.chown(top / "empty", 1_000_000, 2_000_000)


def rich_names(top: Path) -> None:
    deep = top / "/".join(["directory-with-a-long-name"] * 12)
    deep.mkdir(parents=True)
    (deep / ("n" * 255)).write_text("long")
    for name in (b"latin-\xe9", b"new\nline", b"\x1b[31mred", "\u202ertl".encode(), b"-rf", b" "):
        Path(os.fsdecode(os.path.join(os.fsencode(top), name))).write_text("odd")
    os.symlink("t" * 2000, top / "to-2000")
    (top / "precise").touch()
    os.utime(top / "precise", ns=(0, 1_234_567_890_123_456_789))
    (top / "ancient").touch()
    os.utime(top / "ancient", ns=(0, -86_400_500_000_000))
    (top / "rich").write_text("rich")
    os.setxattr(top / "rich", "user.note", b"\0binary\xff")
    os.setxattr(top / "rich", "trusted.note", b"t")
    os.setxattr(top / "rich", "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))
    os.chown(top / "rich", 3_000_000_000, 5)
    os.setxattr(top / "rich", "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix", "0.0", "0.1", "1.0"])
def test_formats_of_gnu_tar(tmp_path: Path, form: str) -> None:
    """IM07, IM10, IM11, IM13, IM19: all that each format of tar can say of a tree."""
    source = tmp_path / "source"
    difficult_tree(source)
    options = [f"--format={form}"]
    if form[0] in "01":
        options = ["--format=posix", "--sparse", f"--sparse-version={form}"]
    elif form in ("oldgnu", "gnu"):
        options.append("--sparse")
    if form == "v7":
        os.chown(source / "empty", 1, 2)  # larger ones have no room
        for name in ("null", "disk", "fifo"):
            (source / name).unlink()  # nor have these a type
    if form in ("posix", "0.0", "0.1", "1.0"):
        rich_names(source)
        options += ["--xattrs", "--xattrs-include=*"]
    if form == "gnu":
        rich_names(source)
        for name in os.listxattr(source / "rich"):
            os.removexattr(source / "rich", name)
    subprocess.run(
        ["tar", "-C", source, *options, "--numeric-owner", "-cf", tmp_path / "tar", "."], check=True
    )
    flatten.flatten([str(tmp_path / "tar")], str(tmp_path / "root"))
    exact = form in ("posix", "0.0", "0.1", "1.0")
    ours, theirs = picture(tmp_path / "root", times=exact), picture(source, times=exact)
    assert ours == theirs
    if options[-1] == "--sparse":
        assert (tmp_path / "root" / "holes").stat().st_blocks * 512 < 1 << 20


def test_times_of_whole_seconds(unpack: Callable[..., Path]) -> None:
    """Directories keep their times, whatever is put into them later, and however it gets there."""
    root = unpack(
        tar(
            directory("d", mtime=5), file("d/f", mtime=6), directory("d/e", mtime=7),
            file("d/e/f"), file("x"), file("d/g"), file("d/new/f"), hardlink("d/h", "x"),
            symlink("d/s", "x", mtime=8), directory(".", mtime=9), file("d/e/z"),
        )
    )  # fmt: skip
    seconds = {name: os.lstat(root / name).st_mtime for name in ("", "d", "d/e", "d/f", "d/s")}
    assert seconds == {"": 9, "d": 5, "d/e": 7, "d/f": 6, "d/s": 8}


def test_times_that_no_file_system_has(unpack: Callable[..., Path]) -> None:
    entries = [
        hostile.pax({"mtime": value}) + file(value, mtime=0)
        for value in ("99999999999999999999", "-99999999999999999999", "0.1234567891234", "-0.5")
    ]
    root = unpack(tar(*entries, file("binary", mtime=-(1 << 80))))
    assert (root / "0.1234567891234").stat().st_mtime_ns == 123_456_789
    assert (root / "-0.5").stat().st_mtime_ns == -500_000_000


def test_order_does_not_matter(unpack: Callable[..., Path]) -> None:
    """IM07: children before their directory, or after one that nobody may enter."""
    root = unpack(
        tar(
            file("late/f"), directory("late", 0o700, uid=3, mtime=5),
            directory("closed", 0), file("closed/f"), directory("closed/d", 0), file("closed/d/f"),
            file("no/entry/f"),
        )
    )  # fmt: skip
    assert stat.S_IMODE((root / "late").stat().st_mode) == 0o700
    assert (root / "late").stat().st_uid == 3
    assert stat.S_IMODE((root / "closed").stat().st_mode) == 0
    assert (root / "closed" / "d" / "f").read_bytes() == b"new"
    assert stat.S_IMODE((root / "no" / "entry").stat().st_mode) == 0o755


def test_the_mask_of_the_caller_changes_nothing(unpack: Callable[..., Path]) -> None:
    before = os.umask(0o077)
    try:
        root = unpack(tar(file("d/f", mode=0o666), directory("e", 0o777), hostile.fifo("p")))
    finally:
        os.umask(before)
    modes = {
        name: oct((root / name).stat().st_mode & 0o7777) for name in ("", "d", "d/f", "e", "p")
    }
    assert modes["d"] == "0o755"
    assert (modes["d/f"], modes["e"], modes["p"]) == ("0o666", "0o777", "0o644")


def test_duplicates_the_last_one_wins(unpack: Callable[..., Path]) -> None:
    """IM09. A directory that comes again keeps what is in it."""
    root = unpack(
        tar(
            file("f", b"one"), hardlink("h", "f"), file("f", b"two"),
            directory("d", 0o700), file("d/f"), directory("d", 0o711),
        )
    )  # fmt: skip
    assert ((root / "f").read_bytes(), (root / "h").read_bytes()) == (b"two", b"one")
    assert (root / "d" / "f").exists()
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o711


def test_hard_links(unpack: Callable[..., Path]) -> None:
    """IM03: to what came before, with or without a slash, through links, to a link, to itself."""
    root = unpack(
        tar(
            file("d/f"), hardlink("a", "d/f"), hardlink("b", "/d/f"), hardlink("c", "./d/../d/f"),
            symlink("l", "/d"), hardlink("e", "l/f"), symlink("s", "a"), hardlink("t", "s"),
            hardlink("a", "a"), hardlink("b", "a"),
        )
    )  # fmt: skip
    assert (root / "d" / "f").stat().st_nlink == 5
    assert os.readlink(root / "t") == "a"
    assert (root / "t").lstat().st_ino == (root / "s").lstat().st_ino


def test_links_lead_to_places_in_the_root(unpack: Callable[..., Path]) -> None:
    """IM02: also those that lead nowhere yet; they get the directories that they promise."""
    root = unpack(
        tar(
            symlink("lib", "usr/lib"), file("lib/a"), symlink("abs", "/usr/share/doc"),
            file("abs/b"), symlink("up", "../../../../usr"), file("up/c"),
            symlink("usr/back", ".."), file("usr/back/d"),
            symlink("usr/lib/abs", "/opt"), file("usr/lib/abs/e"),
        )
    )  # fmt: skip
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()) == [
        "d", "opt/e", "usr/c", "usr/lib/a", "usr/share/doc/b",
    ]  # fmt: skip


def test_links_in_a_circle_are_refused(unpack: Callable[..., Path]) -> None:
    """IM02: one that the kernel sees, and one through a directory that is made on the way."""
    for link in ("s", "new/../s"):
        with pytest.raises(LayerError, match=r"[Tt]oo many (levels of )?symbolic links"):
            unpack(tar(symlink("s", link), file("s/x")))


def test_default_acls_are_kept_but_not_inherited(unpack: Callable[..., Path]) -> None:
    """IM07"""
    acl = bytes.fromhex("02000000" + "01000700ffffffff02000700e803000004000500ffffffff")
    acl += bytes.fromhex("10000700ffffffff20000500ffffffff")
    header = hostile.pax([("SCHILY.xattr.system.posix_acl_default", acl)])
    root = unpack(tar(header + directory("d"), file("d/f"), directory("d/e"), file("d/e/f")))
    assert os.getxattr(root / "d", "system.posix_acl_default") == acl
    assert [os.listxattr(root / name) for name in ("d/f", "d/e", "d/e/f")] == [[], [], []]


@pytest.mark.parametrize("name", ["/abs/x", "./rel/x", "//twice//x", "plain/./x", "a/../b/x"])
def test_names_from_the_root(unpack: Callable[..., Path], name: str) -> None:
    """IM01: benign names that real images have."""
    root = unpack(tar(file(name)))
    assert (root / os.path.normpath(name).lstrip("/")).read_bytes() == b"new"


def test_trailing_slash_makes_a_directory(unpack: Callable[..., Path]) -> None:
    """IM13: tars from before 1988 say it like this, also with a long name, also with a size."""
    long = "l" * 120 + "/"
    root = unpack(
        tar(
            file("old/", b"", kind=b"\0"), file("sized/", b"x" * 600), file("old/f", kind=b"\0"),
            hostile.long_name(long) + hostile.header("l" * 100, b"\0"), file("seven", kind=b"7"),
        )
    )  # fmt: skip
    assert [(root / name).is_dir() for name in ("old", "sized", long)] == [True] * 3
    assert (root / "old" / "f").is_file()
    assert (root / "seven").is_file()


def test_links_with_a_size_have_no_data(unpack: Callable[..., Path]) -> None:
    root = unpack(tar(file("f"), hardlink("h", "f", size=3), symlink("s", "f", size=1), file("g")))
    assert sorted(os.listdir(root)) == ["f", "g", "h", "s"]


def test_label_of_a_volume_is_no_file(unpack: Callable[..., Path]) -> None:
    assert os.listdir(unpack(tar(hostile.header("My disk", b"V"), file("f")))) == ["f"]


def test_global_header(unpack: Callable[..., Path]) -> None:
    """IM13: git-archive(1) writes a comment; an owner is for all entries that follow."""
    root = unpack(
        tar(
            hostile.pax({"comment": "0" * 40, "uid": "7", "mtime": "3.5"}, b"g"), file("f"),
            hostile.pax({"uid": "8"}) + file("g"), file("h"),
        )
    )  # fmt: skip
    assert [(root / name).stat().st_uid for name in "fgh"] == [7, 8, 7]
    assert (root / "f").stat().st_mtime == 3.5


@pytest.mark.parametrize("device", [(1, 3), (0, 1), (4095, 1048575), (259, 70_000)])
def test_devices(unpack: Callable[..., Path], device: tuple[int, int]) -> None:
    """IM10"""
    status = (unpack(tar(hostile.device("d", *device, mode=0o4620, uid=3))) / "d").lstat()
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == device
    assert (stat.filemode(status.st_mode), status.st_uid) == ("crwS-w----", 3)


@pytest.mark.parametrize("numbers", [(4096, 0), (0, 1 << 20), (1 << 33, 0), (-1, 0), (0, -1)])
def test_devices_out_of_range(unpack: Callable[..., Path], numbers: tuple[int, int]) -> None:
    """IM10"""
    with pytest.raises(LayerError, match="out of range"):
        unpack(tar(hostile.device("d", *numbers)))


def test_unknown_types_are_refused(unpack: Callable[..., Path]) -> None:
    """IM10: a socket has no type in a tar; M goes on in another tar, N is a list of names."""
    for kind in (b"s", b"M", b"N", b"D", b"8", b"A", b"\xff"):
        with pytest.raises(LayerError, match="unknown type"):
            unpack(tar(file("f", kind=kind)))


def test_xattrs_of_overlayfs_and_of_policies_are_left_out(
    tmp_path: Path, unpack: Callable[..., Path]
) -> None:
    """IM11"""
    names = ["trusted.overlay.opaque", "user.overlay.whiteout", "security.selinux", "security.ima"]
    records = {f"SCHILY.xattr.{name}": "y" for name in [*names, "user.kept"]}
    data = tar(hostile.pax(records) + directory("d"), hostile.pax(records) + file("f"))
    root = unpack(data)
    assert os.listxattr(root / "d") == os.listxattr(root / "f") == ["user.kept"]
    (tmp_path / "one").mkdir()
    fd = os.open(tmp_path / "one", os.O_RDONLY)
    result = layer.unpack(str(tmp_path / "0.tar"), fd)
    os.close(fd)
    assert len(result.warnings) == 8
    assert result.warnings[0].startswith("d: extended attribute trusted.overlay.opaque")


def test_capabilities_and_set_user_id_survive_the_owner(unpack: Callable[..., Path]) -> None:
    """IM11: chown(2) takes both away, so it comes first."""
    capability = bytes.fromhex("0100000200040000" + "00" * 12)
    header = hostile.pax([("SCHILY.xattr.security.capability", capability)])
    root = unpack(tar(header + file("ping", mode=0o4755, uid=1, gid=2)))
    assert os.getxattr(root / "ping", "security.capability") == capability
    assert stat.S_IMODE((root / "ping").stat().st_mode) == 0o4755


@pytest.mark.parametrize(
    "records",
    [
        [("SCHILY.xattr." + "user." + "n" * 300, b"v")],
        [("SCHILY.xattr.", b"v")],
        [("SCHILY.xattr.user.a\0b", b"v")],
        [("SCHILY.xattr.user.large", b"v" * 65537)],
        [("SCHILY.xattr.security.capability", b"nonsense")],
        [(f"SCHILY.xattr.user.{n}", b"v" * 50) for n in range(10_000)],
    ],
    ids=["long name", "no name", "zero", "64 KiB", "capability", "10,000"],
)
def test_xattrs_that_cannot_be(
    unpack: Callable[..., Path], records: list[tuple[str, bytes]]
) -> None:
    """IM12"""
    with pytest.raises(
        LayerError, match=r"f: extended attribute|an extended attribute that cannot"
    ):
        unpack(tar(hostile.pax(records) + file("f")))


@pytest.mark.parametrize("owner", [2**32 - 1, 2**32, -1, 2**63, -(2**40)])
def test_owners_out_of_range(unpack: Callable[..., Path], owner: int) -> None:
    """chown(2) would take 2^32 - 1 as "leave it as it is": root's."""
    for fields in ({"uid": owner}, {"gid": owner}):
        with pytest.raises((LayerError, OverflowError)) as caught:
            unpack(tar(file("f", **fields)))
        assert caught.type is LayerError or owner == 2**63


# --- limits -------------------------------------------------------------------------------------


def test_deep_trees(unpack: Callable[..., Path]) -> None:
    """IM18: as deep as a path can be long; and it can be removed again."""
    deepest = "a/" * 2047 + "f"
    root = unpack(tar(hostile.pax({"path": deepest}) + file("x")))
    assert os.listdir(root) == ["a"]
    unpack(tar(file("a", b"replaced")))
    assert (root / "a").read_bytes() == b"replaced"


@pytest.mark.parametrize("name", ["a/" * 3000 + "f", "a/" * 2048, "n" * 256, "d/" + "n" * 4096])
def test_names_that_are_too_long(unpack: Callable[..., Path], name: str) -> None:
    """IM18: 255 bytes a name, 4,095 a path."""
    for entry in (hostile.pax({"path": name}), hostile.long_name(name)):
        with pytest.raises(LayerError, match=r"a name of|File name too long"):
            unpack(tar(entry + file("x")))


def test_too_many_entries(unpack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """IM17: directories count that have no entry of their own."""
    monkeypatch.setattr(filling, "MAX_FILES", 100)
    for entries in ([file(str(n)) for n in range(101)], [file(f"{n}/a/b/c") for n in range(26)]):
        with pytest.raises(LayerError, match="more than 100 files"):
            unpack(tar(*entries))


def test_opaque_marks_take_linear_time(tmp_path: Path) -> None:
    """IM06: n marks over a directory of n files; not n times n."""

    def seconds(count: int) -> float:
        root, base, marks = (str(tmp_path / f"{name}{count}") for name in ("root", "base", "marks"))
        Path(base).write_bytes(tar(*(file(f"d/{n}", b"") for n in range(count))))
        Path(marks).write_bytes(tar(*(opaque("d") for _ in range(count)), file("d/last", b"")))
        flatten.flatten([base], root)
        started = time.process_time()
        flatten.flatten([marks], root)
        assert os.listdir(f"{root}/d") == ["last"]
        return time.process_time() - started

    assert seconds(6000) < 2.5 * seconds(3000) + 0.2


# --- several layers -----------------------------------------------------------------------------

TYPES: dict[str, Callable[[str], bytes]] = {
    "file": lambda name: file(name, b"content"),
    "directory": lambda name: directory(name, 0o711) + file(f"{name}/inside"),
    "symlink": lambda name: symlink(name, "other"),
    "device": lambda name: hostile.device(name, 1, 3),
    "fifo": hostile.fifo,
    "hardlink": lambda name: file(f"{name}2", b"linked") + hardlink(name, f"{name}2"),
}


@pytest.mark.parametrize("second", TYPES)
@pytest.mark.parametrize("first", TYPES)
def test_types_replace_each_other(
    tmp_path: Path, unpack: Callable[..., Path], first: str, second: str
) -> None:
    """IM08: 36 pairs, in two layers (judge: overlayfs) and in one (judge: the last one alone)."""
    one, two = directory("d") + TYPES[first]("d/x"), directory("d") + TYPES[second]("d/x")
    layers = [tar(directory("."), one), tar(directory("."), two)]
    expected = by_overlay(layers, tmp_path / "judge")
    assert picture(unpack(*layers)) == expected
    together = picture(unpack(tar(directory("."), one, two)))
    alone = by_overlay([tar(directory("."), two)], tmp_path / "judge2")
    if first == second == "directory":
        assert together.keys() == alone.keys()
    else:
        together.pop(b"d/x2", None) if second != "hardlink" else None
        assert together == alone


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_no_directory_gives_way_to_one(
    tmp_path: Path, unpack: Callable[..., Path], kind: str
) -> None:
    """IM08: an entry below a name that was something else, in the next layer."""
    layers = [
        tar(directory("."), TYPES[kind]("x")),
        tar(directory("."), directory("x", 0o700), file("x/y")),
    ]
    assert picture(unpack(*layers)) == by_overlay(layers, tmp_path / "judge")


BASE = tar(
    directory("."), directory("d"), file("d/old"), directory("d/e"), file("d/e/old"), file("f"),
    symlink("s", "d"),
)  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        whiteout("f"), whiteout("d"), whiteout("s"), whiteout("none"), directory("d") + opaque("d"),
        directory("d") + whiteout("d/old"), directory("d") + opaque("d") + file("d/new"),
        directory("d") + file("d/new") + opaque("d"), whiteout("f") + file("f", b"again"),
        file("f", b"again") + whiteout("f"), whiteout("d") + directory("d") + file("d/new"),
        directory("d") + file("d/new") + whiteout("d"), whiteout("f") + whiteout("f"),
        directory("d") + opaque("d") + directory("d/e") + file("d/e/new"), opaque("."),
        directory("d") + opaque("d") + directory("d/e") + opaque("d/e"),
        opaque(".") + file("g"), whiteout("s") + directory("s") + file("s/new"),
        whiteout("d") + file("d"), file("d") + whiteout("d"), whiteout("d") + symlink("d", "f"),
        directory("d") + whiteout("d/e") + directory("d/e"), file(".wh.f", b"with data"),
        directory("d") + whiteout("d/none"), file(".wh..wh.plnk/1.2") + file("g"),
        directory(".wh..wh.aufs") + directory(".wh..wh.orph") + file("g"),
    ],
)  # fmt: skip
def test_whiteouts(tmp_path: Path, unpack: Callable[..., Path], change: bytes) -> None:
    """IM09, in any order: they hide what is below, and nothing of their own layer."""
    changes = tar(directory("."), change)
    plain = tar(directory("."), file("g")) if b"plnk" in change or b"aufs" in change else changes
    expected = by_overlay([BASE, plain], tmp_path / "judge")
    if change.startswith(opaque(".")):  # overlayfs merges roots whatever they say; images don't
        expected = by_overlay([changes], tmp_path / "alone")
    assert picture(unpack(BASE, changes)) == expected


def test_a_device_0_0_hides_what_is_below(tmp_path: Path, unpack: Callable[..., Path]) -> None:
    """It is what overlayfs takes for a whiteout: so says the judge, and so it is."""
    layers = [BASE, tar(directory("."), hostile.device("f", 0, 0), hostile.device("d", 0, 0))]
    assert picture(unpack(*layers)) == by_overlay(layers, tmp_path / "judge")
    assert not (tmp_path / "root" / "f").exists()


def test_whiteouts_that_are_hard_links(unpack: Callable[..., Path]) -> None:
    """Docker's first storage driver made them so."""
    root = unpack(
        BASE, tar(whiteout("f"), hardlink(".wh.s", ".wh.f"), hardlink("d/.wh.old", "./.wh.f"))
    )
    assert sorted(os.listdir(root)) == ["d"]
    assert os.listdir(root / "d") == ["e"]


def test_whiteouts_of_long_names(unpack: Callable[..., Path]) -> None:
    """A name of 255 bytes has no room behind ".wh." in a file system, but in a tar it has."""
    names = ["n" * 252, "n" * 255]
    root = unpack(
        tar(*(hostile.pax({"path": f"d/{name}"}) + file("x") for name in names)),
        tar(*(hostile.pax({"path": f"d/.wh.{name}"}) + file("x", b"") for name in names)),
    )
    assert os.listdir(root / "d") == []
    with pytest.raises(LayerError):
        unpack(tar(hostile.pax({"path": ".wh." + "n" * 256}) + file("x", b"")))


def test_parents_without_an_entry_look_as_below(unpack: Callable[..., Path]) -> None:
    root = unpack(
        tar(directory("d", 0o700, uid=5, mtime=7), directory("d/e", 0o711, gid=6)),
        tar(file("d/e/f")),
        tar(whiteout("d")),
        tar(file("d/e/g")),
    )
    assert (stat.S_IMODE((root / "d").stat().st_mode), (root / "d").stat().st_uid) == (0o755, 0)
    root = unpack(
        tar(directory("k", 0o700, uid=5, mtime=7), directory("k/e", 0o711, gid=6)),
        tar(file("k/e/f")),
    )
    status, inner = (root / "k").stat(), (root / "k" / "e").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime) == (0o700, 5, 7)
    assert (stat.S_IMODE(inner.st_mode), inner.st_gid) == (0o711, 6)


def test_hard_links_to_a_layer_below_are_copies(unpack: Callable[..., Path]) -> None:
    """IM03"""
    root = unpack(tar(file("d/f", b"below", uid=4, mode=0o4711)), tar(hardlink("h", "d/f")))
    assert (root / "h").read_bytes() == b"below"
    assert ((root / "h").stat().st_uid, (root / "h").stat().st_nlink) == (4, 1)
    assert stat.S_IMODE((root / "h").stat().st_mode) == 0o4711
    for hidden in (whiteout("d/f"), whiteout("d"), directory("d") + opaque("d"), opaque(".")):
        with pytest.raises(LayerError, match="which does not exist"):
            unpack(tar(file("d/f")), tar(hidden), tar(hardlink("i", "d/f")))


def test_hard_links_copy_no_more_than_the_limit(
    unpack: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """IM17: the file below may be all hole, and cost its layer nothing."""
    monkeypatch.setattr(layer, "MAX_COPIED", 2_000_000)
    records = [("GNU.sparse.map", b"0,3"), ("GNU.sparse.size", b"1000000")]
    with pytest.raises(LayerError, match="in a layer below"):
        unpack(
            tar(hostile.pax(records) + file("f")), tar(*(hardlink(f"h{n}", "f") for n in range(3)))
        )


names = st.sampled_from("abc")
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
entries = st.lists(
    st.tuples(
        paths, st.sampled_from(["file", "directory", "symlink", "fifo", "whiteout", "opaque"])
    ),
    max_size=8,
)


def consistent(changes: list[tuple[str, str]]) -> bytes:
    """A layer that GNU tar can unpack: each name once, directories named before what is in them."""
    done: dict[str, str] = {}
    data = directory(".")
    for path, kind in changes:
        parts = path.split("/")
        parents = ["/".join(parts[:n]) for n in range(1, len(parts))]
        if any(done.get(parent, "directory") != "directory" for parent in parents):
            continue
        for parent in parents:
            if parent not in done:
                data += directory(parent)
                done[parent] = "directory"
        if kind == "whiteout":
            data += whiteout(path)
        elif kind == "opaque" and done.get(path, "directory") == "directory":
            data += opaque(path) if path in done else directory(path) + opaque(path)
            done[path] = "directory"
        elif kind != "opaque" and path not in done:
            data += {"file": file, "directory": directory, "fifo": hostile.fifo}.get(
                kind, lambda name: symlink(name, "b")
            )(path)
            done[path] = kind
    # GNU tar forgets the time of a directory that it comes back to; so all are named once more
    again = [path for path, kind in done.items() if kind == "directory"]
    return tar(data, *map(directory, reversed(again)), directory("."))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(entries, min_size=1, max_size=4))
def test_any_layers_as_overlayfs_sees_them(
    tmp_path_factory: pytest.TempPathFactory, changes: list[list[tuple[str, str]]]
) -> None:
    """IM08, IM09: random layers."""
    work = tmp_path_factory.mktemp("layers")
    layers = [consistent(change) for change in changes]
    expected = by_overlay(layers, work / "judge")
    flatten.flatten(
        [str(work / "judge" / f"{n}.tar") for n in range(len(layers))], str(work / "root")
    )
    assert picture(work / "root") == expected
