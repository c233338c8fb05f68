"""What each flag of ``minirun run`` changes in config.json.

A container without flags is minirun/defaults.py and the image's config (image/bundle.py). A flag is
an edit of that document, one function here, and no more: so every flag works with every OCI
runtime, and ``minirun bundle`` shows with ``diff`` what a flag does.

``apply`` makes the edits in the order of the table ``EDITS``; --privileged comes before the flags
that take some of it back, and the seccomp filter last, because it depends on the capabilities.
"""

from __future__ import annotations

import os

from minirun import defaults, linux
from minirun.engine import values
from minirun.errors import NotFound, UsageError, printable
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Document = dict[str, Any]

CPU_PERIOD = 100_000  # microseconds: the share of the processors is counted anew this often
SMALLEST_MEMORY = 6 << 20  # bytes; less does not even start a shell. Docker's limit too


def apply(spec: Document, options: Mapping[str, Any]) -> None:
    """Make the edits that ``options`` (flag → value, as click parsed them) ask for."""
    for name, edit in EDITS:
        value = options.get(name)
        if value not in (None, False, ()):
            edit(spec, value)
    unconfined = "unconfined" if options.get("privileged") else ""
    set_seccomp(spec, seccomp_wish(options.get("security_opt", ())) or unconfined)


def tty(spec: Document, _: bool) -> None:
    spec["process"]["terminal"] = True
    if not any(variable.startswith("TERM=") for variable in spec["process"]["env"]):
        bundle.set_variable(spec, "TERM=xterm")


def workdir(spec: Document, path: str) -> None:
    if not path.startswith("/"):
        raise UsageError(f"-w {printable(path)}: the working directory must begin with '/'")
    spec["process"]["cwd"] = bundle.absolute(path)


def env(spec: Document, variables: Sequence[str]) -> None:
    """NAME=VALUE; a bare NAME is passed on from our environment if it is there. Only what a user
    says on the command line is: never what an image says."""
    for variable in variables:
        name, equals, _ = variable.partition("=")
        if not name or "\0" in variable:
            raise UsageError(f"-e {printable(variable)[:80]!r} is no NAME=VALUE")
        if equals:
            bundle.set_variable(spec, variable)
        elif name in os.environ:
            bundle.set_variable(spec, f"{name}={os.environ[name]}")


def hostname(spec: Document, name: str) -> None:
    spec["hostname"] = values.hostname(name)


def memory(spec: Document, text: str) -> None:
    """A limit without swap: who may use 64 MiB should not get 64 more of them from the disk."""
    limit = values.size(text)
    if limit == 0:
        return
    if limit < SMALLEST_MEMORY:
        raise UsageError(f"-m {text}: too little to start anything", hint="-m 6m is the smallest")
    memory = spec["linux"]["resources"].setdefault("memory", {})
    memory["limit"] = limit
    if has_swap_accounting():
        memory["swap"] = limit  # memory and swap together (config-linux.md, "Memory")


def has_swap_accounting() -> bool:
    """Whether this kernel counts swap: on cgroup v1 only with swapaccount=1."""
    v1 = "/sys/fs/cgroup/memory"
    return not os.path.isdir(v1) or os.path.exists(f"{v1}/memory.memsw.limit_in_bytes")


def cpus(spec: Document, text: str) -> None:
    """So many microseconds of CPU time in each period. sched-bwc.rst of the kernel"""
    share = values.cpus(text)
    if share:
        cpu = spec["linux"]["resources"].setdefault("cpu", {})
        cpu["period"], cpu["quota"] = CPU_PERIOD, round(share * CPU_PERIOD)
        if cpu["quota"] < 1000:  # CFS_BANDWIDTH: the kernel's least quota is 1 ms
            raise UsageError(f"--cpus {text}: the kernel gives no less than 0.01")


def pids_limit(spec: Document, text: str) -> None:
    limit = values.count(text)
    spec["linux"]["resources"]["pids"]["limit"] = limit or -1


def network(spec: Document, names: Sequence[str]) -> None:
    """``none``: a namespace with nothing but lo. ``host``: no namespace of its own at all."""
    if names == ("host",):
        namespaces = spec["linux"]["namespaces"]
        spec["linux"]["namespaces"] = [ns for ns in namespaces if ns["type"] != "network"]
    elif names != ("none",):
        raise UsageError(
            f"--network {printable(' '.join(names))[:80]}: only 'none' and 'host' so far",
            hint="--network host uses the network of this machine",
        )


