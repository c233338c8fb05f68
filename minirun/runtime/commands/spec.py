"""Write a config.json that runs a shell, to begin with; the root file system goes into rootfs.

It begins as what ``minirun run`` starts from (defaults.py), and its seccomp filter. An existing
config.json is left alone."""

from __future__ import annotations

import os

from minirun import defaults, errors, seccomp_profile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.options import Option, Values

OPTIONS: tuple[Option, ...] = (
    (("-b", "--bundle"), "DIR", "the directory to write it to (.)"),
    (("-f", "--file"), "FILE", "the name of the file (config.json)"),
    (("--rootless",), "", "for a user without privileges"),
)
ARGUMENTS = ()
CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


def run(options: Values) -> None:
    from json import dumps

    config = defaults.config()
    make_typical(config)
    if options.get("rootless"):
        make_rootless(config)
    path = os.path.join(options.get("bundle") or ".", options.get("file") or "config.json")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise errors.UsageError(f"{path} exists already", hint=f"rm {path}") from None
    with open(fd, "w") as file:
        file.write(dumps(config, indent=2) + "\n")


def make_typical(config: dict[str, Any]) -> None:
    """What runc's users find in a new config.json, who edit it with scripts of theirs: a shell
    at a terminal, with few powers and a root that cannot be changed; no limits."""
    linux, process = config["linux"], config["process"]
    process["terminal"], process["noNewPrivileges"] = True, True
    process["env"].append("TERM=xterm")
    for kind in ("bounding", "effective", "permitted"):
        process["capabilities"][kind] = list(CAPABILITIES)
    config["root"]["readonly"] = True
    linux["seccomp"] = seccomp_profile.default(CAPABILITIES, os.uname().machine)
    del process["user"]["additionalGids"], linux["resources"]["pids"]
    if os.path.isdir("/sys/fs/cgroup/memory"):  # v1 shows other groups by their directories anyway
        linux["namespaces"] = [ns for ns in linux["namespaces"] if ns["type"] != "cgroup"]


def make_rootless(config: dict[str, Any]) -> None:
    """Take out what needs privileges: a network of its own, limits, users besides the caller.

    A user namespace with the caller as its root gives the rest. sysfs is mounted by the owner of a
    network namespace only, so the host's is shown; and no group but the caller's exists.
    """
    linux = config["linux"]
    linux["namespaces"] = [ns for ns in linux["namespaces"] if ns["type"] != "network"]
    linux["namespaces"].append({"type": "user"})
    for field, host_id in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
        linux[field] = [{"containerID": 0, "hostID": host_id, "size": 1}]
    del linux["resources"]
    for mount in config["mounts"]:
        mount["options"] = [word for word in mount["options"] if not word.startswith("gid=")]
        if mount["destination"] == "/sys":
            mount |= {"type": "none", "source": "/sys",
                      "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]}  # fmt: skip
