"""``minirun cp``: files between a container and this machine, in both directions.

    cp CONTAINER:/etc/hosts .       cp CONTAINER:/var/log logs       cp CONTAINER:/srv - | tar -t
    cp page.html CONTAINER:/srv     cp site/. CONTAINER:/srv         … | cp - CONTAINER:/srv

What becomes of a source depends on what stands at its destination, as with cp(1):

    source          destination: nothing    a file              a directory D
    file            is made                 is replaced         D/NAME
    directory       is made                 error               D/NAME
    directory/.     is made                 error               what is in it goes to D

A symbolic link is copied as one, unless -L is given; one at the destination is followed. On the way
in all stays as it is. On the way out who copies will own the copies, and there is no set-user-ID
and no device among them; with -a they keep owners, and all but devices.

The container may be hostile, and run meanwhile. Its paths are resolved by the kernel with its root
as "/" (image/inroot.py), its files are opened by descriptors and never by their names twice
(image/packing.py), and what is written goes through the same door (target.py). So there is no
moment at which a link that is swapped in leads to a file of the host (CVE-2018-15664).
"""

from __future__ import annotations

import os
import sys

from minirun.engine.inside import Inside
from minirun.engine.target import STRICT, Target
from minirun.errors import Error, NotFound, UsageError, printable
from minirun.image import inroot, packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.container import Container
    from minirun.engine.state import State

HERE = "on this machine"
CONTENTS = b"."  # the name of a directory of which only what is in it is wanted


def split(argument: str) -> tuple[str | None, str]:
    """``CONTAINER:PATH`` as (CONTAINER, PATH); (None, PATH) for a file of this machine.

    >>> split("web:/srv"), split("/srv/a:b"), split("./a:b"), split("-")
    (('web', '/srv'), (None, '/srv/a:b'), (None, './a:b'), (None, '-'))
    """
    name, colon, path = argument.partition(":")
    if argument.startswith(("/", ".")) or not colon:
        return None, argument
    return name, path


class Copy:
    """One copy, with its flags. ``warnings`` and ``size`` tell afterwards what became of it."""

    def __init__(self, state: State, *, archive: bool = False, follow: bool = False) -> None:
        self.state, self.archive, self.follow = state, archive, follow
        self.warnings: list[str] = []
        self.size = 0

    # --- out of a container ---------------------------------------------------------------------

    def out(self, container: Container, path: str, destination: str) -> None:
        """Copy ``path`` of the container to a file or directory of this machine."""
        place = os.path.join(os.getcwd(), destination)
        with Inside(self.state, container) as root:
            source = find_source(root, path, in_container(container), follow=self.follow)
            try:
                self._out(source, name_of(path), place)
            finally:
                os.close(source)

    def _out(self, source: int, name: bytes, place: str) -> None:
        host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        base = -1
        try:
            parent, name = choose(host, os.fsencode(place), name, is_directory(source), HERE)
            base = inroot.open_in(host, parent, os.O_RDONLY | os.O_DIRECTORY)
            owner = None if self.archive else (os.geteuid(), os.getegid())
            target = Target(base, resolve=STRICT, owner=owner, devices=False)
            packing.pack_one(target, source, name)
            self._take_notes(target)
        finally:
            os.close(host)
            if base >= 0:
                os.close(base)

    def to_stream(self, container: Container, path: str) -> None:
        """Write ``path`` of the container as a tar to standard output."""
        from minirun.image.tarwriter import Writer

        if sys.stdout.isatty():
            raise UsageError("a tar is nothing for a terminal", hint="… - | tar -tv")
        with Inside(self.state, container) as root:
            source = find_source(root, path, in_container(container), follow=self.follow)
            try:
                packing.pack_one(Writer(sys.stdout.buffer.write), source, name_of(path))
            finally:
                os.close(source)
        sys.stdout.buffer.flush()

    # --- into a container -----------------------------------------------------------------------

    def into(self, source: str, container: Container, path: str) -> None:
        """Copy a file or directory of this machine to ``path`` of the container."""
        host = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            whole = os.path.join(os.getcwd(), source)
            opened = find_source(host, whole, HERE, follow=self.follow)
        finally:
            os.close(host)
        try:
            with Inside(self.state, container) as root:
                place, wanted, where = os.fsencode(path), name_of(whole), in_container(container)
                parent, name = choose(root, place, wanted, is_directory(opened), where)
                target = Target(root, parent)
                packing.pack_one(target, opened, name)
                self._take_notes(target)
        finally:
            os.close(opened)

    def from_stream(self, container: Container, path: str) -> None:
        """Unpack the tar on standard input, compressed or not, in directory ``path``."""
        from minirun.image.compression import Layer
        from minirun.image.tarstream import Tar

        with Inside(self.state, container) as root:
            base = follow_links(root, os.fsencode(path))
            try:
                os.close(inroot.open_in(root, base, os.O_PATH | os.O_DIRECTORY))
            except (FileNotFoundError, NotADirectoryError):
                raise NotFound(f"{container.name}:{printable(path)} is not a directory") from None
            target = Target(root, base)
            with Layer(sys.stdin.buffer, hashed=False) as chunks:
                tar = Tar(chunks)
                for member in tar:
                    target.add(member, tar.data(member.stored))
            target.close()
            self._take_notes(target)

    def _take_notes(self, target: Target) -> None:
        self.warnings, self.size = target.warnings, target.size


