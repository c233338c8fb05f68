"""minirun images"""

from __future__ import annotations

import click

from minirun.engine.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.filters import Maker, Test
    from minirun.engine.output import Fields
    from minirun.engine.state import State
    from minirun.image.store import Image

NONE = "<none>"
COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")


@click.command("images", cls=Command)
@click.option("-q", "--quiet", is_flag=True, help="Only the IDs.")
@click.option("-a", "--all", "_all", is_flag=True, help="For Docker's sake: all are shown anyway.")
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="dangling=true, reference='alp*', label=, before=, since=IMAGE, until=TIME",
)
@click.option("--format", "form", metavar="TEMPLATE", help="json, 'table {{.ID}}', …")
@click.option("--digests", is_flag=True, help="Also the digests by which registries know them.")
@click.option("--no-trunc", is_flag=True, help="IDs in full.")
@click.argument("name", required=False)
@click.pass_obj
def command(root: str | None, quiet: bool, _all: bool, filters: tuple[str, ...], form: str | None,
            digests: bool, no_trunc: bool, name: str | None) -> None:  # fmt: skip
    """List images, all of them or those of one NAME.

    SIZE is what a pull transfers: the layers as they are compressed. ID is the digest of the
    image's config.
    """
    from minirun.engine import output
    from minirun.engine.filters import keep
    from minirun.engine.state import open_state

    state = open_state(root)
    wanted = (*filters, f"reference={name}") if name else filters
    images = list(filter(keep(wanted, tests(state)), readable(state.images())))
    images.sort(key=created, reverse=True)
    if quiet:
        images = list({image.id: image for image in images}.values())
    columns = (*COLUMNS[:2], "Digest", *COLUMNS[2:]) if digests else COLUMNS
    output.show(images, fields(full=no_trunc), columns, form, quiet=quiet)


def readable(images: list[Image]) -> list[Image]:
    """Without those whose blobs are damaged; they are told of."""
    from minirun.engine.state import warn
    from minirun.errors import Error

    found = []
    for image in images:
        try:
            image.config  # noqa: B018 (read, with the manifest, when first asked for)
            found.append(image)
        except Error as error:
            warn(error.message)
    return found


def fields(*, full: bool) -> Fields:
    from minirun.engine import listing, table

    return {
        "ID": ("IMAGE ID", lambda i: i.id if full else i.id.partition(":")[2][:12]),
        "Repository": ("REPOSITORY", lambda i: names(i)[0]),
        "Tag": ("TAG", lambda i: names(i)[1]),
        "Digest": ("DIGEST", lambda i: i.source),
        "CreatedSince": ("CREATED", lambda i: table.ago(table.timestamp(i.created))),
        "CreatedAt": ("CREATED AT", lambda i: listing.stamp(table.timestamp(i.created)) or "N/A"),
        "Size": ("SIZE", lambda i: table.size(i.size)),
    }


def created(image: Image) -> float:
    from minirun.engine import table

    return table.timestamp(image.created) or 0


def names(image: Image) -> tuple[str, str]:
    """The repository and tag, as people write them."""
    if image.name is None:
        return NONE, NONE
    from minirun.image import reference

    found = reference.parse(image.name)
    familiar = found._replace(tag=None, digest=None).familiar
    return familiar, found.tag or NONE


# --- filters ------------------------------------------------------------------------------------


def tests(state: State) -> dict[str, Maker]:
    from minirun.engine import filters
    from minirun.engine.times import moment

    def labels(image: Image) -> dict[str, str]:
        return (image.config.get("config") or {}).get("Labels") or {}

    def until(text: str) -> Test:
        latest = moment(text)
        return lambda image: created(image) < latest

    def compared(name: str, sign: int) -> Test:
        other = created(state.image(name))
        return lambda image: (created(image) - other) * sign > 0

    return {
        "dangling": filters.truth("dangling", lambda image: image.name is None),
        "reference": named,
        "label": filters.label(labels),
        "before": lambda name: compared(name, -1),
        "since": lambda name: compared(name, 1),
        "until": until,
    }


def named(text: str) -> Test:
    """In this repository, or of just this name; with ``*``, ``?`` and ``[…]``, which match no /."""
    if not set("*?[") & set(text):
        return lambda image: fits(image, text)
    from fnmatch import fnmatchcase

    def matches(name: str) -> bool:
        parts, patterns = name.split("/"), text.split("/")
        return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))

    def test(image: Image) -> bool:
        repository, tag = names(image)
        return image.name is not None and (matches(repository) or matches(f"{repository}:{tag}"))

    return test


def fits(image: Image, name: str) -> bool:
    """Whether the image is in repository ``name``, or has just this name."""
    from minirun.image import reference

    if image.name is None:
        return False
    found, wanted = reference.parse(image.name), reference.parse(name)
    return found.name == wanted.name and (":" not in name.rpartition("/")[2] or found == wanted)
