"""systemd makes the cgroup: a scope, a unit such as ``systemctl status`` shows.

systemd takes itself for the only writer of the tree of cgroups, and writes the limits that it knows
of once more whenever it is reloaded. So where it runs, engines have runtimes ask it for a cgroup
(--systemd-cgroup) and tell it the limits. ``linux.cgroupsPath`` is then SLICE:PREFIX:NAME, which
means the unit PREFIX-NAME.scope in SLICE; a slice a-b.slice lies in a.slice.

The D-Bus interface is org.freedesktop.systemd1(5), and busctl(1) speaks it for us. A user's own
systemd is asked where we are not root of the machine.
"""

from __future__ import annotations

import os
from time import monotonic, sleep

from minirun.errors import Error, SpecError
from minirun.runtime.cgroup import Cgroup, files, v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.runtime.cgroup.hierarchy import Hierarchy

SYSTEMD = "org.freedesktop.systemd1"
MANAGER = (SYSTEMD, "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager")
UNIT_CHARACTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@"
)
INFINITY = 0xFFFFFFFFFFFFFFFF

# The property of a unit that keeps the value of a file (systemd.resource-control(5)).
PROPERTIES = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
    "cpuset.cpus": "AllowedCPUs",
    "cpuset.mems": "AllowedMemoryNodes",
}


