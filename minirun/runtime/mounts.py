"""One entry of ``mounts``: from its words to a mount that is attached to nothing yet.

A mount is made in three moves, none of which trusts a path twice: get a mount that is attached
nowhere (a new file system, or a clone of a tree that exists: bind), set its attributes while nobody
can reach it, and attach it to a file descriptor that rootfs.py opened inside the root. So no
symbolic link that a container plants, and no race with it, leads a mount to another place.

``options`` are those of mount(8). Interface: parse, attach, detached.
"""

from __future__ import annotations

import os
from errno import EINVAL

from minirun import linux
from minirun.errors import SpecError, StepError, printable

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
WITHOUT_EFFECT = ("defaults", "async", "nolazytime", "nomand", "silent", "loud", "noiversion")
NOT_YET = ("remount", "tmpcopyup", "idmap", "ridmap", "copy-symlink", "src-nofollow",
           "dest-nofollow")
# fmt: on


class Options:
    """What the words of ``options`` come to."""

    def __init__(self) -> None:
        self.bind = self.recursive = False
        self.set = self.clear = 0  # MOUNT_ATTR_* of the mount
        self.set_below = self.clear_below = 0  # ... and of all mounts below it
        self.propagation: list[tuple[int, bool]] = []  # (MS_*, also below?) in this order
        self.data: list[str] = []  # for the file system itself: "size=64m"


def parse(words: list[str], place: str) -> Options:
    """The meaning of mount options; the last word on a thing counts, as in mount(8)."""
    options = Options()
    for word in words:
        below = word[:1] == "r" and word not in ATTRIBUTES and word not in PROPAGATION
        name = word[1:] if below else word
        if word in ("bind", "rbind"):
            options.bind, options.recursive = True, word == "rbind"
        elif name in ATTRIBUTES:
            on, off = ATTRIBUTES[name]
            options.set, options.clear = options.set & ~off | on, options.clear & ~on | off
            if below:
                options.set_below = options.set_below & ~off | on
                options.clear_below = options.clear_below & ~on | off
        elif name in PROPAGATION:
            options.propagation.append((PROPAGATION[name], below))
        elif word in NOT_YET:
            raise SpecError(f"{place}.options: {word} is not supported by this version")
        elif word not in WITHOUT_EFFECT and word:
            options.data.append(word)
    return options


def detached(mount: dict[str, Any], bundle: str, place: str) -> tuple[int, Options]:
    """The file descriptor of a new mount that is attached nowhere, with its attributes set."""
    options = parse(mount.get("options") or [], place)
    kind = mount.get("type") or ""
    if options.bind or kind == "bind":
        return _bind(mount, options, bundle, place), options
    if not kind or kind == "none":
        raise SpecError(f"{place}.type: is required unless options has bind")
    attributes = options.set
    return new(kind, mount.get("source") or kind, options.data, attributes), options


def _bind(mount: dict[str, Any], options: Options, bundle: str, place: str) -> int:
    if options.data:
        raise SpecError(
            f"{place}.options: {printable(options.data[0])} has no meaning for a bind mount"
        )
    if not mount.get("source"):
        raise SpecError(f"{place}.source: is required for a bind mount")
    recursive = linux.AT_RECURSIVE if options.recursive else 0
    source = os.path.join(bundle, mount["source"])
    tree = linux.open_tree(linux.AT_FDCWD, source, linux.OPEN_TREE_CLONE | recursive)
    set_attributes(tree, options)
    return tree


def set_attributes(tree: int, options: Options) -> None:
    """mount_setattr(2): what the options say of the mount itself, then of all below it."""
    if options.set or options.clear:
        linux.mount_setattr(tree, "", linux.AT_EMPTY_PATH, set=options.set, clear=options.clear)
    if options.set_below or options.clear_below:
        flags = linux.AT_EMPTY_PATH | linux.AT_RECURSIVE
        linux.mount_setattr(tree, "", flags, set=options.set_below, clear=options.clear_below)


def new(kind: str, source: str, data: list[str], attributes: int) -> int:
    """A new mount of a file system: fsopen(2), its options, fsmount(2)."""
    context = linux.fsopen(kind)
    try:
        linux.fsconfig(context, linux.FSCONFIG_SET_STRING, "source", source)
        for word in data:
            key, equals, value = word.partition("=")
            if equals:
                linux.fsconfig(context, linux.FSCONFIG_SET_STRING, key, value)
            else:
                linux.fsconfig(context, linux.FSCONFIG_SET_FLAG, key)
        linux.fsconfig(context, linux.FSCONFIG_CMD_CREATE)
        return linux.fsmount(context, attributes)
    except OSError as error:
        raise StepError(f"cannot mount a {kind}: {_reason(context, error)}") from error
    finally:
        os.close(context)


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
