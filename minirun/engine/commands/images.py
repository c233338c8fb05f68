"""minirun images"""

from __future__ import annotations

import click

from minirun.engine.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.store import Image

NONE = "<none>"


@click.command("images", cls=Command)
@click.option("-q", "--quiet", is_flag=True, help="Only the IDs.")
@click.option("-a", "--all", "_all", is_flag=True, help="For Docker's sake: all are shown anyway.")
@click.option("--digests", is_flag=True, help="Also the digests by which registries know them.")
@click.option("--no-trunc", is_flag=True, help="IDs in full.")
@click.argument("name", required=False)
@click.pass_obj
def command(
    root: str | None, quiet: bool, _all: bool, digests: bool, no_trunc: bool, name: str | None
) -> None:
    """List images, all of them or those of one NAME.

    SIZE is what a pull transfers: the layers as they are compressed. ID is the digest of the
    image's config.
    """
    from minirun.engine import table
    from minirun.engine.state import open_state

    images = [image for image in open_state(root).images() if name is None or fits(image, name)]
    images.sort(key=lambda image: table.timestamp(image.created) or 0, reverse=True)
    ids = [image.id if no_trunc else image.id.partition(":")[2][:12] for image in images]
    if quiet:
        print(*dict.fromkeys(ids), sep="\n", end="\n" if ids else "")
        return
    header = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"]
    rows = [
        [*names(image), image.source, ident, age(image), table.size(image.size)]
        for image, ident in zip(images, ids, strict=True)
    ]
    if not digests:
        for row in (header, *rows):
            del row[2]
    print(table.render(header, rows))


def age(image: Image) -> str:
    from minirun.engine import table

    return table.ago(table.timestamp(image.created))


def names(image: Image) -> tuple[str, str]:
    """The repository and tag, as people write them."""
    if image.name is None:
        return NONE, NONE
    from minirun.image import reference

    found = reference.parse(image.name)
    familiar = found._replace(tag=None, digest=None).familiar
    return familiar, found.tag or NONE


def fits(image: Image, name: str) -> bool:
    """Whether the image is in repository ``name``, or has just this name."""
    from minirun.image import reference

    if image.name is None:
        return False
    found, wanted = reference.parse(image.name), reference.parse(name)
    return found.name == wanted.name and (":" not in name.rpartition("/")[2] or found == wanted)
