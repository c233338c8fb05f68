"""An image as a bundle on disk: ``minirun bundle``, the contract between puller and runtime."""

from __future__ import annotations

import os
import sys

from minirun.engine import edits, exposure, files, mounts, paths
from minirun.engine.pulling import pull_image
from minirun.errors import Error, NotFound, UsageError, printable
from minirun.image import bundle, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State
    from minirun.image.store import Image

    Document = dict[str, Any]


def make_bundle(
    state: State,
    name: str,
    directory: str,
    arguments: Sequence[str],
    options: Mapping[str, Any],
) -> None:
    """Write ``directory``/config.json and, as plain files, ``directory``/rootfs.

    Raises Error if there is such a thing already: nothing is overwritten.
    """
    from minirun.image.flatten import flatten

    rootfs = os.path.join(directory, "rootfs")
    for path in (rootfs, os.path.join(directory, "config.json")):
        if os.path.lexists(path):
            raise Error(f"{path} is there already", hint="choose a new directory")
    networks = [text for text in options["network"] if text not in ("none", "host")]
    if networks and not networks[0].startswith("container:"):
        raise UsageError(
            f"--network {printable(networks[0])[:80]}: a bundle has no engine that plugs it in",
            hint="--network none, which it has anyway, or --network host",
        )
    image = find_image(state, name, options)
    spec = make_config(image, arguments, options)
    mounts.add_to_bundle(spec, options)
    os.makedirs(directory, exist_ok=True)
    with state.store.hold():
        flatten([state.store.blob_path(layer["digest"]) for layer in image.layers], rootfs)
    settle_user(spec, image, rootfs, options)
    files.make_directory(rootfs, spec["process"]["cwd"])
    edits.complete(spec, options, directory, _not_in_a_bundle)
    exposure.apply(spec, options["no"])
    bundle.write(spec, directory, indent=1)


def _not_in_a_bundle(name: str) -> Container:
    raise UsageError(
        f"container:{name}: a bundle does not know which process that will be",
        hint="minirun run and minirun create can share namespaces",
    )


def find_image(state: State, name: str, options: Mapping[str, Any]) -> Image:
    """The image of the store, or of a registry if it is missing, or for another platform."""
    try:
        image = state.image(name)
    except NotFound:
        from minirun.image import reference

        familiar = printable(reference.parse(name).familiar)
        print(f"Unable to find image '{familiar}' locally", file=sys.stderr)
        return pull_image(state, name, options)
    return image if fits(image, options) else pull_image(state, name, options)


def fits(image: Image, options: Mapping[str, Any]) -> bool:
    """Whether the image is for the platform that was asked for, if one was."""
    if not options.get("platform"):
        return True
    from minirun.image import platform

    return bool(image.platform == platform.parse(options["platform"]))


def make_config(image: Image, arguments: Sequence[str], options: Mapping[str, Any]) -> Document:
    """The config.json of an image with these flags; all but what needs its files."""
    spec = bundle.config(image.config, arguments=arguments, entrypoint=options.get("entrypoint"))
    edits.apply(spec, options)
    return spec


def settle_user(spec: Document, image: Image, rootfs: str, options: Mapping[str, Any]) -> None:
    """Who the process is, by the names in the root file system; and where its home is."""
    asked = options.get("user")
    wish = bundle.string(bundle.settings(image.config), "User") if asked is None else asked
    found = user.resolve(wish, rootfs)
    others = [user.group_id(rootfs, text) for text in options.get("group_add", ())]
    found.groups = list(dict.fromkeys([*found.groups, *others]))
    spec["process"]["user"] = found.spec()
    if not any(variable.startswith("HOME=") for variable in spec["process"]["env"]):
        bundle.set_variable(spec, f"HOME={found.home}")
    if paths.user():
        from minirun.engine import rootless

        rootless.fit(spec, options)
