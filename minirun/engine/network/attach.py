"""The helper that plugs a container in, while the runtime makes the container.

    python3 … network.attach ROOT ID         standard input: the number of its process, a line

Started by the monitor at the same moment as ``runtime create``: it imports pyroute2 and has bridges
and rules ready when the number comes. The network namespace is then wired, before ``runtime start``
lets the command begin.
"""

from __future__ import annotations

import os
import sys

from minirun.engine.network import plant
from minirun.engine.network.leases import Leases
from minirun.engine.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.network.leases import Lease


def main() -> None:
    root, ident = sys.argv[1:]
    attach(Paths(root or None), ident)


def attach(paths: Paths, ident: str) -> None:
    from minirun.engine.network import bridge

    with Leases(paths) as leases:
        own = leases.of_container(ident)
        plant.grow(paths, leases)
    line = sys.stdin.readline()
    if line:
        netns = os.open(f"/proc/{int(line)}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        plug(netns, own)
        bridge.inside(netns, own)


def plug(netns: int, own: Sequence[Lease]) -> None:
    from minirun.engine.network import bridge

    with bridge.Links() as links:
        for lease in own:
            links.plug(lease, netns)
