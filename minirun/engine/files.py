"""The files that tell a container who it is: /etc/hostname, /etc/hosts and /etc/resolv.conf.

They lie beside the container's rootfs and are mounted into it, one by one, so the image stays as it
is and the engine can change them later. hosts(5), resolv.conf(5)
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.errors import ImageError, printable
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.engine.container import Container

SHORT = 12
NAMES = ("hostname", "hosts", "resolv.conf")
OTHER = "container:"


def identify(spec: dict[str, Any], container: Container, options: Mapping[str, Any]) -> None:
    """Give the container its hostname, and the three files that go with it; what is in hosts and
    resolv.conf, its network says (network/endpoints.py). Whose network it shares, it also shares
    these with."""
    mode = str(container.record.get("networkMode", ""))
    source = container.directory
    if mode.startswith(OTHER):
        source = f"{os.path.dirname(source)}/{mode.removeprefix(OTHER)}"
    if not options.get("hostname") and "hostname" in spec:  # else the namespace is another's
        spec["hostname"] = _default_name(mode, source, container)
    name = spec.get("hostname") or os.uname().nodename
    if not any(variable.startswith("HOSTNAME=") for variable in spec["process"]["env"]):
        bundle.set_variable(spec, f"HOSTNAME={name}")
    if source == container.directory:
        with open(container.path("hostname"), "w", encoding="utf-8") as stream:
            stream.write(f"{name}\n")
    taken = {mount["destination"] for mount in spec["mounts"]}
    spec["mounts"] += [
        {
            "destination": f"/etc/{file}",
            "type": "bind",
            "source": f"{source}/{file}",
            "options": ["rbind", "rprivate"],
        }
        for file in NAMES
        if f"/etc/{file}" not in taken
    ]


def _default_name(mode: str, source: str, container: Container) -> str:
    if mode == "host":
        return os.uname().nodename
    if source != container.directory:
        with open(f"{source}/hostname", encoding="utf-8") as file:
            return file.read().strip()
    return container.id[:SHORT]


def make_directory(root: str, path: str) -> None:
    """Make directory ``path`` inside ``root``, and its parents, as Docker does for a WorkingDir.

    Each step is resolved with ``root`` as "/": a link in the image leads nowhere else. openat2(2)
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = os.O_PATH | os.O_DIRECTORY
    at = root_fd
    done = ""
    try:
        for name in filter(None, path.split("/")):
            done += "/" + name
            try:
                below = linux.openat2(root_fd, done, flags, resolve=linux.RESOLVE_IN_ROOT)
            except FileNotFoundError:
                os.mkdir(name, 0o755, dir_fd=at)
                below = linux.openat2(root_fd, done, flags, resolve=linux.RESOLVE_IN_ROOT)
            if at != root_fd:
                os.close(at)
            at = below
    except (FileExistsError, NotADirectoryError, FileNotFoundError):
        raise ImageError(
            f"working directory {printable(path)}: {printable(done)} is in the way",
            hint="choose another one: -w /",
        ) from None
    finally:
        if at != root_fd:
            os.close(at)
        os.close(root_fd)
