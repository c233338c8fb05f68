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

An ordinary user's are ~/.local/share/minirun and /run/user/UID/minirun (XDG_DATA_HOME,
XDG_RUNTIME_DIR), also once they are root in a namespace of theirs (rootless.py).

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
    """The directories of one store; ``root`` is None for the machine's or the user's own."""

    def __init__(self, root: str | None = None) -> None:
        if root is not None and not root:
            raise UsageError("--root: the name of the directory is empty")
        self.base = base = os.path.abspath(root) if root else None
        self.lib, self.run = (f"{base}/lib", f"{base}/run") if base else homes()
        self.locks: tuple[int, ...] = ()  # to be open as long as anything of ours runs
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
        """Make the directories that are missing. Only root can use what is made in them later; who
        is not becomes root of what is theirs."""
        if os.geteuid() != 0:
            from minirun.engine import rootless

            self.locks = (rootless.enter(self.run),)
        for path in (self.lib, self.run):
            os.makedirs(path, exist_ok=True)
            os.chmod(path, PRIVATE)
        for path in (
            self.containers, self.names, self.networks, self.volumes,
            self.live, self.attach, self.oci,
        ):  # fmt: skip
            os.makedirs(path, PRIVATE, exist_ok=True)


def homes() -> tuple[str, str]:
    """Where lib and run are if nobody says it: the machine's, or the user's.

    https://specifications.freedesktop.org/basedir-spec
    """
    uid = user()
    if uid == 0:
        return LIB, RUN
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return f"{data}/minirun", f"{_runtime_directory(uid)}/minirun"


def user() -> int:
    """Who uses us, seen from outside a user namespace that maps just them to its root."""
    if uid := os.geteuid():
        return uid
    with open("/proc/self/uid_map", encoding="ascii") as file:
        inside, outside, size = map(int, file.readline().split())
    return outside if (inside, size) == (0, 1) else 0


def _runtime_directory(uid: int) -> str:
    """What systemd makes for each user who logs in; for others one in /tmp, where somebody else
    may have been first."""
    path = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    if os.access(path, os.W_OK):
        return path
    path = f"/tmp/minirun-{uid}"
    os.makedirs(path, PRIVATE, exist_ok=True)
    found = os.lstat(path)
    if (found.st_uid, found.st_mode) != (os.geteuid(), 0o40700):  # a directory: inode(7)
        raise UsageError(f"{path} is not ours alone", hint="set XDG_RUNTIME_DIR, or --root")
    return path
