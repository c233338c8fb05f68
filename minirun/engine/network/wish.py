"""What the network flags of ``run`` and ``create`` ask for, checked and put into the record.

    networkMode   "host", "none", "container:<id>", or the name of the first network
    networks      {name: {"aliases": […], "ip": "", "ip6": "", "mac": ""}}: changed by connect
    ports         what -p and -P publish (ports.parse)
    exposed       ["80/tcp", …]: by --expose and the image

Whether a network or a linked container exists is looked at here, at create, and again at each
start. Nothing is given out yet.
"""

from __future__ import annotations

from minirun.engine import exposure
from minirun.engine.network import addresses, ports
from minirun.engine.network.records import DEFAULT, WORDS, Networks
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from minirun.engine.state import State

    Record = dict[str, Any]

OTHER = "container:"
HOST_GATEWAY = "host-gateway"
ADDRESS_FLAGS = ("ip", "ip6", "mac_address", "network_alias", "link")
FILE_FLAGS = ("dns", "dns_search", "dns_option", "add_host", "hostname")
ENDPOINT_WORDS = ("name", "alias", "ip", "ip6", "mac-address")


def plan(state: State, options: Mapping[str, Any], exposed: Iterable[str]) -> Record:
    """The entries of the record. ``exposed`` is what the image names (ExposedPorts); of what makes
    no sense there, nothing is published. Raises UsageError, NotFound."""
    wanted = options.get("network") or (DEFAULT,)
    if "net" in exposure.parse(options.get("no", ())):
        wanted = ("host",)
    networks = dict(_endpoint(text) for text in wanted)
    if len(networks) < len(wanted):
        raise UsageError("--network: the same network twice")
    first = next(iter(networks))
    if len(networks) > 1 and any(n in WORDS or n.startswith(OTHER) for n in networks):
        raise UsageError("--network: host, none and container:NAME go with no other network")
    published = [port for text in options.get("publish", ()) for port in ports.parse(text)]
    all_exposed = _exposed(options.get("expose", ()), exposed)
    if options.get("publish_all"):
        published += ports.publish_all(all_exposed, published)
    _check_files(state, options)
    record: Record = {
        "networkMode": first, "networks": {}, "ports": published,
        "exposed": [f"{port}/{protocol}" for port, protocol in all_exposed],
    }  # fmt: skip
    if first in WORDS:
        _refuse(options, ADDRESS_FLAGS, first)
        if first == "none" and published:
            raise UsageError("-p: a container with --network none has nothing to be reached by")
        return record
    if first.startswith(OTHER):
        _refuse(options, (*ADDRESS_FLAGS, *FILE_FLAGS), first)
        if published or options.get("expose"):
            raise UsageError(
                f"-p: with --network {first} the ports are the other container's",
                hint="publish them when that one is created",
            )
        other = state.containers.find(first.removeprefix(OTHER))
        return record | {"networkMode": OTHER + other.id}
    record["networks"] = _named(state, networks, options)
    return record


def _endpoint(text: str) -> tuple[str, Record]:
    """``NAME``, or ``name=NAME,alias=A,ip=ADDRESS,…``"""
    place: Record = {"aliases": [], "ip": "", "ip6": "", "mac": ""}
    if "=" not in text:
        return DEFAULT if text == "default" else text, place
    name = ""
    for word in text.split(","):
        key, _, value = word.partition("=")
        if key not in ENDPOINT_WORDS or not value:
            raise UsageError(
                f"--network {printable(text)[:80]}: {printable(word)[:80]!r} makes no sense",
                hint=f"{', '.join(ENDPOINT_WORDS)}, each with =VALUE",
            )
        if key == "name":
            name = value
        elif key == "alias":
            place["aliases"].append(value)
        else:
            place[key.partition("-")[0]] = value
    if not name:
        raise UsageError(f"--network {printable(text)[:80]} has no name=NETWORK")
    return name, place


