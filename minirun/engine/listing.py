"""Containers as lines of a list: the fields of ``ps``, in Docker's words, and its filters.

https://docs.docker.com/reference/cli/docker/container/ls/

Everything comes from the container's record and state: its networks, ports and mounts are there as
network/ and mounts.py wrote them.
"""

from __future__ import annotations

import time

from minirun.engine import filters, table
from minirun.engine.container import EXITED, PAUSED, RESTARTING, SHORT, STATUSES
from minirun.errors import NotFound, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.filters import Maker, Test
    from minirun.engine.output import Fields
    from minirun.engine.state import State

    Port = dict[str, Any]

COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
COMMAND_LENGTH = 20
MOUNT_LENGTH = 15
HEALTH = ("starting", "healthy", "unhealthy", "none")
HEALTH_NOTES = {"starting": "health: starting", "healthy": "healthy", "unhealthy": "unhealthy"}


def fields(state: State, *, full: bool = False, sized: bool = False) -> Fields:
    """``full``: nothing is cut off. ``sized``: sizes are wanted, for which files are counted."""
    return {
        "ID": ("CONTAINER ID", lambda c: c.id if full else c.id[:SHORT]),
        "Image": ("IMAGE", lambda c: str(c.record.get("image", "?"))),
        "Command": ("COMMAND", lambda c: quoted(c.record.get("command") or [], full)),
        "CreatedAt": ("CREATED AT", lambda c: stamp(c.record.get("created"))),
        "RunningFor": ("CREATED", lambda c: table.ago(c.record.get("created"))),
        "Status": ("STATUS", status),
        "State": ("STATE", lambda c: c.status),
        "HealthStatus": ("HEALTH STATUS", health),
        "Ports": ("PORTS", lambda c: ports_text(ports(c))),
        "Names": ("NAMES", lambda c: c.name),
        "Size": ("SIZE", lambda c: size_text(state, c) if sized else "N/A"),
        "Labels": ("LABELS", labels_text),
        "Label": (None, lambda c, name: labels(c).get(name, "")),
        "Mounts": ("MOUNTS", lambda c: ",".join(shorten(m, full) for m in mount_names(c))),
        "LocalVolumes": ("LOCAL VOLUMES", lambda c: str(len(volumes(c)))),
        "Networks": ("NETWORKS", lambda c: ",".join(networks(c))),
    }


# --- fields -------------------------------------------------------------------------------------


def quoted(command: Sequence[str], full: bool) -> str:
    """Words with blanks in single quotes, the whole in double ones; of a long one the beginning."""
    first, *rest = command or [""]
    text = " ".join([first, *(f"'{word}'" if " " in word else word for word in rest)])
    if not full and len(text) > COMMAND_LENGTH:
        text = text[: COMMAND_LENGTH - 1] + "…"
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def stamp(moment: float | None) -> str:
    if moment is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(moment))


def status(container: Container) -> str:
    """Up for so long, exited with which code so long ago, …"""
    state, kind = container.state, container.status
    if container.is_up:
        up = f"Up {table.ago(state.get('started')).removesuffix(' ago')}"
        note = "Paused" if kind == PAUSED else HEALTH_NOTES.get(health(container), "")
        return f"{up} ({note})" if note else up
    if kind in {EXITED, RESTARTING}:
        code, ago = state.get("exitCode", 0), table.ago(state.get("finished"))
        return f"{kind.capitalize()} ({code}) {ago}"
    return kind.capitalize()


def health(container: Container) -> str:
    """What its health check says; "none" if it has none."""
    found = container.state.get("health") or {}
    return str(found.get("status", "none")) if isinstance(found, dict) else str(found)


def size_text(state: State, container: Container) -> str:
    from minirun.engine import sizes

    own, whole = sizes.of_container(state, container)
    return f"{table.size(own)} (virtual {table.size(whole)})"


def labels(container: Container) -> dict[str, str]:
    return container.record.get("labels") or {}


def labels_text(container: Container) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels(container).items()))


def volumes(container: Container) -> list[str]:
    return [m["name"] for m in container.record.get("mounts") or [] if m.get("type") == "volume"]


def mount_names(container: Container) -> list[str]:
    """What is mounted: the names of volumes, the paths of directories."""
    mounts = container.record.get("mounts") or []
    return [m.get("name") or m["source"] for m in mounts if m.get("name") or m.get("source")]


def shorten(text: str, full: bool) -> str:
    return text if full or len(text) <= MOUNT_LENGTH else text[: MOUNT_LENGTH - 1] + "…"


def networks(container: Container) -> list[str]:
    """Names of the networks that it is on; also "host" and "none", which are none. One that shares
    another container's has none of its own."""
    mode = container.record.get("networkMode", "none")
    return list(container.record.get("networks") or ([] if ":" in mode else [mode]))


