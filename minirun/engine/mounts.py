"""What a container has mounted besides its root: volumes, parts of the host, memory.

``apply`` is called once in a container's life, when it is created: flags and image become a list of
mounts (mountflags.py says what is in one) in its record and in its config.json. Of two mounts for
one place the nearer to the user counts:

    --volumes-from   <   -v, --mount, --tmpfs (of these, two are an error)
    VOLUME           <   all of them

Volumes that are missing are made, and an empty one begins with what the image has at its place: the
first container that brings content fills it. ``check`` is called at each start.

https://docs.docker.com/engine/storage/volumes/
"""

from __future__ import annotations

import os
import sys

from minirun import linux
from minirun.engine import mountflags
from minirun.errors import ImageError, NotFound, UsageError, printable
from minirun.image import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.mountflags import Mount
    from minirun.engine.state import State
    from minirun.engine.volumes import Volume
    from minirun.image.store import Image

    Document = dict[str, Any]
    Options = Mapping[str, Any]
    Found = tuple[Mount, Volume]

OF_THE_KERNEL = ("/proc", "/sys", "/dev")
SELINUX = "/sys/fs/selinux/enforce"


def apply(
    state: State, container: Container, spec: Document, image: Image, options: Options
) -> list[Mount]:
    """Give the container its mounts: those that ``options`` and the image ask for.

    They are in its record and in ``spec`` then, and its volumes exist. Returns them.
    """
    mounts = plan(options, from_containers(state, options), mountflags.of_image(image.config))
    if any(mount["type"] == "volume" for mount in mounts):
        take_volumes(state, container, image, mounts)
    elif mounts:
        container.save(mounts=mounts)
    relabel(mounts)
    check(mounts)
    add(spec, mounts)
    return mounts


def add_to_bundle(spec: Document, options: Options) -> None:
    """What of the flags makes sense for a bundle, around which there is no engine."""
    mounts = plan(options, (), ())
    for mount in mounts:
        if mount["type"] == "volume":
            raise UsageError(
                f"{printable(mount['destination'])}: a bundle has no volumes",
                hint="name a directory of the host: -v /DIRECTORY:/PLACE",
            )
    check(mounts)
    add(spec, mounts)


def plan(options: Options, borrowed: Iterable[Mount], of_image: Iterable[Mount]) -> list[Mount]:
    """All mounts of a container, outer directories before those inside them."""
    mountflags.check_driver(options.get("volume_driver") or "local")
    asked = [mountflags.volume(text) for text in options.get("volume") or ()]
    asked += [mountflags.words(text) for text in options.get("mount") or ()]
    asked += [mountflags.tmpfs(text) for text in options.get("tmpfs") or ()]
    places = {mount["destination"]: mount for mount in asked}
    if len(places) < len(asked):
        twice = next(m for m in asked if places[m["destination"]] is not m)
        raise UsageError(f"duplicate mount point: {printable(twice['destination'])}")
    places = {mount["destination"]: mount for mount in borrowed} | places
    for mount in of_image:
        if mount["destination"] not in places and not _is_of_the_kernel(mount["destination"]):
            places[mount["destination"]] = mount
    return sorted(places.values(), key=lambda mount: mount["destination"].count("/"))


def _is_of_the_kernel(place: str) -> bool:
    """Whether an image's VOLUME would hide what only the kernel can say. Told, and left out."""
    hides = any(f"{place}/".startswith(f"{top}/") for top in OF_THE_KERNEL)
    if hides:
        print(f"warning: VOLUME {printable(place)} of the image is left out: the container has "
              "a file system of the kernel there", file=sys.stderr)  # fmt: skip
    return hides


def from_containers(state: State, options: Options) -> list[Mount]:
    """--volumes-from CONTAINER[:ro|rw|z|Z]: the volumes and binds of other containers."""
    found = []
    for text in options.get("volumes_from") or ():
        name, _, mode = text.partition(":")
        if mode not in ("", "ro", "rw", "z", "Z"):
            raise UsageError(f"--volumes-from {printable(text)[:80]!r}: it is NAME[:ro]")
        for mount in state.containers.find(name).record.get("mounts") or []:
            if mount["type"] != "tmpfs":
                found.append(mountflags.read_only(mount) if mode == "ro" else mount)
    return found


# --- volumes ------------------------------------------------------------------------------------


