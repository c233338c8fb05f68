"""Change the limits of a container while it runs.

With --resources all other options are ignored, and the file is an object such as linux.resources
of config.json. What is not named there stays, and so does what is 0 in most places.
Sizes of memory are in bytes, or with a unit: k, m, g. -1 is no limit."""

from __future__ import annotations

import sys

from minirun import document, errors
from minirun.runtime import log
from minirun.runtime.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values

# option: (section and value of linux.resources, what is shown for the value, what --help says)
LIMITS = {
    "memory": ("memory.limit", "BYTES", "memory"),
    "memory-reservation": ("memory.reservation", "BYTES", "memory kept when it becomes scarce"),
    "memory-swap": ("memory.swap", "BYTES", "memory and swap together"),
    "kernel-memory": ("memory.kernel", "BYTES", "ignored: Linux has no such limit any more"),
    "kernel-memory-tcp": ("memory.kernelTCP", "BYTES", "ignored in the same way"),
    "cpu-period": ("cpu.period", "N", "microseconds after which the quota begins anew"),
    "cpu-quota": ("cpu.quota", "N", "microseconds of processor time in a period"),
    "cpu-burst": ("cpu.burst", "N", "microseconds that may be saved up for later"),
    "cpu-share": ("cpu.shares", "N", "weight against other containers (1024)"),
    "cpu-rt-period": ("cpu.realtimePeriod", "N", "the same period for realtime processes"),
    "cpu-rt-runtime": ("cpu.realtimeRuntime", "N", "the same quota for realtime processes"),
    "cpu-idle": ("cpu.idle", "N", "1: run only when nobody else wants to"),
    "cpuset-cpus": ("cpu.cpus", "LIST", "processors, such as 0-2,7"),
    "cpuset-mems": ("cpu.mems", "LIST", "memory nodes"),
    "pids-limit": ("pids.limit", "N", "number of processes and threads"),
    "blkio-weight": ("blockIO.weight", "N", "weight of disk access, 10 to 1000"),
}
OPTIONS: tuple[Option, ...] = (
    (("-r", "--resources"), "FILE", "read the limits from this file; - is standard input"),
    *(((f"--{name}",), kind, what) for name, (_, kind, what) in LIMITS.items()),
    (("--l3-cache-schema",), "TEXT", "refused: Intel RDT is not supported"),
    (("--mem-bw-schema",), "TEXT", "refused: Intel RDT is not supported"),
)
ARGUMENTS = ("ID",)
UNITS = {"k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def run(options: Values, container_id: str) -> None:
    container = Container.load(options["root"], container_id)
    wanted = _from_file(options["resources"]) if "resources" in options else _from(options)
    _check(wanted)
    container.require("update")
    cgroup = container.cgroup()
    if cgroup:
        now = cgroup.update(_now(container), wanted)
        container.write("resources.json", document.dumps(now).encode())


def _now(container: Container) -> dict[str, Any]:
    """The limits that hold now."""
    try:
        now = document.loads(container.read("resources.json"), "resources.json")
    except FileNotFoundError:
        now = (container.config().get("linux") or {}).get("resources")
    return now or {}


def _from_file(path: str) -> Any:
    if path == "-":
        return document.loads(sys.stdin.buffer.read(), "standard input")
    with open(path, "rb") as file:
        return document.loads(file.read(), path)


def _from(options: Values) -> dict[str, Any]:
    for name in ("l3-cache-schema", "mem-bw-schema"):
        if options.get(name):
            raise errors.UsageError(f"--{name}: Intel RDT is not supported by minirun-oci")
    wanted: dict[str, Any] = {}
    for name, (place, kind, _) in LIMITS.items():
        if text := options.get(name):
            section, _, value = place.partition(".")
            wanted.setdefault(section, {})[value] = text if kind == "LIST" else number(name, text)
    return wanted


def number(name: str, text: str) -> int:
    """The value of an option: a whole number, with a unit where bytes are counted."""
    digits, shift = text, 0
    if LIMITS[name][1] == "BYTES":
        digits = text.lower().removesuffix("b").removesuffix("i")
        if digits and digits[-1] in UNITS:
            digits, shift = digits[:-1], UNITS[digits[-1]]
    if not digits.removeprefix("-").isdecimal() or not digits.isascii():
        raise errors.UsageError(f"--{name}: not a number: {errors.printable(text)}")
    return int(digits) << shift


def _check(wanted: Any) -> None:
    """Refuse what is no ``linux.resources``, as ``create`` would."""
    from minirun.runtime import schema

    schema.RESOURCES(wanted, "linux.resources")
    memory = wanted.get("memory") or {}
    for name in ("kernel", "kernelTCP"):
        if memory.pop(name, None):
            log.warn([errors.Error(f"memory.{name} is ignored: Linux has no such limit any more")])
