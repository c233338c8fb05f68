"""Networks in Docker's words: those of a container, and a network with its containers."""

from __future__ import annotations

from minirun.engine import listing
from minirun.engine.describe.moments import moment
from minirun.engine.template.values import Map, NilMap, Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State

    Document = dict[str, Any]

DEFAULT = "bridge"


def settings(container: Container) -> Document:
    """NetworkSettings: the places on its networks, and where its ports are reached."""
    places = endpoints(container)
    first = places.get(DEFAULT) or endpoint({})  # Docker: only those of the default network
    return {
        "Bridge": "",
        "SandboxID": container.id if container.is_up else "",
        "SandboxKey": f"/proc/{container.state.get('pid')}/ns/net" if container.is_up else "",
        "Ports": bindings(listing.ports(container)),
        **{name: first[name] for name in ADDRESSES},
        "Networks": places,
    }


ADDRESSES = ("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress",
             "IPPrefixLen", "IPv6Gateway", "MacAddress")  # fmt: skip


def endpoints(container: Container) -> Map:
    """By the networks' names; without addresses while the container does not run."""
    wanted = container.record.get("networks") or dict.fromkeys(listing.networks(container))
    leases = container.state.get("networks") or {} if container.is_up else {}
    return Map(
        {name: endpoint(leases.get(name) or {}, place) for name, place in wanted.items()}, zero=None
    )


def endpoint(lease: Document, wanted: Document | None = None) -> Document:
    aliases = (wanted or {}).get("aliases") or None
    return {
        "IPAMConfig": ipam(wanted or {}),
        "Links": None,
        "Aliases": aliases,
        "MacAddress": lease.get("mac") or "",
        "DriverOpts": None,
        "NetworkID": lease.get("network") or "",
        "EndpointID": f"{lease['container']}{lease['index']}" if lease else "",
        "Gateway": lease.get("gateway") or "",
        "IPAddress": lease.get("address") or "",
        "IPPrefixLen": lease.get("prefix") or 0,
        "IPv6Gateway": lease.get("gateway6") or "",
        "GlobalIPv6Address": lease.get("address6") or "",
        "GlobalIPv6PrefixLen": lease.get("prefix6") or 0,
        "DNSNames": lease.get("names") or None,
    }


def ipam(wanted: Document) -> Document | None:
    """Which addresses were asked for."""
    asked = {"IPv4Address": wanted.get("ip"), "IPv6Address": wanted.get("ip6")}
    return {name: address for name, address in asked.items() if address} or None


def bindings(ports: Iterable[Document]) -> Map:
    """``{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": None}``: the second is
    exposed only."""
    found: dict[str, list[Document] | None] = {}
    for port in ports:
        key = f"{port['containerPort']}/{port['protocol']}"
        found.setdefault(key, None)
        if port.get("hostPort") or port.get("hostIp"):
            binding = {"HostIp": port["hostIp"], "HostPort": str(port["hostPort"] or "")}
            found[key] = [*(found[key] or []), binding]
    return Map(found, zero=[])


def network(state: State, record: Document) -> Document:
    """A network, and the containers that are on it now."""
    places = {
        container.id: joined(container, lease)
        for container in state.containers.all()
        if container.is_up
        for lease in (container.state.get("networks") or {}).values()
        if lease["network"] == record["id"]
    }
    return {
        "Name": record["name"],
        "Id": record["id"],
        "Created": moment(record.get("created")),
        "Scope": "local",
        "Driver": record["driver"],
        "EnableIPv4": True,
        "EnableIPv6": record["subnet6"] is not None,
        "IPAM": {"Driver": "default", "Options": NilMap(), "Config": list(pools(record))},
        "Internal": record["internal"],
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": Map(places, zero=None),
        "Options": Map(record.get("options") or {}),
        "Labels": Map(record.get("labels") or {}),
    }


def pools(record: Document) -> Iterable[Document]:
    """The subnets, IPv4 first."""
    for suffix in ("", "6"):
        if record["subnet" + suffix]:
            fields = {
                "Subnet": record["subnet" + suffix],
                "IPRange": (record["ipRange"] or "") if not suffix else "",
                "Gateway": record["gateway" + suffix],
                "AuxiliaryAddresses": NilMap(),
            }
            yield Struct(fields, optional=("IPRange", "AuxiliaryAddresses"))


def joined(container: Container, lease: Document) -> Document:
    six = f"{lease['address6']}/{lease['prefix6']}" if lease["address6"] else ""
    return {
        "Name": container.name,
        "EndpointID": f"{container.id}{lease['index']}",
        "MacAddress": lease["mac"],
        "IPv4Address": f"{lease['address']}/{lease['prefix']}",
        "IPv6Address": six,
    }