def take_volumes(state: State, container: Container, image: Image, mounts: list[Mount]) -> None:
    """Make the volumes that are missing, note them all in the record, fill those that are empty."""
    from minirun.engine.volumes import Volumes

    volumes = Volumes(state)
    found = []
    with volumes.hold():
        for mount in mounts:
            if mount["type"] == "volume":
                mount["anonymous"] = mount.get("anonymous") or not mount["name"]
                wish = (mount.get("labels"), mount.get("driverOptions"))
                volume = volumes.ensure(mount["name"], *wish)
                mount |= {"name": volume.name, "source": volume.data}
                found.append((mount, volume))
        container.save(mounts=mounts)
    fill(state, container, image, found)


def fill(state: State, container: Container, image: Image, found: Sequence[Found]) -> None:
    """Copy what the image has at the places of its volumes to those that are empty.

    The container is not running, and its root is mounted for that only: a crash in between is
    cleaned up with the container.
    """
    from minirun.engine.volumes import fill

    wanting = [(mount, volume) for mount, volume in found if volume.wants_filling]
    for _, volume in wanting:
        fill(volume, None)  # without what was broken off
    if not any(mount["copy"] for mount, _ in wanting):
        return
    rootfs = state.snapshots.mount(state.lowers(image), container.directory)
    try:
        for mount, volume in wanting:
            source = _directory_in(rootfs, mount["destination"]) if mount["copy"] else None
            if source is not None:
                try:
                    fill(volume, source)
                finally:
                    os.close(source)
    finally:
        state.snapshots.unmount(container.directory)


def _directory_in(rootfs: str, place: str) -> int | None:
    """What the image has at a place, if that is a directory. Its links lead nowhere else."""
    resolve = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
    root = tree.open_directory(rootfs)
    try:
        return linux.openat2(root, place, os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ImageError(f"the image's {printable(place)}: {reason}") from None
    finally:
        os.close(root)


# --- parts of the host --------------------------------------------------------------------------


def check(mounts: Sequence[Mount]) -> None:
    """At each start: NotFound for a source that is missing. None is made up: a directory of root's
    wherever a typing error points to is of no use to anybody."""
    for mount in mounts:
        source = mount["source"]
        if mount["type"] == "bind" and not os.path.exists(source):
            raise NotFound(
                f"{printable(source)}: no such file or directory to mount on "
                f"{printable(mount['destination'])}",
                hint=f"mkdir -p {printable(source)}",
            )
        if mount["type"] == "volume" and not os.path.isdir(source):
            raise NotFound(f"volume {mount['name']} has no directory {printable(source)}")


def relabel(mounts: Sequence[Mount]) -> None:
    """``z`` and ``Z``: where SELinux is, containers may use the files from now on."""
    wanting = [m for m in mounts if {"z", "Z"} & set(m["mode"].split(","))]
    if wanting and os.path.exists(SELINUX):
        from minirun.engine import selinux

        for mount in wanting:
            selinux.relabel(mount["source"])


# --- config.json --------------------------------------------------------------------------------


def add(spec: Document, mounts: Sequence[Mount]) -> None:
    """Put mounts into a config.json, in place of what it has there. What is mounted on /dev hides
    the file systems in it, so they go too."""
    places = {mount["destination"] for mount in mounts}
    hidden = "/dev/" if "/dev" in places else "\0"
    kept = [
        mount
        for mount in spec["mounts"]
        if mount["destination"] not in places and not mount["destination"].startswith(hidden)
    ]
    spec["mounts"] = [*kept, *map(entry, mounts)]
    for mount in mounts:
        spread(spec, mount["propagation"])


def entry(mount: Mount) -> Document:
    """One mount as config.json has it. A volume is a directory like others to the runtime."""
    kind = "tmpfs" if mount["type"] == "tmpfs" else "bind"
    return {
        "destination": mount["destination"],
        "type": kind,
        "source": mount["source"] or kind,
        "options": mount["options"],
    }


def spread(spec: Document, propagation: str) -> None:
    """What is mounted on the host later is seen in a container only if its root lets it through.
    (config-linux.md, "Rootfs Mount Propagation")"""
    wish = propagation.removeprefix("r")
    if wish == "shared" or (wish == "slave" and not spec["linux"].get("rootfsPropagation")):
        spec["linux"]["rootfsPropagation"] = f"r{wish}"
