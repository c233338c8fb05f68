"""minirun pull"""

from __future__ import annotations

import click

from minirun.engine.command import Command
from minirun.engine.options import EXPLAIN, PLATFORM, with_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@click.command("pull", cls=Command)
@with_options(PLATFORM)
@click.option("-q", "--quiet", is_flag=True, help="Print only the image's full name.")
@click.option(
    "--tls-verify/--no-tls-verify",
    default=True,
    help="--tls-verify=false: take any certificate, or plain HTTP.",
)
@with_options(*EXPLAIN)
@click.argument("image")
@click.pass_obj
def command(root: str | None, /, image: str, **options: Any) -> None:
    """Download an image from a registry.

    A short name is Docker Hub's: centos:8 means docker.io/library/centos:8. Mirrors are set in
    /etc/containers/registries.conf, passwords come from ~/.docker/config.json.

    \b
        minirun pull localhost:5000/app@sha256:…   this image, whatever a tag says
        minirun pull --explain busybox             the talk with the registry
    """
    from minirun.engine.pulling import pull_image
    from minirun.engine.state import open_state

    print(pull_image(open_state(root), image, options).name)
