"""minirun network: create, ls, inspect, rm, connect, disconnect, prune"""

from __future__ import annotations

import click

from minirun.engine.command import Command, confirm, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.state import State

    Record = dict[str, Any]

SHORT = 12
COLUMNS = ("ID", "Name", "Driver", "Scope")


@click.group("network")
def command() -> None:
    """Look after networks: bridges that containers are plugged into."""


@command.command("create", cls=Command)
@click.option("-d", "--driver", default="bridge", metavar="bridge", help="The only one there is.")
@click.option("--subnet", multiple=True, metavar="CIDR", help="Its addresses, e.g. 10.1.0.0/24.")
@click.option("--gateway", multiple=True, metavar="ADDRESS", help="This machine's address in it.")
@click.option("--ip-range", metavar="CIDR", help="Give out addresses of this part only.")
@click.option("--internal", is_flag=True, help="Nothing leads out.")
@click.option("--ipv6", is_flag=True, help="IPv6 addresses, too.")
@click.option("--label", multiple=True, metavar="KEY[=VALUE]", help="A note for people and tools.")
@click.option("-o", "--opt", multiple=True, metavar="NAME=VALUE",
              help="com.docker.network.driver.mtu, com.docker.network.bridge.name")
@click.argument("name")
@click.pass_obj
def create(root: str | None, /, name: str, driver: str, label: tuple[str, ...],
           opt: tuple[str, ...], **words: Any) -> None:  # fmt: skip
    """Make a network, and print its ID. Containers on it find each other by their names."""
    from minirun.engine import events
    from minirun.engine.network.leases import Leases
    from minirun.engine.network.records import RESERVED, Networks
    from minirun.engine.state import open_state
    from minirun.errors import UsageError, printable

    if driver != "bridge":
        raise UsageError(
            f"--driver {printable(driver)[:80]}: there are only bridges on one machine",
            hint="--network host and --network none need no network to be made",
        )
    if name in RESERVED:
        raise UsageError(f"{name} cannot be the name of a network: --network {name} means another")
    state = open_state(root)
    words |= {"subnets": words.pop("subnet"), "gateways": words.pop("gateway")}
    with Leases(state.paths):
        record = Networks(state.paths).create(
            name, labels=_pairs(label), options=_pairs(opt), **words
        )
    events.emit(state.paths, "network", "create", record["id"], name=name, type="bridge")
    print(record["id"])


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}


@command.command("ls", cls=Command)
@click.option("-q", "--quiet", is_flag=True, help="Only the IDs.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="NAME=VALUE",
              help="name, id, label, driver, type, scope, dangling")
@click.option("--format", "form", metavar="TEMPLATE", help="json, or a Go template.")
@click.option("--no-trunc", is_flag=True, help="IDs in full.")
@click.pass_obj
def ls(root: str | None, quiet: bool, filters: tuple[str, ...], form: str | None,
       no_trunc: bool) -> None:  # fmt: skip
    """List networks. host and none are no networks, but words that --network knows."""
    from minirun.engine import output
    from minirun.engine.filters import keep
    from minirun.engine.state import open_state

    state = open_state(root)
    fits = keep(filters, _tests(state))
    shown = [network for network in _all(state) if fits(network)]
    output.show(shown, _fields(no_trunc), COLUMNS, form, quiet=quiet)


def _all(state: State) -> list[Record]:
    """By name, with the two that Docker's users know besides."""
    from hashlib import sha256

    from minirun.engine.network.records import Networks

    networks = Networks(state.paths)
    networks.default()
    words: list[Record] = [
        {"id": sha256(name.encode()).hexdigest(), "name": name, "driver": driver, "created": 0,
         "labels": {}, "internal": False, "subnet6": None}
        for name, driver in (("host", "host"), ("none", "null"))
    ]  # fmt: skip
    return sorted([*networks.all(), *words], key=lambda record: str(record["name"]))


