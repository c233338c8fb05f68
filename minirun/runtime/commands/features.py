"""Print what this runtime can do, as JSON: the features structure of the runtime spec.

Callers read it before they ask for something (``runc features``). All of it comes from the tables
that the code itself uses, so that it is true by construction. It is about the runtime; what the
kernel lacks is said when it is asked for. But ``supportedFlags`` are those of this kernel."""

from __future__ import annotations

import sys
from errno import EFAULT

from minirun import __version__, linux
from minirun.runtime import bpf, mounts, scheduling, schema, seccomp
from minirun.runtime import spec as specs
from minirun.runtime.cgroup import v1
from minirun.runtime.container import VERSION
from minirun.runtime.syscalls import ARCHITECTURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = ()
ARGUMENTS = ()


def run(options: Values) -> None:
    from json import dumps

    sys.stdout.write(dumps(features(), indent=2) + "\n")


def features() -> dict[str, Any]:
    """The structure of features.md."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": list(schema.HOOK_KINDS),
        "mountOptions": sorted(_mount_options()),
        "linux": _linux(),
        "annotations": {"minirun.version": __version__},
        "potentiallyUnsafeConfigAnnotations": [],  # we carry annotations, and obey none
    }


def _linux() -> dict[str, Any]:
    """The structure of features-linux.md."""
    return {
        "namespaces": sorted(specs.NAMESPACES),
        "capabilities": list(linux.CAPABILITIES),
        "cgroup": {
            "v1": True,
            "v2": True,
            "systemd": True,
            "systemdUser": True,
            "rdma": "rdma" in v1.SECTIONS,
        },
        "seccomp": {
            "enabled": True,
            "actions": sorted(seccomp.ACTIONS),
            "operators": sorted(bpf.OPERATORS),
            "archs": sorted(ARCHITECTURES),
            "knownFlags": sorted(seccomp.FLAGS),
            "supportedFlags": sorted(filter(_is_supported, seccomp.FLAGS)),
        },
        "apparmor": _enabled("process.apparmorProfile"),
        "selinux": _enabled("process.selinuxLabel"),
        "memoryPolicy": {
            "modes": sorted(scheduling.MEMORY_MODES),
            "flags": sorted(scheduling.MEMORY_FLAGS),
        },
        "intelRdt": _enabled("linux.intelRdt"),
        "mountExtensions": {"idmap": {"enabled": "idmap" in mounts.SPECIAL}},
        "netDevices": _enabled("linux.netDevices"),
    }


def _enabled(field: str) -> dict[str, bool]:
    return {"enabled": field not in specs.REFUSED}


def _mount_options() -> Iterator[str]:
    for name in (*mounts.ATTRIBUTES, *mounts.PROPAGATION, "bind"):
        yield name
        yield f"r{name}"
    yield from mounts.SPECIAL
    yield from mounts.WITHOUT_EFFECT


def _is_supported(flag: str) -> bool:
    """The kernel looks at the flags of seccomp(2) first, and at the address of the filter last."""
    listener = linux.SECCOMP_FILTER_FLAG_NEW_LISTENER  # WAIT_KILLABLE_RECV goes only with it
    try:
        linux.seccomp(linux.SECCOMP_SET_MODE_FILTER, seccomp.FLAGS[flag] | listener)
    except OSError as error:
        return error.errno == EFAULT
    return True
