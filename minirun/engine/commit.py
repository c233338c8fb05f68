"""``commit``: what a container has changed becomes a layer, and with its settings an image.

The image starts as the container did: with its command, its variables, its user. Instructions of a
Dockerfile (``--change``) have the last word on that. The layer is unpacked at once: so what we
wrote was read back before the image gets its name.

Also ``import``: an image of one layer, from somebody's tar.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime

from minirun.engine import freezing
from minirun.engine.container import PAUSED
from minirun.engine.rootfs import Changes
from minirun.errors import NotFound, StateError
from minirun.image import bundle, instructions, making

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State
    from minirun.image.store import Image

    Document = dict[str, Any]

EMPTY = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The digest of a tar with nothing in it."""
OF_THE_RUN = ("HOME", "HOSTNAME", "TERM")  # variables that each start sets by itself


def commit(
    state: State,
    container: Container,
    name: str | None,
    *,
    author: str = "",
    message: str = "",
    instructed: Sequence[str] = (),
    pause: bool = True,
) -> Image:
    """Make an image of a container. ``name`` is a canonical reference; with None it has none.

    ``pause``: while its files are read, nothing in it changes them.
    """
    base = image_of(state, container)
    config = settings(base.config, container)
    for text in instructed:
        instructions.apply(config, text)
    with state.store.hold():
        with Changes(state, container) as changes, making.new_layer(state.store) as layer:
            with paused(state, container) if pause else at_once():
                changes.pack(layer.write)
        layers = [layer] if layer.diff_id != EMPTY else []
        step = _step(" ".join(container.record.get("command") or []), message, not layers)
        document = base.config | {"created": step["created"], "config": config}
        document["history"] = [*(base.config.get("history") or []), step | _of(author)]
        document.update(_of(author))
        return _finish(state, name, document, layers, below=base)


def import_tar(
    state: State,
    chunks: Iterable[bytes],
    name: str | None,
    *,
    message: str = "",
    instructed: Sequence[str] = (),
    platform: str | None = None,
) -> Image:
    """Make an image of one layer: the tar that comes in ``chunks``, uncompressed."""
    from minirun.image.platform import host, parse

    config: Document = {}
    for text in instructed:
        instructions.apply(config, text)
    wanted = parse(platform) if platform else host()
    with state.store.hold():
        with making.new_layer(state.store) as layer:
            for chunk in chunks:
                layer.write(chunk)
        step = _step("", message, False)
        document = {"created": step["created"], "os": wanted.os, "config": config}
        document["architecture"] = wanted.architecture
        if wanted.variant:
            document["variant"] = wanted.variant
        return _finish(state, name, document | {"history": [step]}, [layer], below=None)


def _finish(
    state: State,
    name: str | None,
    document: Document,
    layers: Sequence[making.Layer],
    *,
    below: Image | None,
) -> Image:
    """Unpack what is new, and only then make the image."""
    diff_ids = below.diff_ids if below else []
    for layer in layers:
        diff_ids = [*diff_ids, layer.diff_id]
        state.snapshots.add(state.store.blob_path(layer.descriptor["digest"]), diff_ids)
    return making.make(state.store, name, document, layers, below=below)


def _step(command: str, message: str, empty: bool) -> Document:
    """The history of what is done now."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    step: Document = {"created": now, "created_by": command, "comment": message}
    return {key: value for key, value in step.items() if value} | (
        {"empty_layer": True} if empty else {}
    )


def _of(author: str) -> Document:
    return {"author": author} if author else {}


def image_of(state: State, container: Container) -> Image:
    """The image that a container was made of."""
    ident = str(container.record.get("imageId", ""))
    for image in state.store.images():
        if image.id == ident:
            return image
    raise NotFound(
        f"the image of container {container.name} is gone: {ident or 'unknown'}",
        hint="its files are not: minirun export, minirun import",
    )


def settings(image: Document, container: Container) -> Document:
    """What an image would say to have a container start as this one did.

    ``image`` is the config document of its image. Names are those of the image spec, and Docker's
    where that has none.
    """
    config = dict(bundle.settings(image))
    options = container.options
    _set_command(config, container)
    config["Env"] = _environment(config, container)
    for key, value in (
        ("User", options.get("user")),
        ("WorkingDir", options.get("workdir")),
        ("StopSignal", options.get("stop_signal")),
    ):
        if value:
            config[key] = value
    if labels := container.record.get("labels"):
        config["Labels"] = {**(config.get("Labels") or {}), **labels}
    for port in options.get("expose") or ():
        instructions.apply(config, f"EXPOSE {port}")
    for mount in container.record.get("mounts") or []:
        if mount.get("anonymous"):
            places: Document = {mount["destination"]: {}}
            config["Volumes"] = {**(config.get("Volumes") or {}), **places}
    return config


def _set_command(config: Document, container: Container) -> None:
    """The command line is the entry point and what follows it."""
    line = list(container.record.get("command") or [])
    asked = container.options.get("entrypoint")
    if asked is not None:
        config["Entrypoint"] = [asked] if asked else []
    entry = config.get("Entrypoint") or []
    config["Cmd"] = line[len(entry) :]


def _environment(config: Document, container: Container) -> list[str]:
    from minirun.engine.container import read

    spec = read(container.path("config.json")) or read(container.path("spec.json")) or {}
    lasting = {text.partition("=")[0] for text in config.get("Env") or []}
    lasting |= {text.partition("=")[0] for text in container.options.get("env") or ()}
    return [
        text
        for text in spec.get("process", {}).get("env") or config.get("Env") or []
        if (name := text.partition("=")[0]) not in OF_THE_RUN or name in lasting
    ]


@contextmanager
def paused(state: State, container: Container) -> Iterator[None]:
    """Nothing in the container runs meanwhile, if anything does."""
    if not container.is_up or container.status == PAUSED:
        yield
        return
    try:
        freezing.pause(state, container.id)
    except StateError:  # it has just ended
        yield
        return
    try:
        yield
    finally:
        freezing.unpause(state, container.id)


@contextmanager
def at_once() -> Iterator[None]:
    """As ``paused``, but nothing is."""
    yield
