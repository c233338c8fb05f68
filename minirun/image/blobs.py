"""Bytes that are named by their digest, in files: the ``blobs`` directory of an OCI image layout.

    blobs/sha256/…      complete, checked, never changed again
    ingest/sha256:…     still on their way, or left behind by a pull that was interrupted

A blob is written under ``ingest``, hashed on the way, brought to the disk with fsync(2), and only
then renamed to the name that says what is in it. So a file below ``blobs`` is always whole: after
``kill -9``, after a power failure, and while others read it.

Two kinds of locks, each on the thing it protects (see lock.py), taken in this order:

    blobs/      shared by who needs blobs to stay (a pull, a run), exclusive for who deletes some
    ingest/X    by who fetches blob X: a second pull of it waits, and finds the blob there
"""

from __future__ import annotations

import fcntl
import os

from minirun.errors import DigestError, StoreError
from minirun.image import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable, Collection, Iterable
    from io import FileIO
    from typing import Any

    Descriptor = dict[str, Any]
    Fetch = Callable[[int], Iterable[bytes]]

CHUNK = 1 << 20  # bytes
STALLED = 60.0  # seconds for which a blob that another process fetches may not grow at all


class Blobs:
    def __init__(self, root: str) -> None:
        """Blobs below ``root``, which need not exist: it appears with the first of them."""
        self.root = root
        self._blobs = os.path.join(root, "blobs")
        self._ingest = os.path.join(root, "ingest")

    def create(self) -> None:
        """Make the empty directories, if they are not there. Only their owner may look inside."""
        sha256 = os.path.join(self._blobs, "sha256")
        for directory in (self.root, self._ingest, self._blobs, sha256):
            os.makedirs(directory, mode=0o700, exist_ok=True)

    def hold(self) -> lock.Lock:
        """``with store.hold():`` no blob is deleted. Any number of processes may hold at once."""
        self.create()
        return lock.shared(self._blobs)

    def sweeping(self, wait: float = lock.WAIT) -> lock.Lock:
        """``with store.sweeping():`` nobody holds. StoreError if they do not let go in time."""
        self.create()
        return lock.exclusive(self._blobs, wait=wait)

    def sweeping_if_idle(self) -> lock.Lock | None:
        """As ``sweeping``, but None at once if somebody holds: what is left goes another time."""
        try:
            return self.sweeping(wait=0)
        except StoreError:
            return None

    def blob_path(self, digest: str) -> str:
        """Where the blob is, or would be. ``digest`` has passed manifest.check_digest."""
        algorithm, _, encoded = digest.partition(":")
        return os.path.join(self._blobs, algorithm, encoded)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here in its full length. What it holds was checked as it came."""
        try:
            size = os.stat(self.blob_path(descriptor["digest"])).st_size
        except FileNotFoundError:
            return False
        return bool(size == descriptor["size"])

    def read(self, digest: str) -> bytes:
        try:
            with open(self.blob_path(digest), "rb") as blob:
                return blob.read()
        except FileNotFoundError:
            raise StoreError(
                f"{self.root}: blob {digest} is missing", hint="pull the image again"
            ) from None

    def ingest(self, descriptor: Descriptor, fetch: Fetch) -> str:
        """Afterwards the blob is here, whoever fetched it; returns its path. Call it under hold().

        ``fetch(offset)`` gives the bytes from ``offset`` on. It is not called if the blob is here
        and undamaged, or comes through another process meanwhile. Bytes that are not what the
        descriptor says raise DigestError and are deleted; what came over a connection that broke
        is kept, for the next attempt to continue.
        """
        path = self.blob_path(descriptor["digest"])
        partial = os.path.join(self._ingest, descriptor["digest"])
        while not self._is_right(descriptor):
            with open(partial, "ab+", buffering=0) as file:
                _lock(file, partial)
                if not _is_named(file, partial):
                    continue  # whoever had the lock has renamed the file, or deleted it
                if self._is_right(descriptor):  # renamed between our look and our lock
                    os.unlink(partial)
                else:
                    _receive(file, partial, descriptor, fetch)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    os.rename(partial, path)
        return path

    def put(self, media_type: str, data: bytes) -> Descriptor:
        """Store ``data``; returns the descriptor by which it can be had from now on."""
        import hashlib

        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        descriptor = {"mediaType": media_type, "digest": digest, "size": len(data)}
        self.ingest(descriptor, lambda offset: [data[offset:]])
        return descriptor

    def new(self, media_type: str) -> NewBlob:
        """``with store.new(TYPE) as blob:`` one whose digest its own bytes will tell.

        Use it under hold(). After the block the blob is here and ``blob.descriptor`` leads to it.
        """
        return NewBlob(self, os.path.join(self._ingest, f"new-{os.urandom(8).hex()}"), media_type)

    def _is_right(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here and holds what its name says: disks forget, and people edit."""
        if not self.has(descriptor):
            return False
        with open(self.blob_path(descriptor["digest"]), "rb", buffering=0) as blob:
            return _hash(blob, descriptor)[0].hexdigest() == _encoded(descriptor)

    def sync(self) -> None:
        """Bring the names of the blobs to the disk; rename(2) alone may not outlive a power cut."""
        with os.scandir(self._blobs) as algorithms:
            for directory in (*(entry.path for entry in algorithms), self._blobs):
                sync_directory(directory)

    def all_but(self, keep: Collection[str]) -> list[str]:
        """The paths of every blob whose digest is not in ``keep``, and of all partial ones."""
        found = [os.path.join(self._ingest, name) for name in os.listdir(self._ingest)]
        for algorithm in os.listdir(self._blobs):
            folder = os.path.join(self._blobs, algorithm)
            names = os.listdir(folder)
            found += [f"{folder}/{name}" for name in names if f"{algorithm}:{name}" not in keep]
        return found

    def delete(self, paths: Iterable[str]) -> int:
        """Delete what ``all_but`` has found, under the same sweeping(); returns bytes."""
        freed = 0
        for path in paths:
            freed += os.stat(path, follow_symlinks=False).st_size
            os.unlink(path)
        return freed


