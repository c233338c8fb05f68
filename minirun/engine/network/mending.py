"""What a crash may have left of networks, and taking it away: for ``system check``.

Whatever is made for containers is written down before, as a lease; so what no lease accounts for is
left over: places of containers to which nobody attends, and bridges, rules, name servers without
a container.

Interface: orphans says what there is, mend takes it away.
"""

from __future__ import annotations

import os

from minirun.engine.network import firewall, netlink, plant, records, serving
from minirun.engine.network.leases import Leases
from minirun.engine.paths import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.network.leases import Lease
    from minirun.engine.state import State


def orphans(state: State) -> list[tuple[str, str]]:
    """Each thing that is left over, or missing; and what is wrong with it."""
    _go_there(state)
    with Leases(state.paths) as leases:
        lost = _lost(state, leases)
        found = [
            (f"address {place['address']}", f"container {place['container'][:12]} does not run")
            for place in lost
        ]
        used = {place["network"] for place in leases.all}
        for network in records.Networks(state.paths).all():
            if network["id"] in used:
                found += _missing(state, network)
                continue
            if netlink.exists(network["bridge"]):
                found.append((f"interface {network['bridge']}", "no container is on that network"))
            if serving.is_running(state.paths, network["id"]):
                what = f"name server of network {network['name']}"
                found.append((what, "no container is on that network"))
        table = plant.table_of(state.paths)
        if (table in firewall.tables()) != bool(leases.all):
            problem = "it is missing" if leases.all else "no container is on a network"
            found.append((f"nftables table inet {table}", problem))
    return found


def mend(state: State) -> str:
    """Take away what is left over, and put rules and name servers back that are missing; what was
    done."""
    _go_there(state)
    with Leases(state.paths) as leases:
        lost = _lost(state, leases)
        leases.all = [place for place in leases.all if place not in lost]
        plant.forget_rules(leases)
        plant.shrink(state.paths, leases, [*lost, *_unused(state, leases)])
        leases.save()
        if leases.all:
            plant.grow(state.paths, leases)
    return "rules and bridges are as the running containers need them"


def _go_there(state: State) -> None:
    """An ordinary user's bridges are in another network namespace; this process stays there."""
    if user():
        from minirun.engine import rootless

        rootless.enter_network(state.paths.run)


def _missing(state: State, network: dict[str, Any]) -> list[tuple[str, str]]:
    if not records.has_resolver(network) or serving.is_running(state.paths, network["id"]):
        return []
    return [(f"name server of network {network['name']}", "it does not run")]


def _lost(state: State, leases: Leases) -> list[Lease]:
    """The places of containers to which nobody attends."""
    live = state.paths.live
    return [place for place in leases.all if not os.path.exists(f"{live}/{place['container']}")]


def _unused(state: State, leases: Leases) -> list[Lease]:
    """As many empty places as there are networks without a container."""
    used = {place["network"] for place in leases.all}
    return [
        {"network": network["id"], "bridge": network["bridge"], "link": "", "ports": []}
        for network in records.Networks(state.paths).all()
        if network["id"] not in used
    ]
