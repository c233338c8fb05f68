"""HTTP as a registry needs it: redirects without secrets, and answers of a bounded size.

    Transport.fetch   a small document: tried again while that may help
    Transport.open    one try for a large one, whose reader knows how to go on after a cut

Both return an Answer whatever its status is, but for "later" (429 and 5xx) and failures below HTTP.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies

from minirun.errors import RegistryError, printable
from minirun.image import challenge
from minirun.image.connection import Conversation, open_session, tls_context
from minirun.image.failures import Transient, explain
from minirun.image.patience import TRY_AGAIN, Attempts, Patience, come_back_later
from minirun.image.registries import Endpoint, is_loopback

CHUNK = 1 << 20
LARGEST_ERROR = 64 << 10  # more of an error is not read
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)

Tell = Callable[[str, int, str], None]  # the request, its status, and what that means


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
            except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
                raise explain(error, self.host) from None
            if not piece:
                return
            limit -= len(piece)
            yield piece


class Transport:
    """A conversation with one registry and the hosts that it names. Threads may share it."""

    def __init__(self, endpoint: Endpoint, patience: Patience, tell: Tell) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._closed = threading.Event()
        self._hostname = urlsplit(f"//{endpoint.host}").hostname
        self._tell = tell
        self._verify = not endpoint.insecure
        if endpoint.insecure:  # the user knows, and asked for it
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._conversation = Conversation(patience.stall)
        self._sessions: dict[bool, requests.Session] = {}  # with the registry, and with others

    def close(self) -> None:
        """End the conversation, whoever is still in the middle of it."""
        self._closed.set()
        self._conversation.end()
        for session in list(self._sessions.values()):
            session.close()

    def attempts(self) -> Attempts:
        return Attempts(self._patience, self._pause)

    def fetch(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        limit: int,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """GET a document of at most ``limit`` bytes, or POST a form for one."""
        attempts = self.attempts()
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
        shown = url
        for _ in range(MOST_REDIRECTS + 1):
            foreign = _origin(url) != origin
            if foreign:
                headers.pop("Authorization", None)
            answer = self._once(url, headers, form, shown=shown, foreign=foreign)
            if answer.status not in REDIRECTS:
                return answer
            with answer:
                if form is not None:
                    raise RegistryError(f"{answer.host}: redirects a form with secrets: refused")
                url = _redirected(answer)
                shown = url.partition("?")[0]  # a query often is a secret (a signature)
        raise RegistryError(
            f"{urlsplit(origin).netloc}: redirects more than {MOST_REDIRECTS} times"
        )

    def _session(self, ours: bool) -> requests.Session:
        """For the registry (``ours``) or another host; made when needed, as few need both."""
        session = self._sessions.get(ours)
        if session is None:
            verify = self._verify or not ours
            context = tls_context(self._endpoint.registry, verify=verify, ours=ours)
            session = self._sessions.setdefault(ours, open_session(context, self._conversation))
        return session

    def _pause(self, seconds: float) -> None:
        self._tell("wait", 0, f"{seconds:.1f} seconds")
        self._closed.wait(seconds)

    def _once(
        self,
        url: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        *,
        shown: str,
        foreign: bool,
    ) -> Answer:
        if self._closed.is_set():
            raise RegistryError(f"{urlsplit(url).netloc}: given up")
        ours = urlsplit(url).hostname == self._hostname
        method = "GET" if form is None else "POST"
        request = f"{method} {printable(shown)}"
        session = self._session(ours)
        try:
            response = session.request(
                method,
                url,
                headers={"User-Agent": "minirun", "Accept-Encoding": "identity", **headers},
                data=form,
                stream=True,
                allow_redirects=False,
                timeout=(self._patience.connect, self._patience.stall),
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
                raise come_back_later(answer.host, answer.status, answer.headers)
        return answer


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _redirected(answer: Answer) -> str:
    try:
        target = urljoin(answer.url, answer.headers.get("Location", ""))
        return challenge.url(target, secure=answer.url.startswith("https:")).geturl()
    except ValueError as error:
        raise RegistryError(f"{answer.host}: {error}") from None


def _proxies(url: str) -> dict[str, Any]:
    """HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY; a proxy could not reach our own loopback."""
    if is_loopback(urlsplit(url).netloc):
        return {}
    return dict(get_environ_proxies(url))


def _meaning(answer: Answer) -> str:
    if answer.status in REDIRECTS:
        return f"go to {printable(answer.headers.get('Location', '').partition('?')[0])[:300]}"
    if answer.status == 401:
        return f"who are you? {printable(answer.headers.get('WWW-Authenticate', ''))[:300]}"
    kind = printable(answer.headers.get("Content-Type", ""))[:100]
    return kind if answer.length is None else f"{kind}, {answer.length} bytes"
