"""minirun system: df, prune, check, start, unit"""

from __future__ import annotations

import sys

import click

from minirun.engine.command import Command, confirm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.disk import Disk, Kind
    from minirun.image.damage import Damage


@click.group("system")
def command() -> None:
    """Look after the store, and this machine's part in it."""


# --- df -----------------------------------------------------------------------------------------


@command.command("df", cls=Command)
@click.option("-v", "--verbose", is_flag=True, help="Each image, container and volume.")
@click.option("--format", "form", metavar="TEMPLATE", help="json, 'table {{.Type}}', …")
@click.pass_obj
def df(root: str | None, verbose: bool, form: str | None) -> None:
    """Show what takes how much room on the disk, and how much of it nothing needs."""
    from minirun.engine import output, table
    from minirun.engine.disk import Disk
    from minirun.engine.state import open_state

    disk = Disk(open_state(root))
    if verbose:
        print_each(disk)
        return
    fields: output.Fields = {
        "Type": ("TYPE", lambda kind: kind.name),
        "TotalCount": ("TOTAL", lambda kind: str(kind.total)),
        "Active": ("ACTIVE", lambda kind: str(kind.active)),
        "Size": ("SIZE", lambda kind: table.size(kind.size)),
        "Reclaimable": ("RECLAIMABLE", reclaimable),
    }
    output.show(disk.kinds(), fields, list(fields), form)


def reclaimable(kind: Kind) -> str:
    from minirun.engine import table

    share = f" ({100 * kind.unneeded // kind.size}%)" if kind.size else ""
    return table.size(kind.unneeded) + share


def print_each(disk: Disk) -> None:
    """Three tables. Of an image: all of its files, and those that it has alone."""
    from minirun.engine import listing, output, table

    files = {image.digest: disk.files(image) for image in disk.images}
    rows = []
    for image in disk.images:
        others = set().union(*(f for digest, f in files.items() if digest != image.digest))
        own, shared = files[image.digest] - others, files[image.digest] & others
        rows.append([
            image.name or "<none>", image.id[7:19], table.ago(table.timestamp(image.created)),
            table.size(disk.size(own | shared)), table.size(disk.size(shared)),
            table.size(disk.size(own)), str(disk.users(image)),
        ])  # fmt: skip
    header = ["IMAGE", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"]
    output.write("Images space usage:\n\n" + table.render(header, rows))
    rows = [
        [c.id[:12], str(c.record.get("image", "")), table.size(disk.written(c)),
         table.ago(float(c.record.get("created", 0))), listing.status(c), c.name]
        for c in disk.containers
    ]  # fmt: skip
    header = ["CONTAINER ID", "IMAGE", "SIZE", "CREATED", "STATUS", "NAMES"]
    output.write("\n\nContainers space usage:\n\n" + table.render(header, rows))
    rows = [[v.name, str(users), table.size(v.size())] for v, users in disk.volumes()]
    header = ["VOLUME NAME", "LINKS", "SIZE"]
    output.write("\n\nLocal Volumes space usage:\n\n" + table.render(header, rows) + "\n")


# --- prune --------------------------------------------------------------------------------------


@command.command("prune", cls=Command)
@click.option("-a", "--all", "everything", is_flag=True, help="Also images that have a name.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--volumes", is_flag=True, help="Also nameless volumes.")
@click.option("--filter", "words", multiple=True, metavar="NAME=VALUE",
              help="Only those that fit: until=24h, label=team, label!=keep.")
@click.pass_obj
def prune(
    root: str | None, everything: bool, force: bool, volumes: bool, words: tuple[str, ...]
) -> None:
    """Remove all containers that do not run, and what then nothing needs."""
    from minirun.engine import cleaning, table
    from minirun.engine.commands.image import print_pruned
    from minirun.engine.state import open_state

    state = open_state(root)
    what = ["containers that do not run", "networks that no container is on"]
    what += ["nameless volumes that no container has"] if volumes else []
    what += ["images that no container uses" if everything else "images without a name"]
    confirm(f"Remove all {', '.join(what[:-1])} and {what[-1]}?", force)
    removed, freed = cleaning.prune_system(state, words, everything=everything, volumes=volumes)
    for kind, names in removed.items():
        print_pruned(kind, names)
    print(f"Total reclaimed space: {table.size(freed)}")


# --- check --------------------------------------------------------------------------------------


@command.command("check", cls=Command)
@click.option("--repair", is_flag=True, help="Mend what can be mended, and remove what is lost.")
@click.option("-q", "--quick", is_flag=True, help="Do not read images and layers again.")
@click.pass_obj
def check(root: str | None, repair: bool, quick: bool) -> int:
    """Look for damage: in images, layers, containers and volumes, and what was left behind.

    Every byte of every image is read again, so it takes its time. The exit code is 1 if something
    is wrong and stays so.
    """
    from minirun.engine import check as checking
    from minirun.engine import table
    from minirun.engine.state import open_state

    state = open_state(root)
    found = wrong = 0
    for damage in checking.damages(state, quick=quick):
        found += 1
        wrong += not tell(damage, repair)
    unneeded, size = checking.leftovers(state) if not wrong else ([], 0)
    if unneeded:
        unused = table.size(size)
        print(f"nothing needs {unused} of the store: minirun image prune", file=sys.stderr)
    if not found:
        print("no damage", file=sys.stderr)
    return 1 if wrong else 0


def tell(damage: Damage, repair: bool) -> bool:
    """Say what is wrong, mend it if it shall be; whether it is mended."""
    from minirun.engine import output
    from minirun.errors import Error

    line, mended = f"{damage.what}: {damage.problem}", False
    if damage.repair and repair:
        try:
            line += f" → {damage.repair()}"
            mended = True
        except (Error, OSError) as error:
            line += f" → cannot be mended: {error}"
    elif damage.repair:
        line += " (--repair helps)"
    output.write(line + "\n")
    if damage.hint:
        print(f"hint: {damage.hint}", file=sys.stderr)
    return mended


# --- after a reboot -----------------------------------------------------------------------------


@command.command("start", cls=Command)
@click.pass_obj
def start(root: str | None) -> int:
    """Start what ran when the machine ended, as the restart policies say."""
    from minirun.engine import starting
    from minirun.engine.state import open_state

    return 1 if starting.start_all_after_boot(open_state(root)) else 0


UNIT = """\
# Starts the containers that want it (--restart always, unless-stopped) when the machine starts.
#
#   minirun system unit > /etc/systemd/system/minirun.service
#   systemctl enable --now minirun
#
# Containers are nobody's children here: they are not this unit's, and go on when it is stopped.
[Unit]
Description=Containers of minirun
Documentation=man:systemd.unit(5)
Wants=network-online.target
After=network-online.target local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
KillMode=process
{environment}ExecStart={command} system start

[Install]
WantedBy={target}
"""


@command.command("unit", cls=Command)
@click.pass_obj
def unit(root: str | None) -> None:
    """Print a unit for systemd that starts containers when the machine starts."""
    import os

    program = os.path.abspath(sys.argv[0])
    target = "default.target" if os.geteuid() else "multi-user.target"
    environment = f"Environment=MINIRUN_ROOT={os.path.abspath(root)}\n" if root else ""
    print(UNIT.format(command=program, environment=environment, target=target), end="")
