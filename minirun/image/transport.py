"""HTTP as a registry needs it: redirects without secrets, patience with limits, bounded answers.

    Transport.fetch   a small document: tried again while that may help
    Transport.open    one try for a large one, whose reader knows how to go on after a cut

Both return an Answer whatever its status is, but for "later" (429 and 5xx) and failures below HTTP.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import responses
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies

from minirun.errors import RateLimited, RegistryError, printable
from minirun.image import challenge
from minirun.image.connection import Reach, open_session, tls_context
from minirun.image.failures import LATER, Transient, explain
from minirun.image.registries import Endpoint, is_loopback

CHUNK = 1 << 20
LARGEST_ERROR = 64 << 10  # more of an error is not read
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
TRY_AGAIN = (408, 429, 500, 502, 503, 504)

Tell = Callable[[str, int, str], None]  # the request, its status, and what that means


class Patience(NamedTuple):
    """How long to wait for a registry; all in seconds but ``tries``."""

    connect: float = 10
    stall: float = 30  # without progress
    tries: int = 5
    first_wait: float = 0.5  # before the second try; doubles with each further one
    longest_wait: float = 30  # when a server asks for more, that is an error
    in_all: float = 90  # from the first failure on


class Attempts:
    """Counts the failures in a row of one undertaking, and waits after each."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0
        self._since = 0.0

    def failed(self, failure: Transient) -> None:
        """Wait until the next try is due; raises the failure's error when there will be none."""
        patience = self._patience
        if not self._failures:
            self._since = time.monotonic()
        self._failures += 1
        # Jitter keeps a thousand clients from coming back in the same instant.
        wait = patience.first_wait * 2 ** (self._failures - 1) * random.uniform(0.5, 1)
        if failure.after is not None:
            wait = max(wait, failure.after)
        left = patience.in_all - (time.monotonic() - self._since)
        if self._failures >= patience.tries or wait > min(patience.longest_wait, left):
            raise self._final(failure.error)
        time.sleep(wait)

    def progressed(self) -> None:
        self._failures = 0

    def _final(self, error: RegistryError) -> RegistryError:
        if self._failures == 1:
            return error
        return type(error)(f"{error.message} ({self._failures} tries)", hint=error.hint)


