"""``--no FEATURE``: a container without one of its walls, and what is exposed then.

To see what a wall is for, take it away and look. Each feature here is an edit of config.json, so it
works with every OCI runtime, and ``minirun bundle --no pid`` shows it as a diff. The one exception
is pivot_root(2), of which config.json knows nothing: there it is an option of the runtime.

For lessons, on machines that may be lost. Other flags open a wall too, such as --privileged;
``warn`` tells of all of them. Interface: apply, warn, runtime_options.
"""

from __future__ import annotations

import sys

from minirun.engine import powers, sharing
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]


def parse(texts: Sequence[str]) -> list[str]:
    """``--no pid --no net,uts`` → ["pid", "net", "uts"]"""
    names = [name for text in texts for name in text.split(",")]
    for name in names:
        if name not in FEATURES:
            raise UsageError(
                f"--no {printable(name)[:80]}: unknown", hint=f"one of {', '.join(FEATURES)}"
            )
    return list(dict.fromkeys(names))


def apply(spec: Document, texts: Sequence[str]) -> None:
    """Make the edits; the last ones of all, for others put in what these take out."""
    for name in parse(texts):
        FEATURES[name][0](spec)


def warnings(options: Mapping[str, Any]) -> list[str]:
    """What the container can see or do beyond others, a line for each flag that lets it."""
    lines = [f"without {name}: {FEATURES[name][1]}" for name in parse(options["no"])]
    if options.get("privileged"):
        lines.append("with --privileged: its root is this machine's root")
    for kind in ("pid", "ipc"):
        if options.get(kind) == "host":
            lines.append(f"with --{kind} host: {FEATURES[kind][1]}")
    for name in map(powers.capability, options.get("cap_add", ())):
        if name in ("CAP_ALL", "CAP_SYS_ADMIN"):
            lines.append(f"with {name}: its root can mount, and is close to this machine's root")
    for text in (*options.get("volume", ()), *options.get("mount", ())):
        if ".sock" in text:
            lines.append(f"with {printable(text)[:80]}: it may ask that daemon for all it can do")
    return lines


def warn(options: Mapping[str, Any]) -> None:
    """The warnings on standard error, in red where a person reads it."""
    red, normal = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    for line in warnings(options):
        print(f"{red}warning: {line}{normal}", file=sys.stderr)


def runtime_options(texts: Sequence[str]) -> list[str]:
    return ["--no-pivot"] if "pivot-root" in parse(texts) else []


def _share(*kinds: str) -> Callable[[Document], None]:
    """The edit that leaves the container in the host's namespaces of these kinds."""

    def edit(spec: Document) -> None:
        sharing.leave(spec, *kinds)
        if "uts" in kinds:
            spec.pop("hostname", None)  # it would be the host's that changes

    return edit


def _mounts(spec: Document) -> None:
    """Paths are hidden by mounts, and so in no table but one's own: runc insists on that."""
    _share("mount")(spec)
    _masks(spec)


def _users(spec: Document) -> None:
    _share("user")(spec)
    for mappings in ("uidMappings", "gidMappings"):
        spec["linux"].pop(mappings, None)


def _capabilities(spec: Document) -> None:
    powers.set_capabilities(spec, powers.held_capabilities())


def _seccomp(spec: Document) -> None:
    spec["linux"].pop("seccomp", None)


def _masks(spec: Document) -> None:
    spec["linux"]["maskedPaths"] = spec["linux"]["readonlyPaths"] = []


def _devices(spec: Document) -> None:
    spec["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]


def _limits(spec: Document) -> None:
    resources = spec["linux"]["resources"]
    spec["linux"]["resources"] = {"devices": resources.get("devices") or []}


def _nothing(spec: Document) -> None:
    """No field of config.json says this."""


FEATURES: dict[str, tuple[Callable[[Document], None], str]] = {
    "pid": (_share("pid"), "it sees every process of this machine, and root may kill them"),
    "mount": (_mounts, "with CAP_SYS_ADMIN it could mount and unmount for the whole machine"),
    "uts": (_share("uts"), "it has this machine's name, and with CAP_SYS_ADMIN could change it"),
    "ipc": (_share("ipc"), "it can reach the shared memory and queues of all programs here"),
    "net": (_share("network"), "it can reach what listens on 127.0.0.1 here, and take its ports"),
    "cgroup": (_share("cgroup"), "it sees the names of all cgroups, and where it is among them"),
    "user": (_users, "its root is this machine's root wherever another wall has a hole"),
    "time": (_share("time"), "it sees how long this machine has been up"),
    "pivot-root": (
        _nothing,
        "its root is only moved over the host's, which root can climb out to by chroot(2)",
    ),
    "seccomp": (_seccomp, "it may make every system call, of which some have had holes"),
    "caps": (_capabilities, "its root has all powers: to mount, to load modules, to set the time"),
    "masks": (_masks, "it can read /proc/kcore and /proc/keys, and write to /proc/sys"),
    "devices": (_devices, "it may open any device that it can name, the host's disks among them"),
    "limits": (_limits, "it may take all memory, and as many processes as the machine can have"),
}
