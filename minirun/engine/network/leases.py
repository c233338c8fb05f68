"""Who has which address: run/network/leases.json, changed under a lock.

A lease is a container's place on a network. It is written before any link is made, and removed when
all of it is gone; so a crash in between leaves nothing that the next command does not see.

    container, name        whose
    network, bridge        on which: its id, and the interface
    index                  eth<index> in the container
    link                   the end of the cable in this machine: veth(4)
    address, address6, mac; prefix, prefix6
    names                  under which the others on the network find it
    dns                    its --dns: whom the network's name server asks on its behalf
    ports                  the published ports, as they came to be (ports.hold)

``opened`` are the sysctls that plant.py has set, so that this machine forwards packets.
"""

from __future__ import annotations

import fcntl
import os

from minirun.engine import container as documents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from minirun.engine.paths import Paths

    Lease = dict[str, Any]


def directory(paths: Paths) -> str:
    """Where what a running machine knows of networks is kept."""
    return paths.run + "/network"


class Leases:
    """All leases of one store, for as long as the ``with`` block lasts: nobody else changes them,
    nor the networks."""

    def __init__(self, paths: Paths) -> None:
        self.directory = directory(paths)
        self.path = self.directory + "/leases.json"

    def __enter__(self) -> Leases:
        os.makedirs(self.directory, 0o700, exist_ok=True)
        self._lock = os.open(self.directory + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.load()
        return self

    def load(self) -> None:
        """See what is on disk."""
        found = documents.read(self.path) or {}
        self.all: list[Lease] = list(found.get("leases") or ())
        self.opened: list[str] = list(found.get("opened") or ())

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def of_container(self, ident: str) -> list[Lease]:
        own = [lease for lease in self.all if lease["container"] == ident]
        return sorted(own, key=lambda lease: int(lease["index"]))

    def of_network(self, ident: str) -> list[Lease]:
        return [lease for lease in self.all if lease["network"] == ident]

    def add(self, *leases: Lease) -> None:
        self.all += leases
        self.save()

    def save(self) -> None:
        """On disk too: readers see the old ones or the new ones, whole."""
        documents.write(self.path, {"leases": self.all, "opened": self.opened})


def read(path: str) -> list[Lease]:
    """The leases of a file that others may be replacing."""
    return list((documents.read(path) or {}).get("leases") or ())


def published(places: Iterable[Lease]) -> list[Lease]:
    """The published ports of these leases, each with the address that it leads to."""
    return [
        port | {"address": lease["address6" if ":" in port["hostIp"] else "address"]}
        for lease in places
        for port in lease["ports"]
        if lease["address6"] or ":" not in port["hostIp"]
    ]
