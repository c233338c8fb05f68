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
HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
127.0.1.1\t{}
"""
NO_DNS = "# this container has no network, so there is nobody to ask\n"


def identify(spec: dict[str, Any], container: Container, options: Mapping[str, Any]) -> None:
    """Give the container its hostname, and the three files that go with it."""
    shares_network = options.get("network") == ("host",)
    if not options.get("hostname") and "hostname" in spec:  # else the namespace is another's
        spec["hostname"] = os.uname().nodename if shares_network else container.id[:SHORT]
    name = spec.get("hostname") or os.uname().nodename
    if not any(variable.startswith("HOSTNAME=") for variable in spec["process"]["env"]):
        bundle.set_variable(spec, f"HOSTNAME={name}")
    contents = {
        "hostname": f"{name}\n",
        "hosts": _read("/etc/hosts") if shares_network else HOSTS.format(name),
        "resolv.conf": _read("/etc/resolv.conf") if shares_network else NO_DNS,
    }
    taken = {mount["destination"] for mount in spec["mounts"]}
    for file, text in contents.items():
        path = f"{container.directory}/{file}"
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text)
        if f"/etc/{file}" not in taken:
            spec["mounts"].append(
                {
                    "destination": f"/etc/{file}",
                    "type": "bind",
                    "source": path,
                    "options": ["rbind", "rprivate"],
                }
            )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except FileNotFoundError:
        return ""


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
