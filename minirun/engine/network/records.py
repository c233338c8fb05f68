"""The networks that there are. Each is one file, networks/<id>.json, written whole.

    id, name, driver ("bridge"), created (seconds since 1970), labels, options
    subnet, gateway, ipRange             IPv4, as texts
    subnet6, gateway6                    IPv6; None where it has none
    chosen                               true: the subnet is what a user asked for, and stays
    internal                             true: nothing leads out
    bridge, mtu                          the interface that is made when a container needs it

``bridge`` is the default one, made when first needed. ``host`` and ``none`` are words, not records.
Whoever changes one, or gives addresses out, holds ``leases.lock``.
"""

from __future__ import annotations

import ipaddress
import os
import time

from minirun.engine import container as documents
from minirun.engine.network import addresses, upstream
from minirun.engine.paths import RUN
from minirun.errors import NotFound, StateError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from minirun.engine.paths import Paths

    Record = dict[str, Any]

DEFAULT = "bridge"
WORDS = ("host", "none")  # what --network knows besides names
RESERVED = (DEFAULT, "default", "container", *WORDS)
BRIDGE_NAME = "com.docker.network.bridge.name"  # the options of Docker's driver that we know
MTU = "com.docker.network.driver.mtu"
OPTIONS = (BRIDGE_NAME, MTU)
OWN_BRIDGE, BRIDGES = "minirun0", "mr-"  # of the machine's default network, and all others
LONGEST_INTERFACE = 15  # IFNAMSIZ, without the zero at its end


