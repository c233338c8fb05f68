"""What -v, --mount, --tmpfs and an image's VOLUME ask for: text in, mounts out. Nothing is touched.

    -v /srv/www:/www:ro                                 a directory or file of the host
    -v data:/data    -v /data                           a volume with a name, and one without
    --mount type=bind,source=/srv/www,target=/www,ro    the same, in words
    --tmpfs /run:size=64m,mode=755                      an empty file system in memory

A mount is a dict, and is kept like this in the container's record:

    type          "bind", "volume" or "tmpfs"
    name          of a volume; "" for one that gets a name of its own
    anonymous     whether it got it: then ``rm -v`` and ``run --rm`` remove it
    source        the file or directory of the host; "" for a tmpfs
    destination   the place in the container, absolute and without ".."
    mode          the user's words, such as "ro,z"
    rw            whether the container may write there
    propagation   of mounts made there later: mount_namespaces(7)
    options       for config.json: runtime-spec, config.md, "Mounts"
    copy          whether a new volume begins with what the image has at the place
    labels, driverOptions       of a volume that is made for this mount

https://docs.docker.com/engine/storage/ describes the flags.
"""

from __future__ import annotations

import os

from minirun.engine import values
from minirun.engine.flags import FALSE, TRUE
from minirun.errors import ImageError, UsageError, printable
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]
    Mount = dict[str, Any]

PROPAGATION = ("shared", "slave", "private", "rshared", "rslave", "rprivate")
# Hints for machines that keep containers in a virtual machine; here there is nothing to hint at.
CONSISTENCY = ("cached", "delegated", "consistent", "default")
MODES = {"ro", "rw", "z", "Z", "nocopy", "rbind", *PROPAGATION, *CONSISTENCY}
CONFLICTS = ({"ro", "rw"}, {"z", "Z"}, set(PROPAGATION), set(CONSISTENCY))
HINT = "-v /DIRECTORY/OF/THE/HOST:/PLACE[:ro], -v VOLUME:/PLACE, -v /PLACE"
MOUNT_HINT = "--mount type=bind|volume|tmpfs,source=WHAT,target=/PLACE[,readonly]"


def make(kind: str, destination: str, *, flag: str, **fields: object) -> Mount:
    """A mount with what was asked for, and else what is usual. ``flag`` is for the error."""
    if not destination.startswith("/") or "\0" in destination:
        raise UsageError(
            f"{flag} {_shown(destination)}: the place in the container must begin with '/'",
            hint=HINT,
        )
    place = bundle.absolute(destination)
    if place == "/":
        raise UsageError(f"{flag}: nothing can be mounted in place of the container's root")
    mount: Mount = {"type": kind, "source": "", "destination": place, "mode": "", "rw": True,
                    "propagation": ""}  # fmt: skip
    if kind == "volume":
        mount |= {"name": "", "copy": True}
    return mount | fields


# --- -v -----------------------------------------------------------------------------------------


def volume(text: str) -> Mount:
    """``-v [SOURCE:]DESTINATION[:MODE]``

    >>> mount = volume("/srv/www:/www:ro")
    >>> mount["type"], mount["source"], mount["destination"], mount["options"]
    ('bind', '/srv/www', '/www', ['rbind', 'rprivate', 'rro'])
    >>> volume("data:/data")["name"], volume("/data")["name"]
    ('data', '')
    """
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise UsageError(f"-v {_shown(text)} is not a volume", hint=HINT)
    source, destination = ("", parts[0]) if len(parts) == 1 else parts[:2]
    mode = parts[2] if len(parts) == 3 else ""
    words = mode.split(",") if mode else []
    _check_modes(text, words)
    fields = {
        "mode": mode,
        "rw": "ro" not in words,
        "propagation": next((word for word in words if word in PROPAGATION), "rprivate"),
    }
    if source.startswith(("/", ".", "~")):
        if "nocopy" in words:
            raise UsageError(f"-v {_shown(text)}: only volumes are copied to: no nocopy here")
        fields["source"] = host_path(source, "-v")
        mount = make("bind", destination, flag="-v", **fields)
    else:
        fields |= {"name": source, "copy": "nocopy" not in words}
        mount = make("volume", destination, flag="-v", **fields)
    return _with_options(mount)