class Scope(Cgroup):
    """A cgroup that systemd makes when its first process enters, and removes after the last."""

    def __init__(self, path: str, trees: list[Hierarchy], user: bool, slice_: str = "") -> None:
        super().__init__(path, trees)
        self.unit = path.rpartition("/")[2]
        self.user = user
        self.slice = slice_  # of one that is not there yet

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "systemd": "user" if self.user else "system"}

    def make(self) -> None:
        """Nothing yet: there is no scope without a process."""

    def enter(self, below: Mapping[str, str] = {}) -> None:
        """Be the first process of the scope, or one more of a scope that is there."""
        if self.slice:
            self._start()
            return
        try:
            super().enter(below)
        except PermissionError:  # from elsewhere into a user's tree: systemd may
            where = self.unit, below.get("", "")
            _call(self.user, "AttachProcessesToUnit", "ssau", *where, 1, os.getpid())

    def _start(self, patience: float = 30.0) -> None:
        properties = [
            ("Description", "s", "a container of minirun"),
            ("Slice", "s", self.slice),
            ("Delegate", "b", "true"),  # what is below belongs to the container
            ("PIDs", "au", 1, os.getpid()),
            ("DefaultDependencies", "b", "false"),
            ("CollectMode", "s", "inactive-or-failed"),  # forget it when it has ended
            *((f"{name}Accounting", "b", "true") for name in ("CPU", "Memory", "IO", "Tasks")),
        ]
        deadline = monotonic() + patience
        while failure := _try(
            self.user, "StartTransientUnit", "ssa(sv)a(sa(sv))",
            self.unit, "replace", *_flat(properties), 0,
        ):  # fmt: skip
            if "already" not in failure or monotonic() > deadline:
                raise Error(f"systemd does not start {self.unit}: {failure}")
            sleep(0.05)  # an older container of this name has just ended
        while not any(line.endswith(":" + self.path) for line in files.lines("/proc/self/cgroup")):
            if monotonic() > deadline:
                raise Error(f"systemd has not put us into {self.path}")
            sleep(0.001)

    def apply(self, resources: dict[str, Any]) -> None:
        super().apply(resources)
        self._tell(resources)

    def update(self, now: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
        now = super().update(now, wanted)
        self._tell(now)
        return now

    def _tell(self, resources: dict[str, Any]) -> None:
        """Let systemd know the limits, lest it goes back to those that it knows."""
        if properties := list(_properties(resources)):
            words = self.unit, "true", *_flat(properties)
            _call(self.user, "SetUnitProperties", "sba(sv)", *words)

    def delete(self) -> None:
        super().delete()
        _try(self.user, "StopUnit", "ss", self.unit, "replace")  # if it has not seen the end itself


def prepare(path: str | None, container_id: str, trees: list[Hierarchy], *, user: bool) -> Scope:
    """The scope that ``linux.cgroupsPath`` names; nothing is made."""
    if not os.path.isdir("/run/systemd/system"):
        raise Error(
            "--systemd-cgroup: systemd does not run here",
            hint="without this option, cgroups are made in /sys/fs/cgroup itself",
        )
    if [tree.version for tree in trees] != [2]:
        raise Error(
            "--systemd-cgroup: only with cgroup v2 alone: on v1, systemd lifts rules for devices",
            hint="boot with systemd.unified_cgroup_hierarchy=1",
        )
    default = "user.slice" if user else "system.slice"
    slice_, unit = names(path or f":minirun:{container_id}", default)
    top = _call(True, "get-property", "ControlGroup").split('"')[1] if user else ""
    return Scope(f"{top}{slice_path(slice_)}/{unit}", trees, user, slice_)


def names(path: str, default: str) -> tuple[str, str]:
    """The slice and the scope of a ``linux.cgroupsPath``."""
    slice_, *unit = path.split(":", 2)
    if len(unit) != 2 or not unit[1] or not UNIT_CHARACTERS.issuperset(path):
        raise SpecError(
            f"linux.cgroupsPath: {path!r} is not of the form SLICE:PREFIX:NAME",
            hint="with --systemd-cgroup it names a unit; without, a path",
        )
    return slice_ or default, "-".join(filter(None, unit)) + ".scope"


def slice_path(slice_: str) -> str:
    """Where a slice lies below its manager's cgroup: a-b.slice is /a.slice/a-b.slice."""
    name = slice_.removesuffix(".slice")
    if name == "-":
        return ""
    words = name.split("-")
    if name == slice_ or not all(words):
        raise SpecError(f"linux.cgroupsPath: {slice_!r} is no name of a slice")
    return "".join(f"/{'-'.join(words[: count + 1])}.slice" for count in range(len(words)))


def _properties(resources: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The limits as properties: (name, D-Bus type, value…). Pure."""
    for _, file, value in v2.settings(resources):
        if file == "cpu.max":
            quota, _, period = value.partition(" ")
            yield from _quota(quota, int(period or 100000))
        elif file == "cpu.idle":
            if value == "1":
                yield "CPUWeight", "t", 0  # so systemd calls it
        elif file == "io.bfq.weight" and value.startswith("default "):
            yield "IOWeight", "t", v2.io_weight(value)[1].split()[1]
        elif file.startswith("cpuset."):
            bits = bytes(_bits(value))
            yield PROPERTIES[file], "ay", len(bits), *bits
        elif file in PROPERTIES:
            number = INFINITY if value == "max" else int(value)
            yield PROPERTIES[file], "t", max(number, 1) if file == "pids.max" else number


def _quota(quota: str, period: int) -> Iterator[tuple[str, str, int]]:
    """systemd keeps whole percents of a processor: those above, lest a container has too little."""
    yield "CPUQuotaPeriodUSec", "t", period
    per_second = -(-int(quota) * 100 // period) * 10000 if quota != "max" else INFINITY
    yield "CPUQuotaPerSecUSec", "t", per_second


def _bits(ranges: str) -> Iterator[int]:
    """ "0-2,8" as bytes of bits: 7, 1."""
    wanted: set[int] = set()
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        wanted.update(range(int(first), int(last or first) + 1))
    for byte in range(max(wanted) // 8 + 1):
        yield sum(1 << bit for bit in range(8) if byte * 8 + bit in wanted)


def _flat(properties: list[tuple[Any, ...]]) -> list[Any]:
    """An array of structures as busctl wants it: how many, and then word for word."""
    return [len(properties), *(word for entry in properties for word in entry)]


def _call(user: bool, method: str, *words: object) -> str:
    """What a method of systemd's manager answers; an error if it fails."""
    from subprocess import run

    whose = "--user" if user else "--system"
    verb = [method, *MANAGER] if method == "get-property" else ["call", *MANAGER, method]
    command = ["busctl", whose, *verb, *map(str, words)]
    try:
        done = run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise Error("busctl(1) is missing, which talks to systemd") from None
    if done.returncode:
        raise Error(f"systemd: {method}: {done.stderr.strip()}")
    return done.stdout


def _try(user: bool, method: str, *words: object) -> str:
    """The same; returns what went wrong, or nothing."""
    try:
        _call(user, method, *words)
    except Error as error:
        return error.message
    return ""
