"""minirun volume: create, ls, inspect, rm, prune"""

from __future__ import annotations

import click

from minirun.engine.command import Command, confirm, for_each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.engine.volumes import Volume, Volumes

FILTERS = "name, label, driver, dangling"


@click.group("volume")
def command() -> None:
    """Look after volumes: directories that outlive containers."""


def volumes_of(root: str | None) -> Volumes:
    from minirun.engine.state import open_state
    from minirun.engine.volumes import Volumes

    return Volumes(open_state(root))


@command.command("create", cls=Command)
@click.option("-d", "--driver", default="local", metavar="local", help="The only one there is.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="A note for people and tools.")
@click.option("-o", "--opt", multiple=True, metavar="NAME=VALUE",
              help="type=none, o=bind and device=DIR: it is this directory of the host.")
@click.option("--name", "old_name", hidden=True)  # before Docker 1.12 there was no argument
@click.argument("name", default="", metavar="[NAME]")
@click.pass_obj
def create(
    root: str | None, name: str, old_name: str | None, driver: str,
    label: tuple[str, ...], opt: tuple[str, ...],
) -> None:  # fmt: skip
    """Make a volume, and print its name. One that is there already stays as it is."""
    from minirun.engine.mountflags import check_driver, labels

    check_driver(driver)
    print(volumes_of(root).create(name or old_name or "", labels(label), labels(opt)).name)


@command.command("ls", cls=Command)
@click.option("-q", "--quiet", is_flag=True, help="Only the names.")
@click.option("-f", "--filter", "words", multiple=True, metavar="NAME=VALUE", help=FILTERS)
@click.option("--format", "form", metavar="TEMPLATE", help="json, or a Go template.")
@click.pass_obj
def ls(root: str | None, quiet: bool, words: tuple[str, ...], form: str | None) -> None:
    """List volumes."""
    from minirun.engine import filters, output

    volumes = volumes_of(root)
    shown = list(filter(filters.keep(words, tests(volumes)), volumes.all()))
    output.show(shown, fields(), ("Driver", "Name"), form, quiet=quiet, key="Name")


def fields() -> dict[str, Any]:
    """What Docker counts only for ``system df`` or on clusters is N/A here, too."""
    return {
        "Driver": ("DRIVER", lambda v: "local"),
        "Name": ("VOLUME NAME", lambda v: v.name),
        "Scope": ("SCOPE", lambda v: "local"),
        "Mountpoint": ("MOUNTPOINT", lambda v: v.data),
        "Labels": ("LABELS", lambda v: ",".join(f"{k}={x}" for k, x in sorted(v.labels.items()))),
        **{
            name: (name.upper(), lambda v: "N/A")
            for name in ("Availability", "Group", "Links", "Size", "Status")
        },
        "Label": (None, lambda v, key: v.labels.get(key, "")),
    }


def tests(volumes: Volumes) -> dict[str, Any]:
    from minirun.engine import filters

    return {
        "name": filters.pattern(lambda v: [v.name]),
        "label": filters.label(lambda v: v.labels),
        "driver": lambda value: lambda v: value == "local",
        "dangling": filters.truth("dangling", lambda v: not volumes.users(v.name)),
    }


@command.command("inspect", cls=Command)
@click.option("-f", "--format", "form", metavar="TEMPLATE", help="json, or a Go template.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def inspect(root: str | None, names: tuple[str, ...], form: str | None) -> int:
    """Show all there is to know of volumes, as a JSON array."""
    from minirun.engine import inspecting

    volumes = volumes_of(root)
    return inspecting.inspect(names, lambda name: volumes.find(name).describe(), form)


@command.command("rm", cls=Command)
@click.option("-f", "--force", is_flag=True, help="One that is not there is no error.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def rm(root: str | None, names: tuple[str, ...], force: bool) -> int:
    """Remove volumes that no container has, with all that is in them."""
    from minirun.errors import NotFound

    volumes = volumes_of(root)

    def remove(name: str) -> None:
        try:
            volumes.remove(name)
        except NotFound:
            if not force:
                raise

    return for_each(names, remove)


@command.command("prune", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have a name.")
@click.option("--filter", "words", multiple=True, metavar="NAME=VALUE", help="label, label!")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(root: str | None, everything: bool, words: tuple[str, ...], force: bool) -> None:
    """Remove nameless volumes (with -a: all) that no container has."""
    from minirun.engine import filters, table

    def labels(volume: Volume) -> dict[str, str]:
        return volume.labels

    fits = filters.keep(
        words, {"label": filters.label(labels), "label!": filters.label(labels, without=True)}
    )
    volumes = volumes_of(root)
    which = "" if everything else "nameless "
    confirm(f"Remove all {which}volumes that no container has?", force)
    removed, freed = volumes.prune(lambda v: (everything or v.is_anonymous) and fits(v))
    if removed:
        print("Deleted Volumes:", *removed, "", sep="\n")
    print(f"Total reclaimed space: {table.size(freed)}")
