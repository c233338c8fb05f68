"""``minirun doctor --net NAME``: the way of a packet out of a container, hop by hop.

    eth0 ─ cable ─ bridge ─ this machine ─ rules ─ interface ─ router
                     └ name server

Each hop is a function that looks or tries; its docstring is its line in the report, ``FIXES`` has
what mends it. At the first hop that fails the packet ends, but the later ones are looked at, too.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess

from minirun import linux
from minirun.engine.network import dns, leases, netlink, plant
from minirun.errors import Error, StateError
from minirun.teach.doctor import in_child, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State

PATIENCE = 2.0  # seconds
NOBODY = 9  # discard(9), which nobody serves: a refused connection is an answer, too


class Way:
    """What the hops are asked about: a running container, and its first place on a network."""

    def __init__(self, state: State, container: Container) -> None:
        self.state, self.container = state, container
        self.pid = int(container.state["pid"])
        with leases.Leases(state.paths) as known:
            places = known.of_container(container.id)
        if not places:
            mode = container.record.get("networkMode")
            raise StateError(f"container {container.name} has no network of its own, but {mode}")
        self.place: dict[str, Any] = next((p for p in places if not p["internal"]), places[0])
        self.device = f"eth{self.place['index']}"

    def inside(self, action: Callable[[], object]) -> None:
        """Do ``action`` in the container's network, and in no other of its namespaces."""

        def enter() -> None:
            fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            linux.setns(fd, linux.CLONE_NEWNET)
            action()

        in_child(enter)


def follow(state: State, name: str) -> int:
    """Look at every hop, and print the report; 0 if the packet arrives, else 1."""
    container = state.containers.find(name)
    container.require_running()
    return report(FIXES, Way(state, container))


def interface(way: Way) -> str:
    """The container has an interface with an address"""
    with open(f"/proc/{way.pid}/net/fib_trie", encoding="ascii") as file:
        if f"|-- {way.place['address']}\n" not in file.read():
            raise Error(f"{way.device} does not have {way.place['address']}")
    return f"{way.device} has {way.place['address']}/{way.place['prefix']}, {way.place['mac']}"


def default_route(way: Way) -> str:
    """It has a way out"""
    for device, destination, gateway in routes(f"/proc/{way.pid}/net/route"):
        if destination == "0.0.0.0":
            return f"by {gateway}, on {device}"
    if way.place["internal"]:
        return f"none, for network {way.place['name']} is internal"
    raise Error("no default route")


def cable(way: Way) -> str:
    """Its cable ends in the bridge"""
    bridge, link = way.place["bridge"], way.place["link"]
    if not netlink.exists(link):
        raise Error(f"there is no interface {link}")
    if not os.path.exists(f"/sys/class/net/{bridge}/brif/{link}"):
        raise Error(f"{link} is not a port of {bridge}")
    return f"{link} is a port of {bridge}"


def gateway_answers(way: Way) -> str:
    """This machine answers at the gateway's address"""
    way.inside(lambda: knock(way.place["gateway"]))
    return str(way.place["gateway"])


def names(way: Way) -> str:
    """The name server knows the container"""
    if not way.place["names"]:
        return f"network {way.place['name']} has no names; those of user networks have"
    name = way.place["names"][0]
    question = os.urandom(2) + bytes.fromhex("01000001000000000000")
    question += dns.encode_name(name) + bytes.fromhex("00010001")

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect((way.place["gateway"], 53))
            client.send(question)
            if socket.inet_aton(way.place["address"]) not in client.recv(512):
                raise OSError(0, f"it does not know {name}")

    way.inside(ask)
    return f"{name} is {way.place['address']}, says {way.place['gateway']}"


def forwarding(way: Way) -> str:
    """This machine sends packets on, in both directions"""
    both = [way.place["bridge"], way_out()]
    for device in both:
        with open(f"/proc/sys/net/ipv4/conf/{device}/forwarding", encoding="ascii") as file:
            if file.read().strip() != "1":
                raise Error(f"what comes in by {device} is not")
    return f"{both[0]} ⇄ {both[1]}"


def rules(way: Way) -> str:
    """Our rules let it pass, and give it this machine's address"""
    table = plant.table_of(way.state.paths)
    text = nft("list", "table", "inet", table)
    wanted = f'oifname != "{way.place["bridge"]}" masquerade'
    if not text:
        raise Error(f"there is no table inet {table}")
    if wanted not in text and not way.place["internal"]:
        raise Error(f"table inet {table} lacks: {wanted}")
    return f"nft list table inet {table}"


def other_rules(way: Way) -> str:
    """Nobody else's rules drop what is forwarded"""
    found = json.loads(nft("--json", "list", "chains") or '{"nftables": []}')["nftables"]
    chains = [entry["chain"] for entry in found if "chain" in entry]
    dropping = [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop"
    ]
    if dropping:
        raise Error(f"policy drop: {', '.join(dropping)}")
    return f"{len([c for c in chains if c.get('hook') == 'forward'])} chains looked at"


def router(way: Way) -> str:
    """The next router answers the container"""
    if way.place["internal"]:
        return "not asked, for the network is internal"
    gateway = next(g for _, to, g in routes("/proc/net/route") if to == "0.0.0.0")
    way.inside(lambda: knock(gateway))
    return gateway


# --- how they look ----------------------------------------------------------------------------


def routes(path: str) -> list[tuple[str, str, str]]:
    """Device, destination and gateway of each IPv4 route. proc_pid_net(5)"""
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file][1:]
    return [(line[0], _address(line[1]), _address(line[2])) for line in lines]


def _address(text: str) -> str:
    import sys

    return socket.inet_ntoa(int(text, 16).to_bytes(4, sys.byteorder))


def way_out() -> str:
    for device, destination, _ in routes("/proc/net/route"):
        if destination == "0.0.0.0":
            return device
    raise Error("this machine itself has no default route")


def knock(address: str) -> None:
    """Connect to a port where nobody is expected: that it is refused is an answer."""
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        try:
            client.connect((address, NOBODY))
        except ConnectionRefusedError:
            pass
        except TimeoutError:
            raise OSError(0, f"{address} does not answer within {PATIENCE:.0f} seconds") from None


def nft(*words: str) -> str:
    done = subprocess.run(["nft", *words], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


FIXES: dict[Callable[[Way], str | None], str] = {
    interface: "minirun restart NAME",
    default_route: "minirun restart NAME",
    cable: "minirun restart NAME",
    gateway_answers: "a firewall of this machine drops it: allow what comes in by minirun's bridge",
    names: "minirun restart NAME starts it again; or allow port 53 on minirun's bridge",
    forwarding: "sysctl net.ipv4.conf.INTERFACE.forwarding=1",
    rules: "minirun system check --repair",
    other_rules: "allow it there; Docker's: iptables -I DOCKER-USER -i BRIDGE -j ACCEPT, and -o",
    router: "does this machine itself reach it? ping ROUTER; some routers do not answer",
}