def in_container(container: Container) -> str:
    return f"in container {container.name}"


# --- paths --------------------------------------------------------------------------------------


def find_source(root: int, path: str, where: str, *, follow: bool) -> int:
    """What a path names below ``root``, open (O_PATH). Its last part is followed if it is a link
    and ``follow``, or if more is said of it: ``link/`` and ``link/.`` are what it leads to."""
    whole = os.fsencode(path)
    flags = os.O_PATH
    if path.endswith(("/", "/.")):
        flags |= os.O_DIRECTORY
    elif not follow:
        flags |= os.O_NOFOLLOW
    try:
        return inroot.open_in(root, whole, flags)
    except FileNotFoundError:
        raise NotFound(f"could not find the file {printable(path)} {where}") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Error(f"{printable(path)} {where}: {reason}") from None


def name_of(path: str) -> bytes:
    """What a copy of ``path`` is called where only a directory was named.

    >>> name_of("/etc/hosts"), name_of("/etc/"), name_of("/etc/."), name_of("/")
    (b'hosts', b'etc', b'.', b'.')
    """
    if path.endswith("/.") or path == ".":
        return CONTENTS
    return os.fsencode(os.path.basename(os.path.normpath("/" + path))) or CONTENTS


def choose(
    root: int, place: bytes, name: bytes, is_directory: bool, where: str
) -> tuple[bytes, bytes]:
    """Where a source goes: a directory that exists, and its name in there (see the table above)."""
    path = follow_links(root, place)
    status = stat_in(root, path)
    if status is not None and _is_dir(status):
        return path, name
    shown = printable(os.fsdecode(place))
    if status is not None and is_directory:
        raise Error(f"cannot copy a directory to the file {shown}")
    if place.endswith(b"/") and not is_directory:
        raise NotFound(f"no such directory: {shown}", hint="mkdir -p it, or leave out the last '/'")
    parent, _, last = path.rstrip(b"/").rpartition(b"/")
    above = stat_in(root, parent)
    if above is None or not _is_dir(above) or last in (b"", b".", b".."):
        raise NotFound(f"could not find the directory of {shown} {where}")
    return parent, last


def follow_links(root: int, path: bytes) -> bytes:
    """The path that does not end in a symbolic link, for one that may. Nothing is opened by it:
    who opens it later asks the kernel again, with the same root."""
    for _ in range(inroot.MAX_SYMLINKS):
        parent, _, name = path.rstrip(b"/").rpartition(b"/")
        if name in (b"", b".", b".."):
            return path
        try:
            fd = inroot.open_in(root, path.rstrip(b"/"), os.O_PATH | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return path
        try:
            target = os.fsencode(os.readlink("", dir_fd=fd))
        except OSError:  # no link
            return path
        finally:
            os.close(fd)
        path = target if target.startswith(b"/") else parent + b"/" + target
    raise Error(f"{printable(os.fsdecode(path))}: too many levels of symbolic links")


def stat_in(root: int, path: bytes) -> os.stat_result | None:
    try:
        fd = inroot.open_in(root, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise Error(f"{printable(os.fsdecode(path))}: {reason}") from None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def is_directory(fd: int) -> bool:
    return _is_dir(os.fstat(fd))


def _is_dir(status: os.stat_result) -> bool:
    import stat

    return stat.S_ISDIR(status.st_mode)
