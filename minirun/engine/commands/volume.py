"""minirun volume: create, ls, inspect, rm, prune"""

from __future__ import annotations

import click

from minirun.engine.command import Command, confirm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.volumes import Volumes


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
@click.pass_obj
def ls(root: str | None, quiet: bool) -> None:
    """List volumes."""
    from minirun.engine import table

    names = [volume.name for volume in volumes_of(root).all()]
    if quiet:
        print(*names, sep="\n", end="\n" if names else "")
    else:
        print(table.render(["DRIVER", "VOLUME NAME"], [["local", name] for name in names]))


@command.command("inspect", cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def inspect(root: str | None, names: tuple[str, ...]) -> None:
    """Show all there is to know of volumes, as a JSON array."""
    import json

    volumes = volumes_of(root)
    print(json.dumps([volumes.find(name).describe() for name in names], indent=4))


@command.command("rm", cls=Command)
@click.option("-f", "--force", is_flag=True, help="One that is not there is no error.")
@click.argument("names", nargs=-1, required=True, metavar="VOLUME...")
@click.pass_obj
def rm(root: str | None, names: tuple[str, ...], force: bool) -> int:
    """Remove volumes that no container has, with all that is in them."""
    from minirun.errors import Error, NotFound, render

    volumes = volumes_of(root)
    code = 0
    for name in names:
        try:
            volumes.remove(name)
        except Error as error:
            if not (force and isinstance(error, NotFound)):
                click.echo(render(error), err=True)
                code = error.exit_code
                continue
        print(name)
    return code


@command.command("prune", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that have a name.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(root: str | None, everything: bool, force: bool) -> None:
    """Remove nameless volumes (with -a: all) that no container has."""
    from minirun.engine import table

    volumes = volumes_of(root)
    which = "" if everything else "nameless "
    confirm(f"Remove all {which}volumes that no container has?", force)
    removed, freed = volumes.prune(lambda volume: everything or volume.is_anonymous)
    if removed:
        print("Deleted Volumes:", *removed, "", sep="\n")
    print(f"Total reclaimed space: {table.size(freed)}")
