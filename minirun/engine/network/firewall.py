"""The firewall: NAT, published ports and the walls between networks, in one nftables table.

The table is ours alone: to be rid of every rule is to delete it. It is never changed piece by
piece. ``script`` writes it whole, from the networks that are up and the ports that are published,
and nft(8) puts it in the place of the last one in one transaction: there is no moment without
walls, and a crash leaves no half of it.

What the rules say:

- Containers of one network reach each other, and no container of another network, but for ports
  that are published.
- They reach the outside under this machine's address (masquerading), except on --internal networks.
- Nobody outside reaches a container but by a published port.
- This machine forwards packets for the containers' sake only: from the interfaces in ``opened`` it
  did not forward anything before we told it to, and what comes in there for others is dropped.
- A container cannot reach what listens on this machine's 127.0.0.1, although packets from there
  are routed to it (route_localnet) for the sake of published ports.

A rule of somebody else's that drops packets still drops them: ``minirun doctor --net`` finds it.
"""

from __future__ import annotations

from minirun.errors import Error, NotFound, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Port = dict[str, Any]

TABLE_NAME = "minirun"  # and, for a store with a --root, a number behind it
TABLE = """\
table inet {table}
delete table inet {table}
table inet {table} {{
    map ports4 {{
        typeof ip daddr . meta l4proto . th dport : ip daddr . th dport
        {ports4}
    }}
    map any4 {{
        typeof meta l4proto . th dport : ip daddr . th dport
        {any4}
    }}
    map ports6 {{
        typeof ip6 daddr . meta l4proto . th dport : ip6 daddr . th dport
        {ports6}
    }}
    map any6 {{
        typeof meta l4proto . th dport : ip6 daddr . th dport
        {any6}
    }}
    chain loopback {{
        type filter hook prerouting priority raw; policy accept;
        {loopback}
    }}
    chain arriving {{
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr != 127.0.0.0/8 fib daddr type local jump published
        meta nfproto ipv6 fib daddr type local jump published
    }}
    chain leaving {{
        type nat hook output priority -100; policy accept;
        meta nfproto ipv4 fib daddr type local jump published
        ip6 daddr != ::1 fib daddr type local jump published
    }}
    chain published {{
        dnat ip to ip daddr . meta l4proto . th dport map @ports4
        dnat ip to meta l4proto . th dport map @any4
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6
        dnat ip6 to meta l4proto . th dport map @any6
    }}
    chain departing {{
        type nat hook postrouting priority srcnat; policy accept;
        {masquerade}
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        {forward}
    }}
}}
"""


def script(table: str, networks: Sequence[dict[str, Any]], ports: Iterable[Port],
           opened: Sequence[str]) -> str:
    """The whole table for nft(8).

    A network has ``bridge``, ``subnets`` (texts) and ``internal``; a port is a published one with
    ``address``, the container's own; ``opened`` are names of sysctls (plant.open_ways).
    """  # fmt: skip
    bridges = _names(network["bridge"] for network in networks)
    return TABLE.format(
        table=table,
        loopback=_lines([f"iifname {bridges} ip daddr 127.0.0.0/8 drop"] if networks else []),
        masquerade=_lines(line for network in networks for line in masquerade(network)),
        forward=_lines(forward(networks, bridges, opened) if networks else []),
        **_maps(ports),
    )


def masquerade(network: dict[str, Any]) -> list[str]:
    """Whose packets leave under another address: those to the outside; those from this machine's
    127.0.0.1, which no container could answer; those to a container on the very network that they
    come from, by a published port, for the answer must come back here to be translated."""
    bridge, lines = network["bridge"], []
    for subnet in network["subnets"]:
        source = f"{family(subnet)} saddr {subnet}"
        if not network["internal"]:
            lines.append(f'{source} oifname != "{bridge}" masquerade')
        lines.append(f'{source} oifname "{bridge}" ct status dnat masquerade')
    return [*lines, f'ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade']


def forward(networks: Sequence[dict[str, Any]], bridges: str, opened: Sequence[str]) -> list[str]:
    lines = []
    for version in ("ipv4", "ipv6"):
        ways = [name.split("/")[2] for name in opened if name.startswith(version)]
        if ways:
            opened_only = f"meta nfproto {version} iifname {_names(ways)}"
            lines.append(f"{opened_only} oifname != {bridges} drop")
    lines.append(f"oifname {bridges} ct state established,related accept")
    lines += [f'iifname "{n["bridge"]}" oifname "{n["bridge"]}" accept' for n in networks]
    lines.append(f"oifname {bridges} ct status dnat accept")
    lines.append(f"oifname {bridges} drop")
    internal = [network["bridge"] for network in networks if network["internal"]]
    if internal:
        lines.append(f"iifname {_names(internal)} drop")
    return lines


def family(address: str) -> str:
    return "ip6" if ":" in address else "ip"


def _maps(ports: Iterable[Port]) -> dict[str, str]:
    elements: dict[str, list[str]] = {"ports4": [], "any4": [], "ports6": [], "any6": []}
    for port in ports:
        version = "6" if ":" in port["hostIp"] else "4"
        key = f"{port['protocol']} . {port['hostPort']}"
        target = f"{port['address']} . {port['containerPort']}"
        if port["hostIp"] in ("0.0.0.0", "::"):
            elements["any" + version].append(f"{key} : {target}")
        else:
            elements["ports" + version].append(f"{port['hostIp']} . {key} : {target}")
    return {
        name: f"elements = {{ {', '.join(sorted(found))} }}" if found else ""
        for name, found in elements.items()
    }


def _names(names: Iterable[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"


def _lines(lines: Iterable[str]) -> str:
    return "\n        ".join(lines)


def apply(text: str) -> None:
    """Have the kernel take a script as one transaction; Error if it refuses."""
    import subprocess

    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise NotFound(
            "networks need the program nft", hint="apt-get install nftables; or --network none"
        ) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise Error(
            f"nft refuses the firewall's rules: {printable(lines[0])}",
            hint="minirun doctor --net NAME",
        )


def tables() -> list[str]:
    """The tables of minirun that there are, of whatever store."""
    import subprocess

    command = ["nft", "list", "tables", "inet"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    names = [line.removeprefix("table inet ") for line in listed.stdout.splitlines()]
    return [name for name in names if name.partition("-")[0] == TABLE_NAME]


def remove(table: str) -> None:
    """Take every rule away; fine if there is none."""
    apply(f"table inet {table}\ndelete table inet {table}\n")
