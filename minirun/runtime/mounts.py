"""One entry of ``mounts``: from its words to a mount that is attached to nothing yet.

A mount is made in three moves, none of which trusts a path twice: get a mount that is attached
nowhere (a new file system, or a clone of a tree that exists: bind), set its attributes while nobody
can reach it, and attach it to a file descriptor that rootfs.py opened inside the root. So no
symbolic link that a container plants, and no race with it, leads a mount to another place.

``options`` are those of mount(8). What is none of its general ones is for the file system itself,
and the kernel says whether it knows the word.

Interface: parse, new, clone, attach, remount, set_attributes.
"""

from __future__ import annotations

import os
from errno import EINVAL

from minirun import linux
from minirun.errors import SpecError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
# option: (attributes it sets, those it clears); with an r before it (rro), for all mounts below.
ATTRIBUTES = {
    "ro": (linux.MOUNT_ATTR_RDONLY, 0), "rw": (0, linux.MOUNT_ATTR_RDONLY),
    "nosuid": (linux.MOUNT_ATTR_NOSUID, 0), "suid": (0, linux.MOUNT_ATTR_NOSUID),
    "nodev": (linux.MOUNT_ATTR_NODEV, 0), "dev": (0, linux.MOUNT_ATTR_NODEV),
    "noexec": (linux.MOUNT_ATTR_NOEXEC, 0), "exec": (0, linux.MOUNT_ATTR_NOEXEC),
    "noatime": (linux.MOUNT_ATTR_NOATIME, linux.MOUNT_ATTR__ATIME),
    "strictatime": (linux.MOUNT_ATTR_STRICTATIME, linux.MOUNT_ATTR__ATIME),
    "relatime": (0, linux.MOUNT_ATTR__ATIME), "atime": (0, linux.MOUNT_ATTR__ATIME),
    "norelatime": (0, linux.MOUNT_ATTR__ATIME), "nostrictatime": (0, linux.MOUNT_ATTR__ATIME),
    "nodiratime": (linux.MOUNT_ATTR_NODIRATIME, 0), "diratime": (0, linux.MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (linux.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, linux.MOUNT_ATTR_NOSYMFOLLOW),
}
PROPAGATION = {
    "private": linux.MS_PRIVATE, "shared": linux.MS_SHARED, "slave": linux.MS_SLAVE,
    "unbindable": linux.MS_UNBINDABLE,
}
# What asks for more than a mount, and for what kind of mount it may be asked.
SPECIAL = {
    "remount": "", "tmpcopyup": "tmpfs", "idmap": "bind", "ridmap": "bind", "copy-symlink": "bind",
    "src-nofollow": "bind", "dest-nofollow": "bind",
}
# iversion is on wherever a file system has it (Linux 5.17); silent spares only the kernel's log.
WITHOUT_EFFECT = ("defaults", "async", "nolazytime", "nomand", "silent", "loud", "iversion",
                  "noiversion")
# fmt: on
MAX_VALUE = 255  # bytes that fsconfig(2) takes


class Options:
    """What the words of ``options`` come to."""

    def __init__(self) -> None:
        self.bind = self.recursive = False
        self.set = self.clear = 0  # MOUNT_ATTR_* of the mount
        self.set_below = self.clear_below = 0  # ... and of all mounts below it
        self.propagation: list[tuple[int, bool]] = []  # (MS_*, also below?) in this order
        self.special: set[str] = set()  # words of SPECIAL
        self.data: list[str] = []  # for the file system itself: "size=64m"


def parse(mount: dict[str, Any], place: str) -> Options:
    """The meaning of mount options; the last word on a thing counts, as in mount(8)."""
    options = Options()
    options.bind = mount.get("type") == "bind"
    if mount.get("uidMappings"):
        options.special.add("idmap")
    for word in mount.get("options") or []:
        below = word[:1] == "r" and word not in ATTRIBUTES and word not in PROPAGATION
        name = word[1:] if below else word
        if word in ("bind", "rbind"):
            options.bind, options.recursive = True, options.recursive or word == "rbind"
        elif word in SPECIAL:
            options.special.add(word)
        elif name in ATTRIBUTES:
            on, off = ATTRIBUTES[name]
            options.set, options.clear = options.set & ~off | on, options.clear & ~on | off
            if below:
                options.set_below = options.set_below & ~off | on
                options.clear_below = options.clear_below & ~on | off
        elif name in PROPAGATION:
            options.propagation.append((PROPAGATION[name], below))
        elif word not in WITHOUT_EFFECT and word:
            options.data.append(word)
    _check(options, mount, place)
    return options


def _check(options: Options, mount: dict[str, Any], place: str) -> None:
    """Refuse words that mean nothing for this kind of mount: they would be forgotten silently."""
    kind = "bind" if options.bind else mount.get("type") or ""
    wrong = [word for word in options.special if SPECIAL[word] not in ("", kind)]
    if options.bind or kind == "cgroup":
        # mount(2) takes no notice of "size=64k" here, and engines send it. A word that may be a
        # mistyped "ro" is another matter.
        wrong += [word for word in options.data if "=" not in word or "idmap=" in word]
        options.data.clear()
    if wrong:
        raise SpecError(f"{place}.options: {printable(wrong[0])} has no meaning for a {kind} mount")
    if options.bind and not mount.get("source") and "remount" not in options.special:
        raise SpecError(f"{place}.source: is required for a bind mount")
    if kind in ("", "none") and "remount" not in options.special:
        raise SpecError(f"{place}.type: is required unless options has bind")
    options.data = [part for word in options.data for part in _layer_by_layer(word)]
    if long := [word for word in options.data if len(os.fsencode(word)) > MAX_VALUE]:
        raise SpecError(f"{place}.options: {printable(long[0][:40])}…: over {MAX_VALUE} bytes")


def _layer_by_layer(word: str) -> list[str]:
    """Options for one: overlay's layers, which may be too long together (overlayfs, Linux 6.8)."""
    if not word.startswith("lowerdir=") or len(os.fsencode(word)) <= MAX_VALUE or "\\" in word:
        return [word]
    return ["lowerdir+=" + layer for layer in word.removeprefix("lowerdir=").split(":")]


def clone(source: str, options: Options) -> int:
    """A new mount, attached nowhere, of files that exist: open_tree(2). What the host mounts there
    later shows up in it only if a propagation was asked for."""
    flags = linux.OPEN_TREE_CLONE
    flags |= linux.AT_RECURSIVE if options.recursive else 0
    if options.special & {"src-nofollow", "copy-symlink"}:
        flags |= linux.AT_SYMLINK_NOFOLLOW
    tree = linux.open_tree(linux.AT_FDCWD, source, flags)
    if not options.propagation:
        everything = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
        linux.mount_setattr(tree, "", everything, propagation=linux.MS_PRIVATE)
    return tree


def set_attributes(tree: int, options: Options) -> None:
    """mount_setattr(2): what the options say of the mount itself, then of all below it."""
    if options.set or options.clear:
        linux.mount_setattr(tree, "", linux.AT_EMPTY_PATH, set=options.set, clear=options.clear)
    if options.set_below or options.clear_below:
        flags = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
        linux.mount_setattr(tree, "", flags, set=options.set_below, clear=options.clear_below)


def new(kind: str, source: str, data: list[str], attributes: int) -> int:
    """A new mount, attached nowhere, of a file system: fsopen(2), its options, fsmount(2)."""
    context = linux.fsopen(kind)
    try:
        _configure(context, ["source=" + source, *data], linux.FSCONFIG_CMD_CREATE)
        return linux.fsmount(context, attributes)
    except OSError as error:
        raise OSError(error.errno, _reason(context, error)) from error
    finally:
        os.close(context)


def remount(target: int, options: Options) -> None:
    """Change a mount that exists, and with options of its own the file system: fspick(2)."""
    if options.data:
        context = linux.fspick(target)
        try:
            _configure(context, options.data, linux.FSCONFIG_CMD_RECONFIGURE)
        except OSError as error:
            raise OSError(error.errno, _reason(context, error)) from error
        finally:
            os.close(context)
    set_attributes(target, options)


def _configure(context: int, data: list[str], command: int) -> None:
    for word in data:
        key, equals, value = word.partition("=")
        if equals:
            linux.fsconfig(context, linux.FSCONFIG_SET_STRING, key, value)
        else:
            linux.fsconfig(context, linux.FSCONFIG_SET_FLAG, key)
    linux.fsconfig(context, command)


def _reason(context: int, error: OSError) -> str:
    """The kernel's own words, which fsopen(2) lets us read, or else the error's."""
    try:
        words = os.read(context, 512).decode(errors="replace")
    except OSError:
        words = ""
    if error.errno == EINVAL and words.startswith("e "):
        return printable(words[2:].strip())
    return str(error.strerror)


def attach(tree: int, target: int, options: Options) -> None:
    """move_mount(2): onto an open file or directory; then the propagation it shall have."""
    empty = linux.MOVE_MOUNT_F_EMPTY_PATH | linux.MOVE_MOUNT_T_EMPTY_PATH
    linux.move_mount(tree, "", target, "", empty)
    for propagation, below in options.propagation:
        flags = linux.AT_EMPTY_PATH | (linux.AT_RECURSIVE if below else 0)
        linux.mount_setattr(tree, "", flags, propagation=propagation)
