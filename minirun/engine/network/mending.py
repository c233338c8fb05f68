"""What a crash may have left of networks, and taking it away: for ``system check``.

Whatever is made for containers is written down before, as a lease; so what no lease accounts for is
left over: places of containers to which nobody attends, and bridges, rules, name servers without
a container.

Interface: orphans says what there is, mend takes it away.
"""

from __future__ import annotations

import os

from minirun.engine.network import firewall, plant, records, serving
from minirun.engine.network.leases import Leases
from minirun.engine.paths import user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.network.leases import Lease
    from minirun.engine.state import State


def orphans(state: State) -> list[str]:
    """A line for each thing that is left over, or missing."""
    _go_there(state)
    with Leases(state.paths) as leases:
        lost = _lost(state, leases)
        found = [f"address {place['address']} of container {place['container'][:12]}, which does "
                 "not run" for place in lost]  # fmt: skip
        used = {place["network"] for place in leases.all}
        for network in records.Networks(state.paths).all():
            if network["id"] in used:
                continue
            if plant.exists(network["bridge"]):
                found.append(f"interface {network['bridge']} of network {network['name']}, unused")
            if serving.is_running(state.paths, network["id"]):
                found.append(f"name server of network {network['name']}, unused")
        table = plant.table_of(state.paths)
        if firewall.exists(table) != bool(leases.all):
            what = "missing" if leases.all else "left over"
            found.append(f"nftables table inet {table}, {what}")
    return found


def mend(state: State) -> None:
    """Take away what is left over, and put rules back that somebody has flushed."""
    _go_there(state)
    with Leases(state.paths) as leases:
        lost = _lost(state, leases)
        leases.all = [place for place in leases.all if place not in lost]
        plant.forget_rules(leases)
        plant.shrink(state.paths, leases, [*lost, *_unused(state, leases)])
        leases.save()


def _go_there(state: State) -> None:
    """An ordinary user's bridges are in another network namespace; this process stays there."""
    if user():
        from minirun.engine import rootless

        rootless.enter_network(state.paths.run)


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