def _fields(no_trunc: bool) -> dict[str, Any]:
    from minirun.engine.describe.moments import moment

    return {
        "ID": ("NETWORK ID", lambda n: n["id"] if no_trunc else n["id"][:SHORT]),
        "Name": ("NAME", lambda n: n["name"]),
        "Driver": ("DRIVER", lambda n: n["driver"]),
        "Scope": ("SCOPE", lambda n: "local"),
        "IPv6": ("IPV6", lambda n: str(n["subnet6"] is not None).lower()),
        "Internal": ("INTERNAL", lambda n: str(n["internal"]).lower()),
        "Labels": ("LABELS", lambda n: ",".join(f"{k}={v}" for k, v in n["labels"].items())),
        "CreatedAt": ("CREATED AT", lambda n: moment(n["created"])),
        "Label": (None, lambda n, key: n["labels"].get(key, "")),
    }


def _tests(state: State) -> dict[str, Any]:
    from minirun.engine import filters
    from minirun.engine.network import leases

    used = {lease["network"] for lease in leases.read(leases.Leases(state.paths).path)}
    predefined = ("bridge", "host", "none")
    return {
        "name": filters.pattern(lambda n: [n["name"]]),
        "id": lambda value: lambda n: n["id"].startswith(value),
        "label": filters.label(lambda n: n["labels"]),
        "driver": lambda value: lambda n: n["driver"] == value,
        "scope": lambda value: lambda n: value == "local",
        "type": lambda value: lambda n: (n["name"] in predefined) == (value == "builtin"),
        "dangling": filters.truth(
            "dangling", lambda n: n["name"] not in predefined and n["id"] not in used
        ),
    }


@command.command("inspect", cls=Command)
@click.option("-f", "--format", "form", metavar="TEMPLATE", help="json, or a Go template.")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@click.pass_obj
def inspect(root: str | None, names: tuple[str, ...], form: str | None) -> int:
    """Show all there is to know of networks, and who is on them."""
    from minirun.engine import inspecting
    from minirun.engine.describe import networking
    from minirun.engine.network.records import Networks
    from minirun.engine.state import open_state

    state = open_state(root)
    networks = Networks(state.paths)
    networks.default()
    return inspecting.inspect(
        names, lambda name: networking.network(state, networks.find(name)), form
    )


@command.command("rm", cls=Command)
@click.option("-f", "--force", is_flag=True, help="One that is not there is no error.")
@click.argument("names", nargs=-1, required=True, metavar="NETWORK...")
@click.pass_obj
def rm(root: str | None, names: tuple[str, ...], force: bool) -> int:
    """Remove networks on which no container is running."""
    from minirun.engine.network import joining
    from minirun.engine.state import open_state
    from minirun.errors import NotFound

    state = open_state(root)

    def remove(name: str) -> None:
        try:
            joining.remove(state, name)
        except NotFound:
            if not force:
                raise

    return for_each(names, remove)


@command.command("connect", cls=Command)
@click.option("--alias", multiple=True, metavar="NAME", help="One more name on this network.")
@click.option("--ip", default="", metavar="ADDRESS", help="Its IPv4 address.")
@click.option("--ip6", default="", metavar="ADDRESS", help="Its IPv6 address.")
@click.argument("network")
@click.argument("container")
@click.pass_obj
def connect(root: str | None, network: str, container: str, alias: tuple[str, ...], ip: str,
            ip6: str) -> None:  # fmt: skip
    """Put a container on one more network."""
    from minirun.engine.network import joining
    from minirun.engine.network.records import Networks
    from minirun.engine.state import open_state

    state = open_state(root)
    place = {"aliases": list(alias), "ip": ip, "ip6": ip6, "mac": ""}
    networks = Networks(state.paths)
    networks.default()
    joining.connect(state, networks.find(network), state.containers.find(container), place)


@command.command("disconnect", cls=Command)
@click.argument("network")
@click.argument("container")
@click.pass_obj
def disconnect(root: str | None, network: str, container: str) -> None:
    """Take a container off a network."""
    from minirun.engine.network import joining
    from minirun.engine.network.records import Networks
    from minirun.engine.state import open_state

    state = open_state(root)
    found = Networks(state.paths).find(network)
    joining.disconnect(state, found, state.containers.find(container))


@command.command("prune", cls=Command)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(root: str | None, force: bool) -> None:
    """Remove the networks on which no container is running."""
    from minirun.engine.network import joining
    from minirun.engine.state import open_state

    state = open_state(root)
    confirm("Remove all networks on which no container is running?", force)
    removed = joining.prune(state)
    if removed:
        print("Deleted Networks:", *removed, "", sep="\n")
