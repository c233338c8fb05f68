"""A registry that misbehaves on purpose, on loopback, over plain HTTP or TLS.

    with fake_registry() as fake:
        layer = fake.blob(b"bytes")                              # its descriptor
        fake.manifest("lib/app", "latest", {...})
        fake.on("/blobs/", cut(100), status(503))                # the first two answers; then good
        fake.on("/manifests/", forever(hang()))
        …
        fake.requests                                            # what was asked, headers and all

A fault is a function of the request and of the good reply: it gives a reply to send instead, or the
raw bytes of an answer, with pauses (numbers, in seconds) between them.
"""

import hashlib
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BLOB = "application/octet-stream"


@dataclass
class Request:
    method: str
    target: str  # with the query
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def head(self) -> bytes:
        headers = {"Content-Length": str(len(self.body)), **self.headers}
        lines = [f"{name}: {value}" for name, value in headers.items() if value]
        return "\r\n".join([f"HTTP/1.1 {self.status} {responses[self.status]}", *lines, "", ""]
                           ).encode("latin-1")


Raw = Iterable[bytes | float]
Fault = Callable[[Request, Reply], Reply | Raw]


# --- faults ---------------------------------------------------------------------------------


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """Another status; ``Retry_After="1"`` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, reply: Reply(code, named, body)


def header(**headers: str) -> Fault:
    """The good reply with other headers; an empty one is left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, reply: replace(reply, headers=reply.headers | named)


def body(content: bytes) -> Fault:
    return lambda request, reply: replace(reply, body=content)


def redirect(url: str, code: int = 307) -> Fault:
    return status(code, Location=url)


def cut(after: int) -> Fault:
    """Close the connection when that many bytes of the body are sent."""
    return lambda request, reply: [reply.head(), reply.body[:after]]


def drip(every: float, after: int = 0) -> Fault:
    """The good reply; after that many bytes of it, headers included, a byte at a time."""
    def pieces(request: Request, reply: Reply) -> Iterator[bytes | float]:
        whole = reply.head() + reply.body
        yield whole[:after]
        for at in range(after, len(whole)):
            yield every
            yield whole[at:at + 1]
    return pieces


def hang(after: int = 0) -> Fault:
    """Say that many bytes, and then nothing more."""
    return lambda request, reply: [(reply.head() + reply.body)[:after], 3600.0]


def raw(content: bytes) -> Fault:
    return lambda request, reply: [content]


def endless(piece: bytes = b"x" * 65536) -> Fault:
    """A body without end, in chunks (RFC 9112, section 7.1)."""
    def pieces(request: Request, reply: Reply) -> Iterator[bytes | float]:
        yield replace(reply, headers=reply.headers | {"Content-Length": "",
                                                      "Transfer-Encoding": "chunked"}).head()
        while True:
            yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    return pieces


def endless_redirect(url: str) -> Fault:
    """A redirect that talks on and on."""
    return lambda request, reply: endless()(request, Reply(307, {"Location": url}))


def chunked(content: bytes | None = None) -> Fault:
    """The reply's body, or another one, without a Content-Length."""
    def pieces(request: Request, reply: Reply) -> Iterator[bytes | float]:
        data = reply.body if content is None else content
        yield replace(reply, headers=reply.headers | {"Content-Length": "",
                                                      "Transfer-Encoding": "chunked"}).head()
        yield f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n"
    return pieces


def forever(fault: Fault) -> list[Fault]:
    return [fault] * 1000


# --- the server -----------------------------------------------------------------------------