class NewBlob:
    """A blob that is being written. If the block ends with an exception, nothing of it stays."""

    descriptor: Descriptor

    def __init__(self, store: Blobs, partial: str, media_type: str) -> None:
        import hashlib

        self._store, self._partial, self._media_type = store, partial, media_type
        self._file = open(partial, "xb", buffering=0)  # noqa: SIM115 (closed by __exit__)
        self._hash, self._size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        _write(self._file, data)

    def __enter__(self) -> NewBlob:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._file:
                if kind is None:
                    _flush(self._file)
            if kind is None:
                digest = f"sha256:{self._hash.hexdigest()}"
                os.rename(self._partial, self._store.blob_path(digest))
                self.descriptor = {
                    "mediaType": self._media_type, "digest": digest, "size": self._size
                }  # fmt: skip
        finally:
            if not hasattr(self, "descriptor"):
                os.unlink(self._partial)


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(file: FileIO, path: str) -> None:
    """Wait for whoever fetches the same blob, for as long as that makes progress."""
    fd = file.fileno()
    lock.acquire(fd, fcntl.LOCK_EX, path, wait=STALLED, progress=lambda: os.fstat(fd).st_size)


def _is_named(file: FileIO, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _receive(file: FileIO, path: str, descriptor: Descriptor, fetch: Fetch) -> None:
    """Fill ``file`` until it is the blob, on disk. What an earlier pull left is continued."""
    resumed = file.seek(0, os.SEEK_END) > 0
    try:
        try:
            _fill(file, descriptor, fetch)
        except DigestError:
            if not resumed:
                raise
            file.truncate(0)  # the old part may be what is wrong
            _fill(file, descriptor, fetch)
    except (DigestError, StoreError):  # wrong bytes, or no room for them: nothing to continue
        os.unlink(path)
        raise


def _fill(file: FileIO, descriptor: Descriptor, fetch: Fetch) -> None:
    """Hash what is there, append what is missing, and compare with the descriptor."""
    digest, size = descriptor["digest"], descriptor["size"]
    file.seek(0)
    hashed, length = _hash(file, descriptor)
    if length < size:
        for chunk in fetch(length):
            length += len(chunk)
            if length > size:
                break
            hashed.update(chunk)
            _write(file, chunk)
    if length != size:
        much = "more than" if length > size else f"{length} instead of"
        raise _wrong(digest, f"{much} the {size} bytes that were announced")
    if hashed.hexdigest() != _encoded(descriptor):
        raise _wrong(digest, f"the content has the digest {hashed.hexdigest()}")
    _flush(file)


def _hash(file: FileIO, descriptor: Descriptor) -> tuple[hashlib._Hash, int]:
    """The hash of what is in ``file`` from here on, to be continued, and its length in bytes."""
    import hashlib

    hashed, length = hashlib.new(descriptor["digest"].partition(":")[0]), 0
    while chunk := file.read(CHUNK):
        hashed.update(chunk)
        length += len(chunk)
    return hashed, length


def _encoded(descriptor: Descriptor) -> str:
    return str(descriptor["digest"]).partition(":")[2]


def _write(file: FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise _no_room(file, error) from None


def _flush(file: FileIO) -> None:
    try:
        os.fsync(file.fileno())
    except OSError as error:
        raise _no_room(file, error) from None


def _wrong(digest: str, how: str) -> DigestError:
    hint = "pull again; if it stays so, the registry or a proxy on the way changes what it sends"
    return DigestError(f"{digest}: {how}", hint=hint)


def _no_room(file: FileIO, error: OSError) -> StoreError:
    room = os.fstatvfs(file.fileno())
    free = room.f_bavail * room.f_frsize
    return StoreError(
        f"{os.fsdecode(file.name)}: {error.strerror} ({free} bytes free)",
        hint="minirun prune deletes images that have lost their name",
    )
