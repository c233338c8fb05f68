"""``inspect`` and ``history``: what is known of an image or a container, in Docker's words."""

from __future__ import annotations

from minirun.errors import Error, NotFound, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State
    from minirun.image.store import Image

    Document = dict[str, Any]


def describe(state: State, name: str, kind: str | None = None) -> Document:
    """The container or image called ``name``; a container if both are."""
    if kind != "image":
        try:
            return container(state, state.containers.find(name))
        except (NotFound, UsageError):
            if kind == "container":
                raise
    try:
        return image(state, state.image(name))
    except NotFound:
        if kind == "image":
            raise
    raise NotFound(f"no such container or image: {printable(name)}")


def image(state: State, found: Image) -> Document:
    names = [other.name for other in state.store.images() if other.id == found.id and other.name]
    repositories = dict.fromkeys(name.partition("@")[0].rpartition(":")[0] for name in names)
    return {
        "Id": found.id,
        "RepoTags": names,
        "RepoDigests": [f"{repository}@{found.source}" for repository in repositories],
        "Digest": found.digest,
        "Created": found.created,
        "Author": found.config.get("author") or "",
        "Architecture": found.platform.architecture,
        "Variant": found.platform.variant,
        "Os": found.platform.os,
        "Size": found.size,
        "Config": found.config.get("config") or {},
        "RootFS": {"Type": "layers", "Layers": found.diff_ids},
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": lower(state, found)}},
    }


def lower(state: State, found: Image) -> str:
    """The unpacked layers as overlayfs gets them; "" where they are not unpacked."""
    try:
        return ":".join(state.snapshots.lowers(found.config))
    except Error:
        return ""


def container(state: State, found: Container) -> Document:
    record, life = found.record, found.state
    command = record.get("command") or [""]
    return {
        "Id": found.id,
        "Created": moment(record.get("created")),
        "Path": command[0],
        "Args": command[1:],
        "State": {
            "Status": found.status,
            "Running": found.is_up,
            "ExitCode": life.get("exitCode", 0),
            "StartedAt": moment(life.get("started")),
            "FinishedAt": moment(life.get("finished")),
        },
        "Image": record.get("imageId", ""),
        "Name": f"/{found.name}",
        "HostConfig": {
            "AutoRemove": record.get("autoRemove", False),
            "Runtime": record.get("runtime", ""),
        },
        "Config": {"Image": record.get("image", ""), "Cmd": command},
        "BundlePath": found.directory,
    }


def moment(seconds: float | None) -> str:
    """A point in time as RFC 3339 wants it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else ""


def history(found: Image) -> list[tuple[Document, Document | None]]:
    """The steps that made an image, the newest first, each with its layer if it has one.

    image-spec, config.md, "history". An image may leave its history out: its layers are there.
    """
    layers = list(found.layers)
    steps: list[tuple[Document, Document | None]] = []
    for step in found.config.get("history") or []:
        has_layer = not step.get("empty_layer") and layers
        steps.append((step, layers.pop(0) if has_layer else None))
    steps += [({}, layer) for layer in layers]
    return steps[::-1]
