"""``network connect`` and ``disconnect``, of a container that runs or does not.

Its record says on which networks it is to be; if it runs, the helper (attach.py) brings its cables
in line with its leases, as it does at a start, and its files and its state are written anew.
"""

from __future__ import annotations

from minirun import document
from minirun.engine import events, wire
from minirun.engine.network import endpoints, records, wish
from minirun.engine.network.leases import Leases
from minirun.errors import Error, NotFound, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.network.leases import Lease
    from minirun.engine.state import State

    Record = dict[str, Any]


def connect(state: State, network: Record, container: Container, place: Record) -> None:
    """Put a container on one more network; ``place`` is as in its record. Error when it has no
    networks of its own, is on it already, or the address that it wants is taken."""
    name = network["name"]
    wished = dict(container.record.get("networks") or {})
    if not wished:
        mode = container.record.get("networkMode")
        raise StateError(f"container {container.name} was made with --network {mode}, and stays so")
    if name in wished:
        raise StateError(f"container {container.name} is on network {name} already")
    wish.check_place(state, name, place)
    container.save(networks={**wished, name: place})
    if container.is_up:
        try:
            with Leases(state.paths) as leases:
                own = leases.of_container(container.id)
                index = next(n for n in range(1 << 16) if n not in {p["index"] for p in own})
                fresh = endpoints.lease_place(state, leases, container, name, place, index)
                leases.add(fresh)
            rewire(state, container)
        except Error:
            disconnect(state, network, container)
            raise
    _tell(state, network, container, "connect")


def disconnect(state: State, network: Record, container: Container) -> None:
    """Take a container off a network. Error if it is not on it."""
    wished = dict(container.record.get("networks") or {})
    if network["name"] not in wished:
        raise NotFound(f"container {container.name} is not on network {network['name']}")
    if container.is_up:
        with Leases(state.paths) as leases:
            own = leases.of_container(container.id)
            gone = [place for place in own if place["network"] == network["id"]]
            _hand_ports_on(own, gone)
            endpoints.unplug(state, leases, gone)
        rewire(state, container)
    del wished[network["name"]]
    container.save(networks=wished)
    _tell(state, network, container, "disconnect")


def _hand_ports_on(own: list[Lease], gone: list[Lease]) -> None:
    """Published ports lead to the first network that is left; with the last one they end."""
    left = [place for place in own if place not in gone]
    for place in gone:
        if left and place["ports"]:
            left[0]["ports"] = place["ports"]


def rewire(state: State, container: Container) -> None:
    """Bring cables, files and state in line with the leases of a running container."""
    import subprocess

    line = endpoints.command(state, container)
    pid = f"{container.state['pid']}\n"
    done = subprocess.run(line, input=pid, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        message, _, hint = done.stderr.strip().removeprefix("error: ").partition("\nhint: ")
        raise Error(message or f"{line[0]} has failed", hint=hint or None)
    with Leases(state.paths) as leases:
        own = leases.of_container(container.id)
    with open(container.path("hostname"), encoding="utf-8") as file:
        endpoints.write_network_files(state, container, file.read().strip(), own)
    connection = wire.connect(state.paths, container.id)
    if connection:  # its state is its monitor's to write
        for name, value in endpoints.facts(own).items():
            wire.send(connection, wire.NOTE, f"{name}={document.dumps(value)}".encode())


def _tell(state: State, network: Record, container: Container, action: str) -> None:
    about = {"name": network["name"], "type": "bridge", "container": container.id}
    events.emit(state.paths, "network", action, network["id"], **about)


def remove(state: State, name: str) -> None:
    """Remove a network on which no container is running."""
    networks = records.Networks(state.paths)
    network = networks.find(name)
    if network["name"] == records.DEFAULT:
        raise StateError(f"{network['name']} is the default network, and stays")
    with Leases(state.paths) as leases:
        places = leases.of_network(network["id"])
        if places:
            who = ", ".join(place["names"][0] for place in places[:5] if place["names"])
            raise StateError(
                f"network {network['name']} has active endpoints: {who}",
                hint=f"minirun network disconnect {network['name']} CONTAINER, or stop them",
            )
        networks.remove(network)
    events.emit(state.paths, "network", "destroy", network["id"], name=network["name"])


def prune(state: State) -> list[str]:
    """Remove every network on which no container is running, but for the default one."""
    removed = []
    for network in records.Networks(state.paths).all():
        try:
            remove(state, network["id"])
        except StateError:
            continue
        removed.append(str(network["name"]))
    return removed