def read_only(spec: Document, _: bool) -> None:
    spec["root"]["readonly"] = True


def privileged(spec: Document, _: bool) -> None:
    """Take the walls away, all but the namespaces: root in the container is root of the host."""
    set_capabilities(spec, held_capabilities())
    spec["linux"]["maskedPaths"] = []
    spec["linux"]["readonlyPaths"] = []
    spec["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    spec["linux"]["devices"] = host_devices()
    for mount in spec["mounts"]:
        if mount["type"] in ("sysfs", "cgroup"):
            mount["options"] = [option for option in mount["options"] if option != "ro"]


def host_devices() -> list[Document]:
    """The nodes of the host's /dev, but for terminals and what every container gets anyway."""
    own = {(kind, major, minor) for kind, major, minor in defaults.DEVICES}
    found = []
    for directory, subdirectories, names in os.walk("/dev"):
        subdirectories[:] = [n for n in subdirectories if n not in ("pts", "shm", "fd", "mqueue")]
        for name in names:
            device = describe_device(f"{directory}/{name}")
            if device and (device["type"], device["major"], device["minor"]) not in own:
                found.append(device)
    return found


def describe_device(path: str) -> Document | None:
    """A device node as config-linux.md, "Devices" wants it; None for anything else."""
    import stat

    try:
        node = os.lstat(path)
    except FileNotFoundError:
        return None
    if not (stat.S_ISCHR(node.st_mode) or stat.S_ISBLK(node.st_mode)):
        return None
    return {
        "path": path,
        "type": "c" if stat.S_ISCHR(node.st_mode) else "b",
        "major": os.major(node.st_rdev),
        "minor": os.minor(node.st_rdev),
        "fileMode": stat.S_IMODE(node.st_mode),
        "uid": node.st_uid,
        "gid": node.st_gid,
    }


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
    """Everything but seccomp, which ``set_seccomp`` sees to at the end."""
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


def seccomp_wish(security_opts: Sequence[str]) -> str:
    """What the last ``seccomp=…`` asks for; "" where there is none."""
    pairs = [text.replace(":", "=", 1).partition("=") for text in security_opts]
    return next((value for kind, _, value in reversed(pairs) if kind == "seccomp"), "")


def set_seccomp(spec: Document, wish: str) -> None:
    """The filter of system calls (seccomp(2)): the default one, one of the user's, or none."""
    import json

    from minirun import seccomp_profile

    if wish == "unconfined":
        return
    if not wish:
        powers = spec["process"]["capabilities"]["bounding"]
        spec["linux"]["seccomp"] = seccomp_profile.default(powers, os.uname().machine)
        return
    try:
        with open(wish, encoding="utf-8") as file:
            spec["linux"]["seccomp"] = json.load(file)
    except FileNotFoundError:
        raise NotFound(f"--security-opt seccomp={wish}: no such file") from None
    except ValueError as error:
        raise UsageError(f"--security-opt seccomp={wish}: not JSON: {error}") from None


def volume(spec: Document, texts: Sequence[str]) -> None:
    """Bind mounts, outer directories before those inside them."""
    added = [bind(*values.volume(text)) for text in texts]
    places = {mount["destination"] for mount in added}
    if len(places) < len(added):
        raise UsageError("-v: two volumes have the same place in the container")
    kept = [mount for mount in spec["mounts"] if mount["destination"] not in places]
    added.sort(key=lambda mount: mount["destination"].count("/"))
    spec["mounts"] = [*kept, *added]


def bind(source: str, destination: str, options: list[str]) -> Document:
    path = os.path.abspath(os.path.expanduser(source))
    if not os.path.exists(path):
        # Docker would make a directory, owned by root, wherever a typing error points to.
        raise NotFound(f"-v {printable(source)}: no such file", hint=f"mkdir -p {path}")
    place = bundle.absolute(destination)
    if place == "/":
        raise UsageError("-v: a volume cannot replace the container's root")
    return {"destination": place, "type": "bind", "source": path, "options": options}


EDITS = (
    ("tty", tty),
    ("workdir", workdir),
    ("env", env),
    ("hostname", hostname),
    ("privileged", privileged),
    ("cap_drop", cap_drop),
    ("cap_add", cap_add),
    ("security_opt", security_opt),
    ("network", network),
    ("read_only", read_only),
    ("memory", memory),
    ("cpus", cpus),
    ("pids_limit", pids_limit),
    ("volume", volume),
)
