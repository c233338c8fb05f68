"""minirun port"""

from __future__ import annotations

import click

from minirun.engine.command import Command


@click.command("port", cls=Command)
@click.argument("name", metavar="CONTAINER")
@click.argument("port", required=False, metavar="[PORT[/PROTOCOL]]")
@click.pass_obj
def command(root: str | None, name: str, port: str | None) -> None:
    """Show where a container's published ports are reached."""
    from minirun.engine.network.ports import parse_exposed
    from minirun.engine.state import open_state
    from minirun.errors import NotFound

    container = open_state(root).containers.find(name)
    published = container.state.get("ports") or [] if container.is_up else []
    if port is None:
        for one in published:
            print(f"{one['containerPort']}/{one['protocol']} -> {address(one)}")
        return
    wanted, protocol = parse_exposed(port)[0]
    found = [
        one for one in published if (one["containerPort"], one["protocol"]) == (wanted, protocol)
    ]
    if not found:
        raise NotFound(f"no public port '{wanted}/{protocol}' published for {name}")
    for one in found:
        print(address(one))


def address(port: dict[str, object]) -> str:
    host = str(port["hostIp"])
    return f"[{host}]:{port['hostPort']}" if ":" in host else f"{host}:{port['hostPort']}"