class Answer:
    """A server's answer: status and headers, and a body that is read on demand."""

    def __init__(self, response: requests.Response, url: str, *, foreign: bool) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url = url
        self.host = urlsplit(url).netloc
        self.foreign = foreign  # it comes from a host that a redirect named
        self.body = b""  # filled by Transport.fetch
        self._response = response

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    @property
    def length(self) -> int | None:
        """Content-Length, or None when it says nothing."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def read(self, limit: int) -> bytes:
        """The body; RegistryError if it is longer than ``limit``, Transient if it breaks off."""
        body = b"".join(self.chunks(limit + 1))
        if len(body) > limit:
            raise RegistryError(f"{self.host}: an answer of more than {limit} bytes: refused")
        return body

    def chunks(self, limit: int) -> Iterator[bytes]:
        """The body in pieces of at most CHUNK, and no more than ``limit`` bytes of it."""
        while limit > 0:
            try:
                piece = self._response.raw.read(min(CHUNK, limit), decode_content=False)
            except (OSError, urllib3.exceptions.HTTPError) as error:
                raise explain(error, self.host) from None
            if not piece:
                return
            limit -= len(piece)
            yield piece


class Transport:
    """A conversation with one registry and the hosts that it names. Threads may share it."""

    def __init__(self, endpoint: Endpoint, patience: Patience, tell: Tell) -> None:
        self.patience = patience
        self._hostname = urlsplit(f"//{endpoint.host}").hostname
        self._tell = tell
        self._verify = not endpoint.insecure
        if endpoint.insecure:  # the user knows, and asked for it
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        reach = Reach()
        own = tls_context(endpoint.registry, verify=self._verify, ours=True)
        other = tls_context(endpoint.registry, verify=True, ours=False)
        self._own = open_session(own, reach, patience.stall)
        self._other = open_session(other, reach, patience.stall)

    def close(self) -> None:
        self._own.close()
        self._other.close()

    def fetch(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        limit: int,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """GET a document of at most ``limit`` bytes, or POST a form for one."""
        attempts = Attempts(self.patience)
        while True:
            try:
                with self.open(url, headers, form=form) as answer:
                    answer.body = (
                        answer.read(limit)
                        if answer.status == 200
                        else b"".join(answer.chunks(LARGEST_ERROR))
                    )
                    return answer
            except Transient as failure:
                attempts.failed(failure)

    def open(
        self, url: str, headers: Mapping[str, str], *, form: Mapping[str, str] | None = None
    ) -> Answer:
        """One GET or POST and its redirects. ``Authorization`` stays with the first host.

        A form may hold secrets and follows no redirect. Raises Transient or RegistryError.
        """
        headers = dict(headers)
        origin = _origin(url)
        for _ in range(MOST_REDIRECTS + 1):
            foreign = _origin(url) != origin
            if foreign:
                headers.pop("Authorization", None)
            answer = self._once(url, headers, form, foreign)
            if answer.status not in REDIRECTS:
                return answer
            with answer:
                if form is not None:
                    raise RegistryError(f"{answer.host}: redirects a form with secrets: refused")
                url = _redirected(answer)
        raise RegistryError(
            f"{urlsplit(origin).netloc}: redirects more than {MOST_REDIRECTS} times"
        )

    def _once(
        self,
        url: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        foreign: bool,
    ) -> Answer:
        ours = urlsplit(url).hostname == self._hostname
        request = f"{'GET' if form is None else 'POST'} {_shown(url, foreign)}"
        try:
            response = (self._own if ours else self._other).request(
                request.partition(" ")[0],
                url,
                headers={"User-Agent": "minirun", "Accept-Encoding": "identity", **headers},
                data=form,
                stream=True,
                allow_redirects=False,
                timeout=(self.patience.connect, self.patience.stall),
                verify=self._verify or not ours,
                proxies=_proxies(url),
            )
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            failure = explain(error, urlsplit(url).netloc)
            self._tell(
                request, 0, str(failure.error if isinstance(failure, Transient) else failure)
            )
            raise failure from None
        answer = Answer(response, url, foreign=foreign)
        self._tell(request, answer.status, _meaning(answer))
        if answer.status in TRY_AGAIN:
            with answer:
                raise _later(answer)
        return answer


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _redirected(answer: Answer) -> str:
    location = answer.headers.get("Location", "")
    target = urljoin(answer.url, location)
    try:
        return challenge.url(target, secure=answer.url.startswith("https:")).geturl()
    except ValueError as error:
        raise RegistryError(f"{answer.host}: {error}") from None


def _proxies(url: str) -> dict[str, Any]:
    """HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY; a proxy could not reach our own loopback."""
    if is_loopback(urlsplit(url).netloc):
        return {}
    return dict(get_environ_proxies(url))


def _shown(url: str, foreign: bool) -> str:
    """A URL for people. The query of a redirect often is a secret (a signature); ours is not."""
    return printable(url.partition("?")[0] if foreign else url)


def _meaning(answer: Answer) -> str:
    if answer.status in REDIRECTS:
        target = urljoin(answer.url, answer.headers.get("Location", ""))
        return f"go to {printable(urlsplit(target).netloc)}"
    if answer.status == 401:
        return f"who are you? {printable(answer.headers.get('WWW-Authenticate', ''))[:300]}"
    kind = printable(answer.headers.get("Content-Type", ""))[:100]
    return kind if answer.length is None else f"{kind}, {answer.length} bytes"


def _later(answer: Answer) -> Transient:
    """The failure that a 429 or 5xx is."""
    after = _retry_after(answer.headers.get("Retry-After", ""))
    wait = "" if after is None else f", asks to wait {after:.0f} s"
    if answer.status != 429:
        text = f"{answer.host}: answers {answer.status} {responses[answer.status]}{wait}"
        return Transient(RegistryError(text, hint=LATER), after)
    error = RateLimited(
        f"{answer.host}: too many requests (429){_limit(answer)}{wait}",
        hint="wait, log in (accounts have higher limits), or set a mirror in registries.conf",
    )
    return Transient(error, after)


def _limit(answer: Answer) -> str:
    """Docker Hub's ``ratelimit-limit: 100;w=21600``: a hundred in 21600 seconds."""
    limit, _, window = answer.headers.get("ratelimit-limit", "").partition(";w=")
    left = answer.headers.get("ratelimit-remaining", "").partition(";")[0]
    if not limit.isdecimal() or not window.isdecimal():
        return ""
    used = f", {left} left" if left.isdecimal() else ""
    return f": its limit is {limit} in {int(window[:9]) / 3600:g} hours{used}"


def _retry_after(text: str) -> float | None:
    """Retry-After in seconds from now: a number or a date (RFC 9110, section 10.2.3)."""
    from email.utils import parsedate_to_datetime

    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
