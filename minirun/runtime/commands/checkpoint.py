"""Save a running container to files, from which restore makes it again; it ends with that.

CRIU does it: see criu(8)."""

from __future__ import annotations

import os

from minirun import document, errors
from minirun.runtime import criu, ending, log
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (
    *criu.OPTIONS,
    (("--leave-running",), "", "do not end the container"),
    (("--pre-dump",), "", "save its memory only, and let it run: makes the next one quicker"),
    (("--parent-path",), "DIR", "where the pre-dump is, relative to --image-path"),
    (("--page-server",), "ADDRESS:PORT", "send the memory there"),
    (("--status-fd",), "N", "write a zero byte there when --lazy-pages is ready"),
)
ARGUMENTS = ("ID",)
DESCRIPTORS = "descriptors.json"  # runc's name: what 0, 1 and 2 were


def run(options: Values, container_id: str) -> None:
    container = Container.load(options["root"], container_id)
    container.require("checkpoint")
    spec = container.config()
    if spec["process"].get("terminal"):
        raise errors.StateError("checkpoint: a terminal's other end is outside, and would be lost")
    images = criu.directory(options.get("image-path") or "checkpoint")
    work = criu.directory(options.get("work-path") or images)
    pid = container.state["pid"]
    with open(os.path.join(images, DESCRIPTORS), "w") as file:
        file.write(document.dumps([os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)]))
    words = criu.arguments(options, images, work) + criu.network(spec)
    words += ["--tree", str(pid), "--root", container.state["rootfs"], *_external(spec, pid)]
    verb = "pre-dump" if options.get("pre-dump") else "dump"
    criu.run(options, verb, words + _where_to(options), None)
    if not (options.get("leave-running") or options.get("pre-dump")):
        log.warn(ending.destroy(container))


def _external(spec: dict[str, Any], pid: int) -> list[str]:
    """Mounts from outside are named by where they are; masked files are all /dev/null."""
    mounts = {place: place for place in criu.external_mounts(spec)}
    for path in (spec.get("linux") or {}).get("maskedPaths") or []:
        if os.path.exists(there := f"/proc/{pid}/root{path}") and not os.path.isdir(there):
            mounts[os.path.normpath(path)] = "/dev/null"
    return [word for k, v in mounts.items() for word in ("--external", f"mnt[{k}]:{v}")]


def _where_to(options: Values) -> list[str]:
    words = []
    if options.get("leave-running"):
        words.append("--leave-running")
    if parent := options.get("parent-path"):
        if os.path.isabs(parent):
            raise errors.UsageError("--parent-path is relative to --image-path")
        words += ["--prev-images-dir", parent, "--track-mem"]
    if options.get("pre-dump"):
        words.append("--track-mem")
    if server := options.get("page-server"):
        address, _, port = server.rpartition(":")
        if not address or not port.isdecimal():
            raise errors.UsageError("--page-server takes ADDRESS:PORT")
        words += ["--page-server", "--address", address, "--port", port]
    if status := options.get("status-fd"):
        words += ["--status-fd", status]
        if not status.isdecimal():
            raise errors.UsageError("--status-fd takes a file descriptor")
        os.set_inheritable(int(status), True)
    return words
