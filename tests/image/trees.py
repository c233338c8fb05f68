"""What a tree looks like, in all that a layer can say of it; and overlayfs as a judge of layers."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

from minirun import linux

Picture = dict[bytes, tuple[object, ...]]


def picture(top: Path, *, times: bool = True, inodes: bool = False) -> Picture:
    """Of each name: type, mode, owner, time, content or target, device, xattrs, and its links."""
    found: Picture = {}
    names: dict[tuple[int, int], list[bytes]] = {}
    for path in _walk(os.fsencode(top)):
        status = os.lstat(path)
        name = os.path.relpath(path, os.fsencode(top))
        names.setdefault((status.st_dev, status.st_ino), []).append(name)
        found[name] = (
            stat.filemode(status.st_mode), status.st_uid, status.st_gid, _content(path, status),
            status.st_rdev if not stat.S_ISREG(status.st_mode) else status.st_size, _xattrs(path),
            status.st_mtime_ns if times else None,
            (status.st_ino, status.st_nlink) if inodes else None,
        )  # fmt: skip
    for same in names.values():
        for name in same:
            found[name] += (tuple(sorted(same)),)
    return found


def _walk(top: bytes) -> list[bytes]:
    found = [top]
    for directory, directories, files in os.walk(top):
        found += [os.path.join(directory, name) for name in (*directories, *files)]
    # overlayfs lists a whiteout that hides nothing, but knows no such file
    return [path for path in found if os.path.lexists(path)]


def _content(path: bytes, status: os.stat_result) -> object:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(status.st_mode):
        return hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    return None


def _xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    names = os.listxattr(path, follow_symlinks=False)
    return tuple(
        (name, os.getxattr(path, name, follow_symlinks=False))
        for name in sorted(names)
        if not name.startswith("trusted.overlay.")
    )


def gnu_tar(tar: Path, directory: Path) -> None:
    directory.mkdir()
    subprocess.run(
        ["tar", "-xpf", tar, "-C", directory, "--numeric-owner", "--xattrs", "--xattrs-include=*"],
        check=True,
    )


def for_overlay(directory: Path) -> None:
    """Whiteouts as overlayfs wants them, by the letter of the image spec and of the kernel."""
    for path in [directory, *directory.rglob("*")]:
        if not path.name.startswith(".wh.") or path.is_symlink():
            continue
        status = path.parent.stat()
        path.unlink()
        hidden = path.parent / path.name[4:]
        if path.name == ".wh..wh..opq":
            os.setxattr(path.parent, "trusted.overlay.opaque", b"y")
        elif hidden.is_dir() and not hidden.is_symlink():
            os.setxattr(hidden, "trusted.overlay.opaque", b"y")
        elif not os.path.lexists(hidden):
            os.mknod(hidden, stat.S_IFCHR, 0)
        os.utime(path.parent, ns=(status.st_atime_ns, status.st_mtime_ns))


class Overlay:
    """``with Overlay(layers, directory) as merged``: the kernel's view of layers, oldest first."""

    def __init__(self, layers: list[Path], directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        (directory / "nothing").mkdir()
        lowers = ":".join(str(path) for path in [*reversed(layers), directory / "nothing"])
        self.merged = directory / "merged"
        self.merged.mkdir()
        linux.mount("overlay", str(self.merged), "overlay", linux.MS_RDONLY, f"lowerdir={lowers}")

    def __enter__(self) -> Path:
        return self.merged

    def __exit__(self, *_: object) -> None:
        linux.umount2(str(self.merged))
