"""What a process may do: capabilities, the seccomp filter, --security-opt, and --privileged.

Root in a container is root of the host (without a user namespace), with most of its powers taken
away: these are the flags that give some back, or take more. capabilities(7), seccomp(2)
"""

from __future__ import annotations

import os

from minirun import linux
from minirun.engine import devices
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]


def privileged(spec: Document, _: bool) -> None:
    """Take the walls away, all but the namespaces: root in the container is root of the host."""
    set_capabilities(spec, held_capabilities())
    spec["linux"]["maskedPaths"] = []
    spec["linux"]["readonlyPaths"] = []
    spec["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    spec["linux"]["devices"] = devices.of_host()
    for mount in spec["mounts"]:
        if mount["type"] in ("sysfs", "cgroup"):
            mount["options"] = [option for option in mount["options"] if option != "ro"]


def cap_add(spec: Document, names: Sequence[str]) -> None:
    wanted = set(spec["process"]["capabilities"]["bounding"])
    for name in map(capability, names):
        wanted |= set(held_capabilities()) if name == "CAP_ALL" else {name}
    set_capabilities(spec, wanted)


def cap_drop(spec: Document, names: Sequence[str]) -> None:
    """Taken away what is named; after ALL, only what --cap-add names is left."""
    dropped = {capability(name) for name in names}
    if "CAP_ALL" in dropped:
        set_capabilities(spec, ())
    else:
        set_capabilities(spec, set(spec["process"]["capabilities"]["bounding"]) - dropped)


def set_capabilities(spec: Document, names: Sequence[str] | set[str]) -> None:
    powers = [name for name in linux.CAPABILITIES if name in names]
    for kind in ("bounding", "effective", "permitted"):
        spec["process"]["capabilities"][kind] = powers


def capability(text: str) -> str:
    """``net_admin``, ``CAP_NET_ADMIN`` → CAP_NET_ADMIN; ``all`` → CAP_ALL."""
    name = "CAP_" + text.upper().removeprefix("CAP_")
    if name not in linux.CAPABILITIES and name != "CAP_ALL":
        raise UsageError(
            f"unknown capability {printable(text)[:80]!r}",
            hint="capabilities(7) lists them: NET_ADMIN, SYS_TIME, …, or ALL",
        )
    return name


def held_capabilities() -> list[str]:
    """What this process could give away: more than it has itself, nobody can."""
    held = []
    for bit, name in enumerate(linux.CAPABILITIES):
        try:
            if linux.prctl(linux.PR_CAPBSET_READ, bit):
                held.append(name)
        except OSError:  # EINVAL: a kernel older than this capability
            break
    return held


def security_opt(spec: Document, texts: Sequence[str]) -> None:
    """Everything but seccomp, which ``filter_calls`` sees to at the end."""
    for text in texts:
        kind, _, value = text.replace(":", "=", 1).partition("=")
        if kind == "no-new-privileges" and value in ("", "true", "false"):
            spec["process"]["noNewPrivileges"] = value != "false"
        elif kind == "apparmor" and value:
            if value != "unconfined":
                spec["process"]["apparmorProfile"] = value
        elif text == "systempaths=unconfined":
            spec["linux"]["maskedPaths"] = spec["linux"]["readonlyPaths"] = []
        elif (kind, value) != ("label", "disable") and not (kind == "seccomp" and value):
            raise UsageError(
                f"--security-opt {printable(text)[:80]}: unknown",
                hint="no-new-privileges, seccomp=unconfined, seccomp=FILE, apparmor=PROFILE",
            )


def filter_calls(spec: Document, options: Mapping[str, Any]) -> None:
    """The filter of system calls: the one the user names, else the default; none if privileged."""
    wish = seccomp_wish(options.get("security_opt", ()))
    held = spec["process"]["capabilities"]["bounding"]
    if wish == "unconfined" or (options.get("privileged") and not wish):
        return
    if wish:
        from minirun.engine import seccompfile

        spec["linux"]["seccomp"] = seccompfile.read(wish, held)
    else:
        from minirun import seccomp_profile

        spec["linux"]["seccomp"] = seccomp_profile.default(held, os.uname().machine)


def seccomp_wish(security_opts: Sequence[str]) -> str:
    """What the last ``seccomp=…`` asks for; "" where there is none."""
    pairs = [text.replace(":", "=", 1).partition("=") for text in security_opts]
    return next((value for kind, _, value in reversed(pairs) if kind == "seccomp"), "")
