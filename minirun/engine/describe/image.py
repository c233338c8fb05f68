"""Images, in Docker's words: ``inspect`` and ``history``."""

from __future__ import annotations

from minirun.engine.describe.moments import NEVER
from minirun.engine.template.values import Map, NilList, NilMap, Struct
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.state import State
    from minirun.image.store import Image

    Document = dict[str, Any]

MAPS = ("Labels", "ExposedPorts", "Volumes")  # of the config; what they hold has no zero but ""
CONFIG: Document = {  # what an image may leave out, and is asked for all the same
    "Hostname": "", "Domainname": "", "User": "", "ExposedPorts": NilMap(), "Env": NilList(),
    "Cmd": NilList(), "Image": "", "Volumes": NilMap(), "WorkingDir": "", "Entrypoint": NilList(),
    "OnBuild": NilList(), "Labels": NilMap(), "StopSignal": "", "StopTimeout": None,
    "Healthcheck": None,
}  # fmt: skip
OPTIONAL = ("ExposedPorts", "StopSignal", "StopTimeout", "Healthcheck")


def image(state: State, found: Image) -> Document:
    names = [other.name for other in state.store.images() if other.id == found.id and other.name]
    fields = {
        "Id": found.id,
        "RepoTags": [familiar(name) for name in names if "@" not in name],
        "RepoDigests": list(dict.fromkeys(f"{repository(n)}@{found.source}" for n in names)),
        "Digest": found.digest,
        "Parent": "",
        "Comment": comment(found),
        "Created": found.created,
        "Author": found.config.get("author") or "",
        "Config": config(found),
        "Architecture": found.platform.architecture,
        "Variant": found.platform.variant,
        "Os": found.platform.os,
        "Size": found.size,
        "GraphDriver": {"Data": Map({"LowerDir": lower(state, found)}), "Name": "overlay"},
        "RootFS": {"Type": "layers", "Layers": found.diff_ids},
        "Metadata": {"LastTagTime": NEVER},
    }
    return Struct(fields, optional=("Variant",))


def familiar(name: str) -> str:
    from minirun.image import reference

    return reference.parse(name).familiar


def repository(name: str) -> str:
    from minirun.image import reference

    return reference.parse(name)._replace(tag=None, digest=None).familiar


def comment(found: Image) -> str:
    """What the last step says of itself."""
    steps = found.config.get("history") or [{}]
    return str(steps[-1].get("comment") or "")


def config(found: Image) -> Document:
    """How to run it. Nothing in it is to be trusted; it is shown as it is."""
    inner = found.config.get("config")
    given = inner if isinstance(inner, dict) else {}
    shown = CONFIG | {name: value for name, value in given.items() if value is not None}
    for name in MAPS:
        if isinstance(shown[name], dict) and not isinstance(shown[name], Map):
            shown[name] = Map(shown[name])
    return Struct(shown, OPTIONAL)


def lower(state: State, found: Image) -> str:
    """The unpacked layers as overlayfs gets them; "" where they are not unpacked."""
    try:
        return ":".join(state.snapshots.lowers(found.config))
    except Error:
        return ""


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
