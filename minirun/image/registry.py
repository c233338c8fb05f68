"""Talk with a registry: the few requests of the OCI distribution spec that a pull needs.

    GET /v2/<repository>/manifests/<tag or digest>   → a manifest, or an index of manifests
    GET /v2/<repository>/blobs/<digest>              → a config or a layer, often by a redirect
    GET /v2/<repository>/tags/list                   → what else there is, for a helpful error

    registry, manifest = find(reference, accept=MEDIA_TYPES)
    config = b"".join(registry.blob(descriptor))

Everything that comes back was written by a stranger. A manifest is returned only when its bytes
have the digest that they should have; a blob's bytes are counted here, and hashed by who stores
them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from minirun.errors import DigestError, ImageError, RegistryError, printable
from minirun.image.credentials import Credential, lookup
from minirun.image.reference import DIGEST_LENGTHS, Reference, is_tag, parse_digest
from minirun.image.registries import Endpoint, endpoints

if TYPE_CHECKING:  # transport brings requests: a tenth of a second, for those who really pull
    from minirun.image.patience import Patience
    from minirun.image.transport import Answer

LARGEST_MANIFEST = 4 << 20  # bytes; distribution-spec, "Pushing Manifests", names this limit
LARGEST_TAG_LIST = 1 << 20
TAGS_IN_HINT = 8


class Manifest(NamedTuple):
    """A manifest or an index, as sent. ``body`` has the digest; nothing else is checked yet."""

    media_type: str  # Content-Type without parameters, lower case
    body: bytes  # at most LARGEST_MANIFEST
    digest: str  # of body, in the algorithm that was asked for, or sha256


class Exchange(NamedTuple):
    """One exchange with a registry, for ``pull --explain``. Holds no secrets."""

    request: str  # "GET https://registry-1.docker.io/v2/library/centos/manifests/8"
    status: int  # of the answer; 0: there was none
    meaning: str  # "who are you? Bearer realm=…", "go to cdn.example", what else came


Listener = Callable[[Exchange], None]


def find(
    reference: Reference,
    *,
    accept: Sequence[str],
    tls_verify: bool = True,
    listener: Listener | None = None,
    patience: Patience | None = None,
) -> tuple[Registry, Manifest]:
    """The first endpoint that has ``reference`` (mirrors first), and the manifest it has.

    Blobs are then fetched from that same endpoint. Raises AuthError, RateLimited, DigestError or
    RegistryError; when there were mirrors, the error is the last endpoint's and names the others.
    """
    failures: list[ImageError] = []
    for endpoint in endpoints(reference, tls_verify=tls_verify):
        registry = Registry(endpoint, lookup(endpoint.name), listener=listener, patience=patience)
        try:
            return registry, registry.manifest(reference.target, accept=accept)
        except (RegistryError, DigestError) as error:
            registry.close()
            failures.append(error)
        except BaseException:
            registry.close()
            raise
    *before, last = failures
    if before:
        text = "; ".join(error.message for error in before)
        raise type(last)(f"{last.message} (and before it: {text})", hint=last.hint)
    raise last


class Registry:
    """One repository at one endpoint. Safe to use from several threads at once."""

    def __init__(
        self,
        endpoint: Endpoint,
        credential: Credential | None = None,
        *,
        listener: Listener | None = None,
        patience: Patience | None = None,
    ) -> None:
        from minirun.image.authorization import Authorizer
        from minirun.image.patience import Patience
        from minirun.image.transport import Transport

        self.endpoint = endpoint
        self._scheme = "https"
        self._listener = listener
        self._transport = Transport(endpoint, patience or Patience(), self._tell)
        self._authorizer = Authorizer(endpoint, credential, self._transport)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Iterators of ``blob`` that are still open end in an error."""
        self._transport.close()

    def manifest(self, target: str, *, accept: Sequence[str]) -> Manifest:
        """The manifest or index with this tag or digest.

        Raises RegistryError ("no such tag"), AuthError, RateLimited; DigestError when the bytes do
        not have the digest that was asked for, or that the registry says they have.
        """
        from minirun.image.refusals import refusal

        if ":" in target:
            parse_digest(target)
        headers = {"Accept": ", ".join(accept)}
        answer = self._ask(f"manifests/{target}", headers, limit=LARGEST_MANIFEST)
        if answer.status == 404:
            raise self._no_such(target)
        if answer.status != 200:
            raise refusal(answer, self.endpoint, self._authorizer.credential)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return Manifest(printable(media_type), answer.body, self._digest(answer, target))

    def blob(self, descriptor: dict[str, Any], offset: int = 0) -> Iterator[bytes]:
        """The bytes of a blob from ``offset`` on, in chunks of at most a mebibyte.

        Yields exactly ``size - offset`` bytes or raises RegistryError, or DigestError when the blob
        is of another size; a cut connection is resumed here and not seen outside. The caller checks
        the digest, over the bytes it had before too.
        """
        from minirun.image.failures import Transient
        from minirun.image.transport import CHUNK

        digest, size = ":".join(parse_digest(descriptor["digest"])), descriptor["size"]
        attempts = self._transport.attempts()
        position = mark = offset
        while position < size:
            try:
                for piece in self._blob_from(digest, size, position):
                    position += len(piece)
                    yield piece
                    if position - mark >= CHUNK:  # less than that would be no way to ever arrive
                        mark = position
                        attempts.progressed()
            except Transient as failure:
                attempts.failed(failure)

    def _blob_from(self, digest: str, size: int, position: int) -> Iterator[bytes]:
        """One try for the rest of a blob. Raises Transient when it ends early."""
        from minirun.image.failures import Transient

        with self._open_blob(digest, position) as answer:
            self._check_blob(answer, digest, size, position)
            skip = position if answer.status == 200 else 0
            left = size - position
            for piece in answer.chunks(left + skip):
                fresh = piece[skip:]
                skip -= min(skip, len(piece))
                left -= len(fresh)
                if fresh:
                    yield fresh
            if left:
                raise Transient(RegistryError(f"{answer.host}: a blob ends {left} bytes early"))
            if answer.length is None and any(answer.chunks(1)):
                raise DigestError(f"{answer.host}: {digest} is longer than {size} bytes")

    def _open_blob(self, digest: str, position: int) -> Answer:
        """Ask for a blob from ``position`` on; a server that can't do that gives all of it."""
        path = f"blobs/{digest}"
        if not position:
            return self._ask(path, {})
        answer = self._ask(path, {"Range": f"bytes={position}-"})
        begins = answer.headers.get("Content-Range", "").startswith(f"bytes {position}-")
        if answer.status == 416 or (answer.status == 206 and not begins):
            with answer:
                return self._ask(path, {})
        return answer

    def _check_blob(self, answer: Answer, digest: str, size: int, position: int) -> None:
        from minirun.image.refusals import refusal

        if answer.status == 404:
            raise RegistryError(
                f"{self.endpoint.name}: {digest} is missing, though the manifest names it",
                hint="the image is damaged at the registry; its owner can push it again",
            )
        if answer.status != 200 and not (answer.status == 206 and position):
            raise refusal(answer, self.endpoint, self._authorizer.credential)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RegistryError(f"{answer.host}: encodes a blob, which nobody asked for")
        expected = size if answer.status == 200 else size - position
        if answer.length not in (None, expected):
            raise DigestError(
                f"{answer.host}: {digest} has {answer.length} bytes to come, "
                f"but by the manifest it is {expected}"
            )

    def _ask(self, path: str, headers: dict[str, str], *, limit: int | None = None) -> Answer:
        """The answer to a GET, after an answer to the challenge that may come first.

        With a ``limit``, its body has been read. Only the registry itself is told who we are, and
        only once: a second 401 means that it did not like it.
        """
        for last in (False, True):
            said = self._authorizer.headers
            answer = self._send(path, {**headers, **said}, limit)
            if answer.status != 401 or answer.foreign or last:
                break
            with answer:
                self._authorizer.respond(answer, said)
        return answer

    def _send(self, path: str, headers: dict[str, str], limit: int | None) -> Answer:
        """HTTPS, or plain HTTP where that is allowed and the registry speaks nothing better."""
        from minirun.image.failures import NotTLS

        scheme = self._scheme
        try:
            return self._send_by(scheme, path, headers, limit)
        except NotTLS:
            if scheme != "https" or not self.endpoint.allows_http:
                raise
        self._scheme = "http"
        return self._send_by("http", path, headers, limit)

    def _send_by(
        self, scheme: str, path: str, headers: dict[str, str], limit: int | None
    ) -> Answer:
        url = f"{scheme}://{self.endpoint.host}/v2/{self.endpoint.repository}/{path}"
        if limit is None:
            return self._transport.open(url, headers)
        return self._transport.fetch(url, headers, limit=limit)

    def _digest(self, answer: Answer, target: str) -> str:
        """The digest of a manifest's bytes, which is the one that was asked for and announced."""
        asked = target if ":" in target else None
        announced = answer.headers.get("Docker-Content-Digest")
        for expected in (asked, announced):
            if expected and _digest_like(expected, answer.body) != expected:
                raise DigestError(
                    f"{answer.host}: sent a manifest that is not {printable(expected)[:140]}",
                    hint="somebody or something on the way changed it: do not use this image",
                )
        return asked or _digest_like("sha256:", answer.body)

    def _no_such(self, target: str) -> RegistryError:
        """The error for a manifest that is not there."""
        if ":" in target:
            return RegistryError(f"{self.endpoint.name}@{target}: no such image there")
        tags = self._similar_tags(target)
        if not tags:
            return RegistryError(f"{self.endpoint.name}:{target}: no such image or tag")
        hint = f"it has {', '.join(tags)}"
        return RegistryError(f"{self.endpoint.name}:{target}: no such tag", hint=hint)

    def _similar_tags(self, wanted: str) -> list[str]:
        """A few of the tags that there are, the most similar first; none if that can't be told."""
        import difflib

        from minirun.image.failures import Transient

        try:
            with self._ask("tags/list", {}) as answer:
                document = json.loads(answer.read(LARGEST_TAG_LIST))
            tags = [tag for tag in document["tags"] if isinstance(tag, str) and is_tag(tag)]
        except (ImageError, Transient, ValueError, KeyError, TypeError, RecursionError):
            return []  # the error to report is the one before
        close = difflib.get_close_matches(wanted, tags[:1000], TAGS_IN_HINT, cutoff=0.3)
        return close or tags[:TAGS_IN_HINT]

    def _tell(self, request: str, status: int, meaning: str) -> None:
        if self._listener:
            self._listener(Exchange(request, status, meaning))


def _digest_like(model: str, body: bytes) -> str:
    """The digest of ``body`` by the algorithm of ``model``, which may come from a stranger."""
    import hashlib

    algorithm = model.partition(":")[0]
    if algorithm not in DIGEST_LENGTHS:
        return ""
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"
