"""The helper that plugs a container in, while the runtime makes the container.

    python3 … network.attach ROOT ID         standard input: the number of its process, a line

Started by the monitor at the same moment as ``runtime create``: it imports pyroute2 and has bridges
and rules ready when the number comes. The network namespace is then wired, before ``runtime start``
lets the command begin. For ``network connect`` it is called again, and adds what is missing.
"""

from __future__ import annotations

import os
import sys

from minirun.engine.network import plant
from minirun.engine.network.leases import Leases
from minirun.engine.paths import Paths, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.network.leases import Lease


def main() -> None:
    root, ident = sys.argv[1:]
    attach(Paths(root or None), ident)


def attach(paths: Paths, ident: str) -> None:
    from minirun.engine.network import bridge

    if user():
        from minirun.engine import rootless
        from minirun.engine.network import uplink

        uplink.ensure(paths.run)
        rootless.enter_network(paths.run)
    with Leases(paths) as leases:
        own = leases.of_container(ident)
        plant.grow(paths, leases)
    line = sys.stdin.readline()
    if line:
        process = f"/proc/{int(line)}"
        netns = os.open(f"{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        missing = without(own, f"{process}/net/dev")
        with bridge.Links() as links:
            for lease in missing:
                links.plug(lease, netns)
        bridge.inside(netns, own, missing)


def without(own: Sequence[Lease], devices: str) -> list[Lease]:
    """The leases whose cables do not end in the container yet. proc_pid_net(5), dev"""
    with open(devices, encoding="utf-8", errors="replace") as file:
        there = {line.partition(":")[0].strip() for line in file}
    return [lease for lease in own if f"eth{lease['index']}" not in there]