def _check_modes(text: str, words: Sequence[str]) -> None:
    for word in words:
        if word not in MODES:
            raise UsageError(f"-v {_shown(text)}: unknown option {_shown(word)}", hint=HINT)
    for group in CONFLICTS:
        if len(group.intersection(words)) > 1:
            raise UsageError(f"-v {_shown(text)}: these options exclude one another")


def host_path(text: str, flag: str) -> str:
    """A file of the host: absolute, relative to here, or below ``~``."""
    if "\0" in text or not text:
        raise UsageError(f"{flag}: {_shown(text)} is not a path")
    return os.path.abspath(os.path.expanduser(text))


def _with_options(mount: Mount, *, recursive: str = "enabled") -> Mount:
    """Add the mount options. Read-only is a directory with all that is mounted below it, unless
    that was asked otherwise; "disabled" leaves what is mounted below it out."""
    options = ["bind" if recursive == "disabled" else "rbind", mount["propagation"] or "rprivate"]
    if not mount["rw"]:
        options.append("ro" if recursive in ("disabled", "writable") else "rro")
    mount["options"] = options
    return mount


def read_only(mount: Mount) -> Mount:
    """The same mount for somebody who may not write (``--volumes-from NAME:ro``)."""
    return mount | {"rw": False, "options": [*mount["options"], "rro"]}


# --- --mount ------------------------------------------------------------------------------------

NAMES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
SWITCHES = {"readonly", "volume-nocopy", "bind-nonrecursive"}
ALLOWED = {
    "bind": {"bind-propagation", "bind-nonrecursive", "bind-recursive", "source", "consistency"},
    "volume": {"volume-nocopy", "volume-label", "volume-driver", "volume-opt", "source",
               "consistency"},
    "tmpfs": {"tmpfs-size", "tmpfs-mode", "consistency"},
}  # fmt: skip
REFUSED = {
    "volume-subpath": "a volume is mounted as a whole so far",
    "bind-create-src": "a missing directory is an error: make it with mkdir -p",
}
RECURSIVE = ("enabled", "disabled", "writable", "readonly")


def words(text: str) -> Mount:
    """``--mount NAME=VALUE,…``: a line of comma-separated values, quoted where one has a comma.

    >>> words("type=tmpfs,target=/run,tmpfs-size=1m")["options"]
    ['noexec', 'nosuid', 'nodev', 'rprivate', 'size=1048576']
    """
    asked = _pairs(text)
    kind = str(asked.pop("type", ["volume"])[-1])
    if kind not in ALLOWED:
        raise UsageError(f"--mount: there is no type={_shown(kind)} here", hint=MOUNT_HINT)
    for name in asked:
        if name in REFUSED:
            raise UsageError(f"--mount {name}: {REFUSED[name]}")
        if name not in ALLOWED[kind] | {"target", "readonly"}:
            raise UsageError(
                f"--mount: {_shown(name)} means nothing for type={kind}", hint=MOUNT_HINT
            )
    if "target" not in asked:
        raise UsageError(f"--mount {_shown(text)}: target is missing", hint=MOUNT_HINT)
    return {"bind": _bind, "volume": _volume, "tmpfs": _tmpfs}[kind](asked)


def _pairs(text: str) -> dict[str, list[Any]]:
    """NAME=VALUE as {name: values}, by the names that we go by; a switch has a bool."""
    import csv

    found: dict[str, list[Any]] = {}
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise UsageError(f"--mount {_shown(text)}: {error}", hint=MOUNT_HINT) from None
    for field in rows[0] if rows else []:
        name, equals, value = field.partition("=")
        name = NAMES.get(name.lower(), name.lower())
        if name in SWITCHES:
            found[name] = [_switch(name, value) if equals else True]
        elif not equals:
            raise UsageError(f"--mount: {_shown(field)} is not NAME=VALUE", hint=MOUNT_HINT)
        else:
            found.setdefault(name, []).append(value)
    return found


def _switch(name: str, value: str) -> bool:
    if value not in TRUE | FALSE:
        raise UsageError(f"--mount {name}={_shown(value)}: it is true or false")
    return value in TRUE


def _last(asked: Mapping[str, list[Any]], name: str, usual: str = "") -> str:
    return str(asked[name][-1]) if name in asked else usual


