"""The start and the end of a container, seen from its networks.

    prepare   before the runtime makes it: addresses are leased, ports held, files written
    (attach)  meanwhile: a helper of the monitor makes bridges, cables and rules: attach.py
    release   at its end: what was made for it goes, with the last container the bridge, too

All of it is done under the lock of leases.py; a crash at any point leaves a lease, by which release
knows what there may be.
"""

from __future__ import annotations

import ipaddress
import os

from minirun.engine.network import addresses, ports, records, upstream, wish
from minirun.engine.network.leases import Leases, published
from minirun.engine.paths import user
from minirun.errors import Error, NotFound, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.network.leases import Lease
    from minirun.engine.state import State

    Record = dict[str, Any]

HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
"""
NO_DNS = "# this container has no network, so there is nobody to ask\n"


def prepare(state: State, container: Container, hostname: str) -> ports.Held:
    """Lease addresses, hold ports and write the container's hosts and resolv.conf.

    The caller owns the container. The monitor has to keep what is held until the end. A container
    that has its leases still, because its monitor starts it again, keeps them, and the ports too.
    Raises Error when something cannot be had; then nothing is leased or held.
    """
    held = ports.Held()
    mode = container.record.get("networkMode", "none")
    if mode.startswith(wish.OTHER):  # it has the other's files, too
        return held
    if mode in records.WORDS:
        write_files(container, *files_of_mode(container, hostname, mode))
        return held
    with Leases(state.paths) as leases:
        own = leases.of_container(container.id)
        if not own:
            own = lease(state, leases, container)
            six = any(place["address6"] for place in own)
            own[0]["ports"], held = ports.hold(container.record.get("ports", ()), ipv6=six)
            leases.add(*own)
            if held.sockets and user():
                from minirun.engine.network import relay

                held.relay = relay.start(held.fds(), published(own), state.paths.run)
    try:
        container.save_state(**facts(own))
        write_network_files(state, container, hostname, own)
    except BaseException:
        held.close()
        release(state, container)
        raise
    return held


def facts(own: Sequence[Lease]) -> Record:
    """What a container's state says of its leases."""
    ports_of = [port for place in own for port in place["ports"]]
    return {"networks": {place["name"]: place for place in own}, "ports": ports_of}


def write_network_files(
    state: State, container: Container, hostname: str, own: Sequence[Lease]
) -> None:
    """The hosts file and the resolv.conf of a container that has these leases."""
    host, resolver = upstream.read_host(), resolver_of(state, own)
    resolv_conf = upstream.of_container(host, container.options, resolver).text() if own else NO_DNS
    write_files(container, hosts(state, container, hostname, own), resolv_conf)


def command(state: State, container: Container) -> list[str]:
    """The command line of the helper that plugs the container in (attach.py); empty if there is
    nothing to do."""
    from minirun.engine import helpers

    if not container.record.get("networks"):
        return []
    return helpers.command("network.attach", state.paths.base or "", container.id)


def release(state: State, container: Container) -> None:
    """Take away what was made for a container that has ended; fine if there is nothing."""
    if not os.path.exists(Leases(state.paths).path):
        return
    with Leases(state.paths) as leases:
        own = leases.of_container(container.id)
        if own:
            unplug(state, leases, own)


def unplug(state: State, leases: Leases, own: list[Lease]) -> None:
    """Take the cables of these leases away, and the leases at the end of it."""
    from minirun.engine.network import plant

    def take_away() -> None:
        plant.shrink(state.paths, leases, own)
        leases.save()

    leases.all = [other for other in leases.all if other not in own]
    if user():
        from minirun.engine import rootless

        rootless.in_network(state.paths.run, take_away)
        leases.load()
    else:
        take_away()


# --- leases ---------------------------------------------------------------------------------------


def lease(state: State, leases: Leases, container: Container) -> list[Lease]:
    """A place on each of the container's networks, the first at eth0."""
    found: list[Lease] = []
    for index, (name, wanted) in enumerate(container.record["networks"].items()):
        found.append(lease_place(state, leases, container, name, wanted, index))
    return found