def _named(state: State, networks: dict[str, Record], options: Mapping[str, Any]) -> Record:
    """The places on networks that have names; the flags beside --network are about the first."""
    first = next(iter(networks.values()))
    for key in ("ip", "ip6", "mac"):
        flag = options.get("mac_address" if key == "mac" else key)
        if flag and first[key]:
            raise UsageError(f"--network has {key}= and --{key} is given, too")
        first[key] = first[key] or flag or ""
    first["aliases"] += options.get("network_alias", ())
    for name, place in networks.items():
        check_place(state, name, place)
    return networks


def check_place(state: State, name: str, place: Record) -> None:
    """Refuse what cannot be had on network ``name``."""
    if place["ip"]:
        addresses.parse_address("--ip", place["ip"], 4)
    if place["ip6"]:
        addresses.parse_address("--ip6", place["ip6"], 6)
    if place["mac"]:
        place["mac"] = addresses.parse_mac(place["mac"])
    for alias in place["aliases"]:
        check_host("--network-alias", alias)
    if name == DEFAULT:
        if place["aliases"]:
            raise UsageError(
                "--network-alias: on the default network nobody asks for names",
                hint="minirun network create NAME; then --network NAME",
            )
        return
    record = Networks(state.paths).find(name)
    if place["ip6"] and record["subnet6"] is None:
        raise UsageError(
            f"--ip6: network {name} has no IPv6 addresses", hint="network create --ipv6 has"
        )


def _refuse(options: Mapping[str, Any], flags: Iterable[str], mode: str) -> None:
    for flag in flags:
        if options.get(flag):
            name = "--" + flag.replace("_", "-")
            raise UsageError(f"{name} makes no sense with --network {printable(mode)[:80]}")


def _exposed(texts: Iterable[str], of_image: Iterable[str]) -> list[tuple[int, str]]:
    found = {pair for text in texts for pair in ports.parse_exposed(text)}
    for text in of_image:
        try:
            found.update(ports.parse_exposed(text))
        except UsageError:
            continue  # an image may say what it likes
    return sorted(found)


# --- hosts and resolv.conf ------------------------------------------------------------------------


def _check_files(state: State, options: Mapping[str, Any]) -> None:
    for text in options.get("add_host", ()):
        parse_host(text)
    for text in options.get("dns", ()):
        addresses.parse_address("--dns", text)
    for flag in ("dns_search", "dns_option"):
        for text in options.get(flag, ()):
            if not text or not text.isprintable() or " " in text or len(text) > 255:
                raise UsageError(f"--{flag.replace('_', '-')} {printable(text)[:80]!r}: no word")
    for text in options.get("link", ()):
        name, alias = parse_link(text)
        state.containers.find(name)
        check_host("--link", alias)


def parse_host(text: str) -> tuple[str, str]:
    """``--add-host NAME:ADDRESS``, also with ``=``; an IPv6 address may have brackets.

    >>> parse_host("db:[::1]")
    ('db', '::1')
    """
    name, separator, address = text.partition("=" if "=" in text else ":")
    address = address.removeprefix("[").removesuffix("]")
    if not separator:
        raise UsageError(
            f"--add-host {printable(text)[:80]} is no NAME:ADDRESS", hint="--add-host db:10.1.0.2"
        )
    check_host("--add-host", name)
    if address != HOST_GATEWAY:
        addresses.parse_address("--add-host", address)
    return name, address


def parse_link(text: str) -> tuple[str, str]:
    """``--link CONTAINER[:ALIAS]``"""
    name, _, alias = text.partition(":")
    name = name.removeprefix("/")
    return name, alias or name


def check_host(flag: str, name: str) -> None:
    """Refuse what would be more than one word in a hosts file, or no name in the name service."""
    labels = name.removesuffix(".").split(".")
    allowed = all(
        label and len(label) < 64 and label.isascii() and not set(label) - HOST_LETTERS
        for label in labels
    )
    if not allowed or len(name) > 253:
        raise UsageError(f"{flag} {printable(name)[:80]!r} is no name of a machine")


HOST_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