class FakeRegistry:
    """What it has, what it does wrong, and what it was asked."""

    def __init__(self) -> None:
        self.host = ""  # "127.0.0.1:40123"
        self.scheme = "http"
        self.contents: dict[str, Reply] = {}  # by path
        self.requests: list[Request] = []
        self.authorization = ""  # what a request must have as its Authorization; if not, …
        self.challenge = ""  # … it gets a 401 with this as its WWW-Authenticate
        self.connections = 0
        self.stopping = threading.Event()
        self._faults: list[tuple[str, list[Fault]]] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def blob(self, content: bytes, repository: str = "lib/app",
             media_type: str = "application/vnd.oci.image.layer.v1.tar") -> dict[str, Any]:
        """Store a blob; its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.contents[f"/v2/{repository}/blobs/{digest}"] = Reply(
            headers={"Content-Type": BLOB, "Docker-Content-Digest": digest}, body=content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def manifest(self, repository: str, tag: str, document: bytes | dict[str, Any],
                 media_type: str = MANIFEST) -> str:
        """Store a manifest or index under a tag and its digest; the digest."""
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        reply = Reply(headers={"Content-Type": media_type, "Docker-Content-Digest": digest},
                      body=content)
        for name in (tag, digest):
            self.contents[f"/v2/{repository}/manifests/{name}"] = reply
        return digest

    def token(self, token: str = "good-token", path: str = "/token") -> None:
        """Be a token server too, at ``path``, and want its token for all else."""
        self.contents[path] = Reply(headers={"Content-Type": "application/json"},
                                    body=json.dumps({"token": token}).encode())
        self.challenge = f'Bearer realm="{self.url}{path}",service="fake"'
        self.authorization = f"Bearer {token}"

    def on(self, part: str, *faults: Fault | list[Fault]) -> None:
        """Let the next requests whose target has ``part`` in it meet these faults."""
        queue: list[Fault] = []
        for fault in faults:
            queue += fault if isinstance(fault, list) else [fault]
        self._faults.append((part, queue))

    def asked(self, part: str) -> list[Request]:
        return [request for request in self.requests if part in request.target]

    def answer(self, request: Request) -> Reply | Raw:
        with self._lock:
            self.requests.append(request)
            fault = next((queue.pop(0) for part, queue in self._faults
                          if queue and part in request.target), None)
        reply = self._good(request)
        return fault(request, reply) if fault else reply

    def _good(self, request: Request) -> Reply:
        path = request.target.partition("?")[0]
        known = self.authorization in ("", request.headers.get("authorization"))
        if path.startswith("/v2/") and not known:
            return Reply(401, {"WWW-Authenticate": self.challenge}, b"{}")
        reply = self.contents.get(path)
        if reply is None:
            unknown = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            return Reply(404, {"Content-Type": "application/json"}, json.dumps(unknown).encode())
        asked = request.headers.get("range", "")
        if asked.startswith("bytes="):
            begin, size = int(asked[6:].partition("-")[0]), len(reply.body)
            if begin >= size:
                return Reply(416, {"Content-Range": f"bytes */{size}"})
            placed = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"}
            return Reply(206, reply.headers | placed, reply.body[begin:])
        return reply


class _Handler(socketserver.StreamRequestHandler):
    fake: FakeRegistry
    tls: ssl.SSLContext | None

    def handle(self) -> None:
        self.fake.connections += 1
        with suppress(OSError, ValueError):
            if self.tls:
                self.connection = self.tls.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
            elif self.rfile.peek(1)[:1] == b"\x16":  # a TLS hello: answer as Go's servers do
                self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nHTTPS to an HTTP server")
                return
            while self.one_request():
                pass

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
            self.connection.close()  # a wrapped one is not the server's to close

    def one_request(self) -> bool:
        """Answer a request; whether the connection lives on."""
        method, target, _ = self.rfile.readline().decode("latin-1").split()
        headers = {}
        while line := self.rfile.readline().strip().decode("latin-1"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        content = self.rfile.read(int(headers.get("content-length", 0)))
        answer = self.fake.answer(Request(method, target, headers, content))
        if isinstance(answer, Reply):
            self.connection.sendall(answer.head() + answer.body)
            return True
        for piece in answer:
            if isinstance(piece, bytes):
                self.connection.sendall(piece)
            elif self.fake.stopping.wait(piece):
                break
        return False


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


class _Server6(_Server):
    address_family = socket.AF_INET6


@contextmanager
def fake_registry(tls: ssl.SSLContext | None = None, address: tuple[str, int] = ("127.0.0.1", 0)
                  ) -> Iterator[FakeRegistry]:
    """The server while the block runs; ``tls`` is a server's context."""
    fake = FakeRegistry()
    handler = type("Handler", (_Handler,), {"fake": fake, "tls": tls})
    ip, server_class = (f"[{address[0]}]", _Server6) if ":" in address[0] else (address[0], _Server)
    with server_class(address, handler) as server:
        fake.host = f"{ip}:{server.server_address[1]}"
        fake.scheme = "https" if tls else "http"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            fake.stopping.set()
            server.shutdown()
            thread.join()