class Networks:
    """All networks of one store."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def all(self) -> list[Record]:
        """Every network whose record can be read, the oldest first."""
        found = []
        for file in os.listdir(self.paths.networks):
            if file.endswith(".json"):
                record = documents.read(f"{self.paths.networks}/{file}")
                if record and "subnet" in record:
                    found.append(record)
        return sorted(found, key=lambda record: float(record["created"]))

    def find(self, text: str) -> Record:
        """The network with this name, this id, or the only one whose id begins like this."""
        documents.check_name(text)
        records = self.all()
        name = DEFAULT if text == "default" else text
        for record in records:
            if name in (record["name"], record["id"]):
                return record
        fitting = [record for record in records if record["id"].startswith(text)]
        if len(fitting) > 1:
            raise UsageError(f"multiple networks found with provided prefix: {text}")
        if not fitting:
            raise NotFound(f"no such network: {text}", hint=f"minirun network create {text}")
        return fitting[0]

    def default(self) -> Record:
        """The network of containers that ask for none; made now if there is none yet."""
        try:
            return self.find(DEFAULT)
        except NotFound:
            return self.create(DEFAULT)

    def create(
        self,
        name: str,
        *,
        subnets: Iterable[str] = (),
        gateways: Iterable[str] = (),
        ip_range: str | None = None,
        ipv6: bool = False,
        internal: bool = False,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Record:
        """A new network; StateError when the name is taken, UsageError for what makes no sense."""
        documents.check_name(name)
        if any(record["name"] == name for record in self.all()):
            raise StateError(f"network with name {name} already exists")
        ident = os.urandom(32).hex()
        options = dict(options or {})
        record: Record = {
            "id": ident, "name": name, "driver": "bridge", "created": time.time(),
            "labels": dict(labels or {}), "options": options, "internal": internal,
            "bridge": self._bridge_name(name, ident, options), "mtu": _mtu(options),
            "chosen": False, "ipRange": None, "subnet6": None, "gateway6": None,
        }  # fmt: skip
        self._set_subnets(record, subnets, gateways, ip_range)
        if ipv6 and record["subnet6"] is None:
            self._set_subnet(record, "6", addresses.free_subnet6(os.urandom(5)))
        self.save(record)
        return record

    def _bridge_name(self, name: str, ident: str, options: Mapping[str, str]) -> str:
        unknown = [option for option in options if option not in OPTIONS]
        if unknown:
            raise UsageError(
                f"--opt {printable(unknown[0])[:80]}: unknown", hint=f"one of {', '.join(OPTIONS)}"
            )
        if BRIDGE_NAME in options:
            return check_interface(options[BRIDGE_NAME])
        is_own = name == DEFAULT and self.paths.run == RUN
        return OWN_BRIDGE if is_own else BRIDGES + ident[:12]

    def _set_subnets(
        self, record: Record, subnets: Iterable[str], gateways: Iterable[str], ip_range: str | None
    ) -> None:
        for text in subnets:
            subnet = addresses.parse_subnet(text)
            suffix = _suffix(subnet.version)
            if record.get("subnet" + suffix):
                raise UsageError(f"--subnet {text}: one for IPv4 and one for IPv6, no more")
            self._check_free(subnet)
            self._set_subnet(record, suffix, subnet)
            record["chosen"] = record["chosen"] or subnet.version == 4
        if "subnet" not in record:
            self.choose_subnet(record)
        for text in gateways:
            address = addresses.parse_address("--gateway", text)
            subnet_text = record["subnet" + _suffix(address.version)]
            if not record["chosen"] or subnet_text is None:
                raise UsageError(f"--gateway {text} needs the --subnet that it is in")
            if address not in ipaddress.ip_network(subnet_text):
                raise UsageError(f"--gateway {text} is not in {subnet_text}")
            record["gateway" + _suffix(address.version)] = str(address)
        if ip_range is not None:
            record["ipRange"] = self._ip_range(record, ip_range)

    def _ip_range(self, record: Record, text: str) -> str:
        area = addresses.parse_subnet(text)
        subnet = ipaddress.ip_network(record["subnet"])
        if not record["chosen"] or area.version != 4 or not area.subnet_of(subnet):  # type: ignore[arg-type]
            raise UsageError(f"--ip-range {text} is not in a --subnet for IPv4")
        return str(area)

    def _check_free(self, subnet: addresses.Network) -> None:
        for other in self.all():
            for text in (other["subnet"], other["subnet6"]):
                if text and subnet.overlaps(ipaddress.ip_network(text)):
                    raise StateError(
                        f"--subnet {subnet} overlaps with {text}, which is network {other['name']}",
                        hint="minirun network ls, and network rm what is not needed",
                    )

    def _set_subnet(self, record: Record, suffix: str, subnet: addresses.Network) -> None:
        record["subnet" + suffix] = str(subnet)
        record["gateway" + suffix] = str(addresses.first_address(subnet))

    def choose_subnet(self, record: Record) -> None:
        """Give it a subnet that neither a route of this machine nor another network has."""
        others = [other["subnet"] for other in self.all() if other["id"] != record["id"]]
        taken = [ipaddress.ip_network(text) for text in others]
        self._set_subnet(record, "", addresses.free_subnet([*taken, *routes(record["bridge"])]))

    def settle_subnet(self, record: Record) -> Record:
        """Before the first container is put on it: if a route leads elsewhere by now (a VPN came
        up), another subnet; StateError where a user chose this one."""
        subnet = ipaddress.ip_network(record["subnet"])
        clash = next((r for r in routes(record["bridge"]) if r.overlaps(subnet)), None)
        if clash is None:
            return record
        if record["chosen"]:
            raise StateError(
                f"network {record['name']}: a route of this machine to {clash} leads into its "
                f"subnet {subnet}",
                hint="ip route shows whose it is; or make the network anew with another --subnet",
            )
        self.choose_subnet(record)
        self.save(record)
        return record

    def save(self, record: Record) -> None:
        documents.write(f"{self.paths.networks}/{record['id']}.json", record)

    def remove(self, record: Record) -> None:
        os.unlink(f"{self.paths.networks}/{record['id']}.json")


def subnets(record: Record) -> list[str]:
    return [text for text in (record["subnet"], record["subnet6"]) if text]


def has_resolver(network: Record) -> bool:
    """Networks that users have made know names. The default one, as Docker's, has a name server
    only where the containers could ask nobody else."""
    return network["name"] != DEFAULT or not upstream.servers_of(upstream.read_host(), {})


def check_interface(name: str) -> str:
    fits = name.isascii() and name.isprintable() and not set(name) & set('/: "{},;\\\'')
    if not fits or not 0 < len(name) <= LONGEST_INTERFACE or name in (".", ".."):
        raise UsageError(f"{printable(name)[:80]!r} is no name for an interface")
    return name


def _mtu(options: Mapping[str, str]) -> int | None:
    text = options.get(MTU)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 68 <= int(text[:9]) <= 65535:
        raise UsageError(f"--opt {MTU}={printable(text)[:80]}: from 68 to 65535")
    return int(text)


def _suffix(version: int) -> str:
    return "6" if version == 6 else ""


def routes(but: str) -> list[addresses.Network]:
    """Where this machine's IPv4 routes lead, but for the default ones and those of interface
    ``but``. proc_net(5), route"""
    with open("/proc/net/route", encoding="ascii") as file:
        return parse_routes(file.read(), but)


def parse_routes(text: str, but: str) -> list[addresses.Network]:
    """The table of /proc/net/route: the numbers are hexadecimal, in the machine's byte order."""
    import sys

    found: list[addresses.Network] = []
    for line in text.splitlines()[1:]:
        interface, destination, _, _, _, _, _, mask, *_ = line.split()
        octets = [int(word, 16).to_bytes(4, sys.byteorder) for word in (destination, mask)]
        prefix = int.from_bytes(octets[1], "big").bit_count()
        if prefix and interface != but:
            found.append(ipaddress.IPv4Network((octets[0], prefix)))
    return found