def _bind(asked: Mapping[str, list[Any]]) -> Mount:
    if "source" not in asked:
        raise UsageError("--mount type=bind: source is missing", hint=MOUNT_HINT)
    propagation = _last(asked, "bind-propagation", "rprivate")
    recursive = _last(asked, "bind-recursive", "enabled")
    if propagation not in PROPAGATION or recursive not in RECURSIVE:
        raise UsageError(
            f"--mount: bind-propagation is one of {', '.join(PROPAGATION)}; "
            f"bind-recursive is one of {', '.join(RECURSIVE)}"
        )
    if asked.get("bind-nonrecursive", [False])[-1]:
        recursive = "disabled"
    mount = make(
        "bind",
        _last(asked, "target"),
        flag="--mount",
        source=host_path(_last(asked, "source"), "--mount source"),
        rw=not asked.get("readonly", [False])[-1],
        propagation=propagation,
    )
    return _with_options(mount, recursive=recursive)


def _volume(asked: Mapping[str, list[Any]]) -> Mount:
    check_driver(_last(asked, "volume-driver", "local"))
    mount = make(
        "volume",
        _last(asked, "target"),
        flag="--mount",
        name=_last(asked, "source"),
        rw=not asked.get("readonly", [False])[-1],
        copy=not asked.get("volume-nocopy", [False])[-1],
        labels=labels(asked.get("volume-label", ())),
        driverOptions=labels(asked.get("volume-opt", ())),
    )
    return _with_options(mount)


def check_driver(name: str) -> None:
    if name != "local":
        raise UsageError(
            f"there is no volume driver {_shown(name)}", hint="'local' is the only one"
        )


def labels(texts: Sequence[str]) -> dict[str, str]:
    """
    >>> labels(["a=1", "b"])
    {'a': '1', 'b': ''}
    """
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


# --- --tmpfs ------------------------------------------------------------------------------------

TMPFS_FLAGS = {
    "rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "atime", "noatime",
    "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "sync",
    "async", "tmpcopyup", "noswap", *PROPAGATION,
}  # fmt: skip
TMPFS_DATA = {"size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "mpol", "huge"}  # tmpfs(5)


def tmpfs(text: str) -> Mount:
    """``--tmpfs DESTINATION[:OPTIONS]``; the last word on a thing counts."""
    destination, _, wish = text.partition(":")
    asked = [word for word in wish.split(",") if word]
    for word in asked:
        name, equals, _ = word.partition("=")
        if name not in (TMPFS_DATA if equals else TMPFS_FLAGS):
            raise UsageError(
                f"--tmpfs {_shown(text)}: unknown option {_shown(word)}",
                hint="--tmpfs /PLACE:size=64m,mode=1777,uid=0,exec",
            )
    return _in_memory(destination, asked, "--tmpfs", rw="ro" not in asked, mode=wish)


def _tmpfs(asked: Mapping[str, list[Any]]) -> Mount:
    wish = []
    if size := _last(asked, "tmpfs-size"):
        wish.append(f"size={values.size(size)}")
    if mode := _last(asked, "tmpfs-mode"):
        if mode.strip("01234567") or len(mode) > 5:
            raise UsageError(f"--mount tmpfs-mode={_shown(mode)}: it is octal, such as 1770")
        wish.append(f"mode={mode}")
    if asked.get("readonly", [False])[-1]:
        wish.append("ro")
    return _in_memory(_last(asked, "target"), wish, "--mount", rw="ro" not in wish)


def _in_memory(destination: str, wish: Sequence[str], flag: str, **fields: object) -> Mount:
    mount = make("tmpfs", destination, flag=flag, **fields)
    mount["options"] = ["noexec", "nosuid", "nodev", "rprivate", *wish]
    return mount


# --- VOLUME -------------------------------------------------------------------------------------


def of_image(config: Document) -> list[Mount]:
    """A nameless volume for each VOLUME of an image's config document.

    They are hostile input: a path is taken from the container's root and cleaned by its text. That
    no symbolic link of the image leads out is up to whoever opens it.
    """
    wish = bundle.settings(config).get("Volumes") or {}
    if not isinstance(wish, dict):
        raise ImageError("the image's Volumes is not an object")
    found = []
    for path in wish:
        place = bundle.absolute(path)
        if "\0" in path or place == "/":
            raise ImageError(f"the image's VOLUME {_shown(path)} cannot be a volume")
        found.append(_with_options(make("volume", place, flag="VOLUME")))
    return found


def _shown(text: str) -> str:
    return repr(printable(text)[:80])
