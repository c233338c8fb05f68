"""Containers, in Docker's words."""

from __future__ import annotations

from minirun.engine import container as documents
from minirun.engine import sizes
from minirun.engine.container import PAUSED, RESTARTING, SHORT, UNDER_WAY
from minirun.engine.describe import hostconfig, networking
from minirun.engine.describe import image as images
from minirun.engine.describe.moments import moment
from minirun.engine.template.values import Map, NilList, Struct
from minirun.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State

    Document = dict[str, Any]

FILES = {"ResolvConfPath": "resolv.conf", "HostnamePath": "hostname", "HostsPath": "hosts"}


def container(state: State, found: Container, *, sized: bool = False) -> Document:
    """``sized``: also how much it has written, for which its files are counted."""
    record = found.record
    spec = documents.read(found.path("spec.json")) or {}
    command = record.get("command") or [""]
    own, whole = sizes.of_container(state, found) if sized else (None, None)
    document = {
        "Id": found.id,
        "Created": moment(record.get("created")),
        "Path": command[0],
        "Args": command[1:],
        "State": life(found),
        "Image": record.get("imageId", ""),
        **{name: found.path(file) for name, file in FILES.items()},
        "LogPath": "" if found.options.get("log_driver") == "none" else found.path("log"),
        "Name": f"/{found.name}",
        "RestartCount": found.state.get("restarts", 0),
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": (spec.get("process") or {}).get("selinuxLabel", ""),
        "AppArmorProfile": (spec.get("process") or {}).get("apparmorProfile", ""),
        "ExecIDs": NilList(),
        "HostConfig": hostconfig.host_config(found, spec),
        "GraphDriver": {"Data": layers(state, found), "Name": "overlay"},
        "SizeRw": own,
        "SizeRootFs": whole,
        "Mounts": [mount(state, each) for each in record.get("mounts") or ()],
        "Config": config(state, found, spec),
        "NetworkSettings": networking.settings(found),
    }
    return Struct(document, optional=("SizeRw", "SizeRootFs"))


def life(found: Container) -> Document:
    """State: how it is, and how it went."""
    state, status = found.state, found.status
    fields = {
        "Status": status,
        "Running": status in UNDER_WAY,
        "Paused": status == PAUSED,
        "Restarting": status == RESTARTING,
        "OOMKilled": bool(state.get("oomKilled")),
        "Dead": False,
        "Pid": state.get("pid") or 0,
        "ExitCode": state.get("exitCode") or 0,
        "Error": state.get("error") or "",
        "StartedAt": moment(state.get("started")),
        "FinishedAt": moment(state.get("finished")),
        "Health": health(state.get("health")),
    }
    return Struct(fields, optional=("Health",))


def health(found: Document | None) -> Document | None:
    if not found:
        return None
    return {
        "Status": found.get("status", ""),
        "FailingStreak": found.get("failingStreak", 0),
        "Log": [
            {"Start": moment(result.get("start")), "End": moment(result.get("end")),
             "ExitCode": result.get("exitCode"), "Output": result.get("output", "")}
            for result in found.get("log") or ()
        ],
    }  # fmt: skip


def layers(state: State, found: Container) -> Map:
    """Where its files are: those of the image, its own, and both as it sees them."""
    try:
        below = images.lower(state, state.store.resolve(str(found.record.get("imageId"))))
    except Error:
        below = ""
    return Map(
        {
            "LowerDir": below,
            "MergedDir": found.path("rootfs"),
            "UpperDir": found.path("upper"),
            "WorkDir": found.path("work"),
        }
    )


def mount(state: State, found: Document) -> Document:
    """One of Mounts. A volume's directory is its source."""
    is_volume = found["type"] == "volume"
    volume = f"{state.paths.volumes}/{found['name']}/_data" if is_volume else ""
    fields = {
        "Type": found["type"],
        "Name": found["name"] if is_volume else "",
        "Source": found.get("source") or volume,
        "Destination": found["destination"],
        "Driver": "local" if is_volume else "",
        "Mode": found.get("mode", ""),
        "RW": found.get("rw", True),
        "Propagation": "" if is_volume else found.get("propagation", ""),
    }
    return Struct(fields, optional=("Name", "Driver"))


def config(state: State, found: Container, spec: Document) -> Document:
    """Config: what runs in it, by the image and the flags."""
    record, options = found.record, found.options
    process = spec.get("process") or {}
    of_image = image_config(state, found)
    entrypoint, command = parts(found, of_image)
    attached = not options.get("detach")
    ports = {*(record.get("exposed") or ()), *networking.bindings(record.get("ports") or ())}
    fields = {
        "Hostname": options.get("hostname") or found.id[:SHORT],
        "Domainname": options.get("domainname") or "",
        "User": options.get("user") or of_image["User"],
        "AttachStdin": bool(attached and options.get("interactive")),
        "AttachStdout": attached,
        "AttachStderr": attached,
        "ExposedPorts": Map({port: {} for port in ports}),
        "Tty": bool(process.get("terminal")),
        "OpenStdin": bool(options.get("interactive")),
        "StdinOnce": bool(attached and options.get("interactive")),
        "Env": process.get("env") or [],
        "Cmd": command or NilList(),
        "Healthcheck": record.get("healthcheck"),
        "Image": record.get("image", ""),
        "Volumes": of_image["Volumes"],
        "WorkingDir": options.get("workdir") or of_image["WorkingDir"],
        "Entrypoint": entrypoint or NilList(),
        "OnBuild": NilList(),
        "Labels": Map(record.get("labels") or {}),
        "StopSignal": options.get("stop_signal") or of_image["StopSignal"],
        "StopTimeout": hostconfig.maybe(options.get("stop_timeout")),
    }
    return Struct(fields, optional=images.OPTIONAL)


def image_config(state: State, found: Container) -> Document:
    """What its image says of how to run it; nothing once that is gone."""
    try:
        return images.config(state.store.resolve(str(found.record.get("imageId"))))
    except Error:
        return images.CONFIG


def parts(found: Container, of_image: Document) -> tuple[list[str], list[str]]:
    """Its command line as Docker keeps it: Entrypoint and Cmd."""
    command: list[str] = found.record.get("command") or []
    asked = found.options.get("entrypoint")
    entrypoint = ([asked] if asked else []) if asked is not None else of_image["Entrypoint"] or []
    if command[: len(entrypoint)] != entrypoint:
        return [], command
    return entrypoint, command[len(entrypoint) :]
