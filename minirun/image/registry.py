"""Talk with a registry: the few requests of the OCI distribution spec that a pull needs.

    GET /v2/<repository>/manifests/<tag or digest>   → a manifest, or an index of manifests
    GET /v2/<repository>/blobs/<digest>              → a config or a layer, often by a redirect
    GET /v2/<repository>/tags/list                   → what else there is, for a helpful error

    registry, manifest = find(reference, accept=MEDIA_TYPES)
    config = b"".join(registry.blob(descriptor))

Everything that comes back was written by a stranger. A manifest is returned only when its bytes
have the digest that they should have; a blob's bytes are counted here, and hashed where they are stored.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from minirun.image.reference import Reference

LARGEST_MANIFEST = 4 << 20  # bytes; distribution-spec, "Pushing Manifests", names this limit
CHUNK = 1 << 20


class Manifest(NamedTuple):
    """A manifest or an index, as sent. ``body`` has the digest; nothing else is checked yet."""

    media_type: str  # Content-Type without parameters, lower case
    body: bytes  # at most LARGEST_MANIFEST
    digest: str  # of body, in the algorithm that was asked for, or sha256


class Exchange(NamedTuple):
    """One exchange with a registry, for ``pull --explain``. Holds no secrets."""

    request: str  # "GET https://registry-1.docker.io/v2/library/centos/manifests/8"
    status: int  # of the answer; 0: there was none
    meaning: str  # "asks for a token from auth.docker.io", "redirect to cdn.example", …


Listener = Callable[[Exchange], None]


def find(
    reference: Reference,
    *,
    accept: Sequence[str],
    tls_verify: bool = True,
    listener: Listener | None = None,
) -> "tuple[Registry, Manifest]":
    """The first endpoint that has ``reference`` (mirrors first), and the manifest it has.

    Blobs are then fetched from that same endpoint. Raises AuthError, RateLimited, DigestError or
    RegistryError; when there were mirrors, the error is the last endpoint's and names the others.
    """
    raise NotImplementedError


class Registry:
    """One repository at one endpoint. Safe to use from several threads at once."""

    def manifest(self, target: str, *, accept: Sequence[str]) -> Manifest:
        """The manifest or index with this tag or digest.

        Raises RegistryError ("no such tag"), AuthError, RateLimited; DigestError when the bytes do
        not have the digest that was asked for, or that the registry says they have.
        """
        raise NotImplementedError

    def blob(self, descriptor: dict[str, Any], offset: int = 0) -> Iterator[bytes]:
        """The bytes of a blob from ``offset`` on, in chunks of at most CHUNK bytes.

        Yields exactly ``size - offset`` bytes or raises RegistryError; a cut connection is resumed
        here and not seen outside. The caller checks the digest, over the bytes it had before too.
        The descriptor's digest and size must have been checked for form (manifest.py).
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the connections. Iterators of ``blob`` that are still open end in an error."""
        raise NotImplementedError
