"""Where everything lives.

    /var/lib/minirun/               kept over a restart of the machine
        images/                     the images: an OCI image layout (image/store.py)
        layers/                     their layers, unpacked (image/snapshot.py)
        containers/<id>/            the containers, a bundle each (containers.py)
        names/<name> -> <id>        who has which name
        networks/                   the networks, and who has which address (network/)
        volumes/                    the volumes, and what is in them (volumes.py)
    /run/minirun/                   what only a running machine has
        live/<id>                   a locked file for each container that somebody attends to
        attach/<id>                 the socket of each container's monitor (wire.py)
        oci/                        the runtime's own records (its --root)
        events                      what has happened, a line each (events.py)

``--root DIR`` or ``MINIRUN_ROOT=DIR`` puts both under DIR (as DIR/lib and DIR/run): a store of
one's own for a class or a test, and one ``rm -r`` to be rid of it.
"""

from __future__ import annotations

import os

from minirun.errors import UsageError

LIB = "/var/lib/minirun"
RUN = "/run/minirun"
PRIVATE = 0o700  # set-user-ID programs of an image must be out of reach of other users


class Paths:
    """The directories of one store; ``root`` is None for the machine's own."""

    def __init__(self, root: str | None = None) -> None:
        if root is not None and not root:
            raise UsageError("--root: the name of the directory is empty")
        base = os.path.abspath(root) if root else None
        self.lib = f"{base}/lib" if base else LIB
        self.run = f"{base}/run" if base else RUN
        self.images = self.lib + "/images"
        self.layers = self.lib + "/layers"
        self.containers = self.lib + "/containers"
        self.names = self.lib + "/names"
        self.networks = self.lib + "/networks"
        self.volumes = self.lib + "/volumes"
        self.live = self.run + "/live"
        self.attach = self.run + "/attach"
        self.oci = self.run + "/oci"
        self.events = self.run + "/events"

    def make(self) -> None:
        """Make the directories that are missing. Only root can use what is made in them later."""
        if os.geteuid() != 0:
            raise UsageError(
                "minirun needs root for mounts and namespaces", hint="put sudo in front of it"
            )
        for path in (self.lib, self.run):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, PRIVATE)
        for path in (
            self.containers, self.names, self.networks, self.volumes,
            self.live, self.attach, self.oci,
        ):  # fmt: skip
            os.makedirs(path, PRIVATE, exist_ok=True)
