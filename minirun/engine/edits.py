"""What each flag of ``minirun run`` changes in config.json.

A container without flags is minirun/defaults.py and the image's config (image/bundle.py). A flag is
an edit of that document, one function, and no more: so every flag works with every OCI runtime,
and ``minirun bundle`` shows with ``diff`` what a flag does. The functions stand where they belong:
limits.py, powers.py, devices.py, sharing.py, reaper.py, and what is left here.

``apply`` makes the edits in the order of the table ``EDITS``; --privileged comes before the flags
that take some of it back, and the seccomp filter last, because it depends on the capabilities.
"""

from __future__ import annotations

import os

from minirun.engine import devices, limits, powers, sharing, values, variables
from minirun.errors import UsageError, printable
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from minirun.engine.container import Container

    Document = dict[str, Any]


def apply(spec: Document, options: Mapping[str, Any]) -> None:
    """Make the edits that ``options`` (key → value, as flags.py parsed them) ask for."""
    if options.get("hostname") and options.get("uts") not in (None, "private"):
        raise UsageError("--hostname and --uts: the name is that of the namespace it shares")
    for name, edit in EDITS:
        value = options.get(name)
        if value not in (None, False, ()):
            edit(spec, value)
    limits.apply(spec, options)
    powers.filter_calls(spec, options)


def complete(
    spec: Document, options: Mapping[str, Any], directory: str, lookup: Callable[[str], Container]
) -> None:
    """What is known only when a container starts, in its bundle ``directory``, which ends with its
    ID. ``lookup(name)`` is another container that runs, or raises what is to be said."""
    sharing.share(spec, lookup)
    limits.name_cgroup(spec, os.path.basename(directory))
    if options.get("init"):
        from minirun.engine import reaper

        reaper.install(spec, directory)


def tty(spec: Document, _: bool) -> None:
    spec["process"]["terminal"] = True
    if not any(variable.startswith("TERM=") for variable in spec["process"]["env"]):
        bundle.set_variable(spec, "TERM=xterm")


def workdir(spec: Document, path: str) -> None:
    if not path.startswith("/"):
        raise UsageError(f"-w {printable(path)}: the working directory must begin with '/'")
    spec["process"]["cwd"] = bundle.absolute(path)


def env_file(spec: Document, paths: Sequence[str]) -> None:
    for variable in variables.of_files(paths):
        bundle.set_variable(spec, variable)


def env(spec: Document, texts: Sequence[str]) -> None:
    for variable in variables.environment(texts):
        bundle.set_variable(spec, variable)


def hostname(spec: Document, name: str) -> None:
    spec["hostname"] = values.hostname(name)


def domainname(spec: Document, name: str) -> None:
    """As a sysctl, for config.json has a field of its own only since 1.1. setdomainname(2)"""
    sysctl(spec, [f"kernel.domainname={values.hostname(name)}"])


def sysctl(spec: Document, texts: Sequence[str]) -> None:
    """Settings of the kernel that each namespace has for itself; the runtime knows which."""
    pairs = [values.pair(text, "--sysctl") for text in texts]
    spec["linux"].setdefault("sysctl", {}).update(pairs)


def annotation(spec: Document, texts: Sequence[str]) -> None:
    """Words to a runtime. To some they are orders: so only a user gives them, never an image."""
    pairs = [values.pair(text, "--annotation") for text in texts]
    spec.setdefault("annotations", {}).update(pairs)


def gpus(spec: Document, text: str) -> None:
    from minirun.engine import cdi

    cdi.gpus(spec, text)


def read_only(spec: Document, _: bool) -> None:
    spec["root"]["readonly"] = True


def shm_size(spec: Document, text: str) -> None:
    size = values.size(text)
    for mount in spec["mounts"]:
        if mount["destination"] == "/dev/shm" and size:
            others = [option for option in mount["options"] if not option.startswith("size=")]
            mount["options"] = [*others, f"size={size}"]


EDITS = (
    ("tty", tty),
    ("workdir", workdir),
    ("env_file", env_file),
    ("env", env),
    ("hostname", hostname),
    ("domainname", domainname),
    ("annotation", annotation),
    ("privileged", powers.privileged),
    ("cap_drop", powers.cap_drop),
    ("cap_add", powers.cap_add),
    ("security_opt", powers.security_opt),
    ("device", devices.device),
    ("device_cgroup_rule", devices.device_cgroup_rule),
    ("gpus", gpus),
    ("shm_size", shm_size),
    ("network", sharing.network),
    ("pid", sharing.pid),
    ("ipc", sharing.ipc),
    ("uts", sharing.uts),
    ("cgroupns", sharing.cgroupns),
    ("userns", sharing.userns),
    ("sysctl", sysctl),
    ("read_only", read_only),
    ("ulimit", limits.ulimit),
    ("oom_score_adj", limits.oom_score_adj),
    ("cgroup_parent", limits.cgroup_parent),
)