# --- ports --------------------------------------------------------------------------------------


def ports(container: Container) -> list[Port]:
    """The published ports of a container that runs, and those that are only exposed."""
    if not container.is_up:
        return []
    published: list[Port] = container.state.get("ports") or []
    known = {f"{port['containerPort']}/{port['protocol']}" for port in published}
    exposed = [text for text in container.record.get("exposed") or [] if text not in known]
    return published + [
        {"hostIp": "", "hostPort": 0, "containerPort": int(number), "protocol": protocol}
        for number, _, protocol in (text.partition("/") for text in exposed)
    ]


def ports_text(found: Iterable[Port]) -> str:
    """Neighbours are one range, if they have the same number on both sides.

    >>> port = {"hostIp": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    >>> ports_text([port, port | {"hostIp": "", "containerPort": 443}])
    '443/tcp, 0.0.0.0:8080->80/tcp'
    >>> ports_text(port | {"hostPort": n, "containerPort": n} for n in (80, 81, 83))
    '0.0.0.0:80-81->80-81/tcp, 0.0.0.0:83->83/tcp'
    """
    ranges: list[tuple[str, str, int, int]] = []  # address, protocol, first and last port
    open_ranges: dict[tuple[str, str], int] = {}  # where the last range of each kind is
    others = []
    for port in sorted(found, key=port_order):
        address, inner, protocol = port["hostIp"], port["containerPort"], port["protocol"]
        if address and port["hostPort"] != inner:
            others.append(f"{joined(address)}:{port['hostPort']}->{inner}/{protocol}")
            continue
        at = open_ranges.get((address, protocol))
        if at is not None and ranges[at][3] == inner - 1:
            ranges[at] = (*ranges[at][:3], inner)
        else:
            open_ranges[address, protocol] = len(ranges)
            ranges.append((address, protocol, inner, inner))
    return ", ".join([*map(range_text, ranges), *others])


def port_order(port: Port) -> tuple[int, str, int, str]:
    return port["containerPort"], port["hostIp"], port["hostPort"], port["protocol"]


def range_text(found: tuple[str, str, int, int]) -> str:
    address, protocol, first, last = found
    text = f"{first}" if first == last else f"{first}-{last}"
    return f"{joined(address)}:{text}->{text}/{protocol}" if address else f"{text}/{protocol}"


def joined(address: str) -> str:
    return f"[{address}]" if ":" in address else address


# --- filters ------------------------------------------------------------------------------------


def tests(state: State) -> dict[str, Maker]:
    """The filters of ``ps``."""
    return {
        "id": filters.pattern(lambda c: [c.id]),
        "name": filters.pattern(lambda c: [c.name, f"/{c.name}"]),
        "label": filters.label(labels),
        "status": filters.one_of("status", (*STATUSES, "dead", "removing"), lambda c: c.status),
        "health": filters.one_of("health", HEALTH, health),
        "exited": exited,
        "ancestor": lambda name: descends(state, name),
        "before": lambda name: compared(state, name, -1),
        "since": lambda name: compared(state, name, 1),
        "volume": lambda text: lambda c: text in volumes(c) or text in destinations(c),
        "network": lambda name: lambda c: name in networks(c),
        "publish": lambda text: on_port("publish", text, "hostPort"),
        "expose": lambda text: on_port("expose", text, "containerPort"),
        "is-task": filters.truth("is-task", lambda _: False),
    }


def exited(text: str) -> Test:
    if not text.removeprefix("-").isdigit():
        raise UsageError(f"invalid filter 'exited={printable(text)[:80]}'", hint="a number")
    return lambda c: c.status == EXITED and c.state.get("exitCode") == int(text)


def descends(state: State, name: str) -> Test:
    """Made of an image, or of one that was made on top of it: its layers are the first of them."""
    try:
        layers = state.image(name).diff_ids
    except NotFound:
        return lambda _: False
    return lambda c: (c.record.get("diffIds") or [])[: len(layers)] == layers


def compared(state: State, name: str, sign: int) -> Test:
    """Created before (-1) or after (1) another container."""
    moment = state.containers.find(name).record.get("created", 0)
    return lambda c: (c.record.get("created", 0) - moment) * sign > 0


def destinations(container: Container) -> list[str]:
    return [mount["destination"] for mount in container.record.get("mounts") or []]


def on_port(name: str, text: str, key: str) -> Test:
    """PORT[/PROTOCOL], or FIRST-LAST[/PROTOCOL]."""
    numbers, _, protocol = text.partition("/")
    first, _, last = numbers.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise UsageError(f"invalid filter '{name}={printable(text)[:80]}'", hint=f"{name}=80/tcp")
    wanted = range(int(first), int(last or first) + 1)
    return lambda c: any(
        port[key] in wanted and port["protocol"] == (protocol or "tcp") for port in ports(c)
    )