def lease_place(
    state: State, leases: Leases, container: Container, name: str, wanted: Record, index: int
) -> Lease:
    networks = records.Networks(state.paths)
    network = networks.default() if name == records.DEFAULT else networks.find(name)
    if not leases.of_network(network["id"]):
        network = networks.settle_subnet(network)
    address = choose(leases, network, "", wanted["ip"])
    six = choose(leases, network, "6", wanted["ip6"]) if network["subnet6"] else None
    return {
        "container": container.id, "name": name, "network": network["id"],
        "bridge": network["bridge"], "index": index, "link": f"veth{container.id[:9]}{index}",
        "address": str(address), "prefix": _prefix(network["subnet"]),
        "gateway": network["gateway"],
        "address6": six and str(six), "prefix6": six and _prefix(network["subnet6"]),
        "gateway6": network["gateway6"], "internal": network["internal"],
        "mac": wanted["mac"] or addresses.mac_of(address),
        "names": names(container, wanted) if name != records.DEFAULT else [],
        "dns": list(container.options.get("dns") or ()), "ports": [],
    }  # fmt: skip


def names(container: Container, wanted: Record) -> list[str]:
    """Under which names the others on a network of its own find it."""
    found = [container.name, container.id[:12], *wanted["aliases"]]
    if hostname := container.options.get("hostname"):
        found.append(hostname)
    return list(dict.fromkeys(name.lower() for name in found if name))


def choose(leases: Leases, network: Record, suffix: str, wanted: str) -> addresses.Address:
    """A free address of a network, or the one that is wanted."""
    subnet = ipaddress.ip_network(network["subnet" + suffix])
    taken = [place["address" + suffix] for place in leases.of_network(network["id"])]
    taken = [network["gateway" + suffix], *filter(None, taken)]
    if wanted:
        address = ipaddress.ip_address(wanted)
        addresses.check_address(address, subnet, taken)
        return address
    area = ipaddress.ip_network(network["ipRange"]) if network["ipRange"] and not suffix else subnet
    return addresses.free_address(area, taken)


def _prefix(subnet: str) -> int:
    return int(subnet.partition("/")[2])


# --- files ----------------------------------------------------------------------------------------


def resolver_of(state: State, own: Sequence[Lease]) -> str | None:
    """The address of the name server of the container's networks; None where there is none."""
    networks = records.Networks(state.paths)
    for place in own:
        if records.has_resolver(networks.find(place["network"])):
            return str(place["gateway"])
    return None


def files_of_mode(container: Container, hostname: str, mode: str) -> tuple[str, str]:
    """The hosts file and the resolv.conf of a container with no network of its own."""
    if mode == "host":
        extra = _extra_hosts(container, "127.0.0.1")
        return upstream.read("/etc/hosts") + extra, upstream.read(upstream.HOST)
    return HOSTS + f"127.0.1.1\t{hostname}\n" + _extra_hosts(container, ""), NO_DNS


def hosts(state: State, container: Container, hostname: str, own: Sequence[Lease]) -> str:
    """The hosts(5) of a container: itself, then what --add-host and --link say."""
    short = hostname.partition(".")[0]
    called = hostname if short == hostname else f"{hostname} {short}"
    lines = [
        f"{address}\t{called}\n"
        for place in own
        for address in (place["address"], place["address6"])
        if address
    ]
    gateway = own[0]["gateway"] if own else ""
    links = _links(state, container)
    return HOSTS + "".join(lines) + _extra_hosts(container, gateway) + "".join(links)


def _extra_hosts(container: Container, gateway: str) -> str:
    lines = []
    for text in container.options.get("add_host") or ():
        name, address = wish.parse_host(text)
        if address == wish.HOST_GATEWAY:
            if not gateway:
                raise Error(f"--add-host {text}: without a network there is no way to this machine")
            address = gateway
        lines.append(f"{address}\t{name}\n")
    return "".join(lines)


def _links(state: State, container: Container) -> list[str]:
    """The linked containers as they are now; StateError for one that does not run."""
    lines = []
    for text in container.options.get("link") or ():
        name, alias = wish.parse_link(text)
        other = state.containers.find(name)
        address = address_of(other, container.record["networks"])
        words = dict.fromkeys((alias, other.name, other.id[:12]))
        lines.append(f"{address}\t{' '.join(filter(None, words))}\n")
    return lines


def address_of(other: Container, networks: Record) -> str:
    """Where a container is found by one that is on these networks."""
    if not other.is_up:
        raise StateError(
            f"--link: container {other.name} is not running", hint=f"minirun start {other.name}"
        )
    places = other.state.get("networks") or {}
    for name in networks:
        if name in places:
            return str(places[name]["address"])
    raise NotFound(
        f"--link: container {other.name} is on none of the networks {', '.join(networks)}"
    )


def write_files(container: Container, hosts_text: str, resolv_conf: str) -> None:
    """In place: they are mounted into the container while it runs."""
    for name, text in (("hosts", hosts_text), ("resolv.conf", resolv_conf)):
        with open(container.path(name), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
