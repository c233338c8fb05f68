"""Below HTTP: whom we trust, how long we wait, and which addresses a registry may send us to.

Three things that the ``requests`` package leaves open are closed here, at the socket:

  - Certificates are checked against the system's CAs (as docker and podman do) and the registry's
    own in certs.d(5): HOST/*.crt are CAs, HOST/*.cert and HOST/*.key say who we are.
  - A server that trickles is as dead as one that is silent: what counts is progress (class _Paced).
  - A registry can name other hosts, in redirects and in the realm of a challenge. An address nearer
    to us than the registry's own is refused (class Reach), or a public registry could make us talk
    to the services of this machine and its cloud. The address is looked at once the connection
    stands and before a byte is sent, so no spelling of a name gets around it.

Importing this module imports requests, which takes a tenth of a second: only do so to pull.
"""

import http.client
import io
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from minirun.errors import RegistryError
from minirun.image.registries import SYSTEM_CONFIG

CERTIFICATES = (f"{SYSTEM_CONFIG}/certs.d", "/etc/docker/certs.d")
LEAST_PROGRESS = 1024  # bytes that must come in the time of one stall
METADATA = ("100.100.100.200", "fd00:ec2::254")  # clouds tell secrets there, as at 169.254.169.254
CONNECTIONS = 8  # kept open to one host: more than a pull ever uses at once


def open_session(context: ssl.SSLContext, conversation: "Conversation") -> requests.Session:
    """A session that knows nothing but what it is told: no netrc, no cookies, no environment."""
    session = _Session()
    session.trust_env = False
    session.headers.clear()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _adapter(context, _connections(conversation))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _Session(requests.Session):
    def get_redirect_target(self, resp: Any) -> None:
        """None: transport.py follows redirects. requests would read a redirect's whole body first,
        and nobody knows how long that is."""


# --- whom we trust ---------------------------------------------------------------------------


def tls_context(registry: str, *, verify: bool, ours: bool) -> ssl.SSLContext:
    """What TLS with ``registry``, or (not ``ours``) a host that it names, is checked against.

    Our own certificate is for the registry alone.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # the default is the library's, often older
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    _trust_system(context)
    directory = certificates(registry)
    names = sorted(os.listdir(directory)) if directory else []
    for name in names:
        path = f"{directory}/{name}"
        try:
            if name.endswith(".crt"):
                context.load_verify_locations(cafile=path)
            elif name.endswith(".cert") and ours:
                key = path.removesuffix(".cert") + ".key"
                context.load_cert_chain(path, key, password="")  # nobody is to be asked for one
        except (ssl.SSLError, OSError) as error:
            raise RegistryError(f"{path}: cannot use this certificate: {error.strerror}") from None
    return context


def certificates(registry: str) -> str | None:
    """The folder with a registry's certificates, if there is one."""
    own = (os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) + "/containers"
    candidates = [f"{place}/{registry}" for place in (f"{own}/certs.d", *CERTIFICATES)]
    return next((path for path in candidates if os.path.isdir(path)), None)


def _trust_system(context: ssl.SSLContext) -> None:
    """The system's CAs. Where they are filed by hash, OpenSSL looks up the one that it needs;
    reading them all takes 40 ms."""
    directory = ssl.get_default_verify_paths().capath
    hashed = directory and any(
        re.fullmatch(r"[0-9a-f]{8}\.0", name) for name in os.listdir(directory)
    )
    if hashed and "SSL_CERT_FILE" not in os.environ:
        context.load_verify_locations(capath=directory)
    else:
        context.load_default_certs()


# --- where we may be sent --------------------------------------------------------------------


def nearness(address: str) -> int:
    """How near an IP address is: 0 public, 1 a private network, 2 this machine, 3 its cloud.

    >>> [nearness(a) for a in ("8.8.8.8", "10.0.0.1", "127.0.0.1", "::ffff:169.254.169.254")]
    [0, 1, 2, 3]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_link_local or str(ip) in METADATA:
        return 3
    if ip.is_loopback or ip.is_unspecified:
        return 2
    return 0 if ip.is_global else 1


class Reach:
    """How near a conversation may come: as near as the registry that it began with.

    That the first answer counts also stops a registry that changes its own address (DNS rebinding).
    """

    def __init__(self) -> None:
        self._nearest: int | None = None
        self._lock = threading.Lock()

    def check(self, host: str, address: str | None) -> None:
        """Refuse an address that is too near; None is a proxy's, which has to decide for itself."""
        near = nearness(address) if address else 0
        with self._lock:
            if self._nearest is None:
                self._nearest = near
        if address and near > self._nearest:
            raise RegistryError(
                f"the registry sends us to {host} ({address}), "
                "which is nearer to this machine than the registry is: refused",
                hint="an honest registry has no reason to; if it is yours, tell its configuration "
                "the name by which others reach it",
            )


# --- how long we wait ------------------------------------------------------------------------


class Conversation:
    """What all connections with one registry, and with the hosts that it names, have in common."""

    def __init__(self, stall: float) -> None:
        self.reach = Reach()
        self.stall = stall  # seconds
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()

    def add(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.add(sock)

    def end(self) -> None:
        """Wake whoever still waits for an answer: it will find its connection cut."""
        with self._lock:
            for sock in self._sockets:
                try:  # not SSLSocket's own shutdown, which would take TLS from under its reader
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                except OSError:
                    pass  # it has ended already


class _Paced(io.RawIOBase):
    """A socket's bytes, while LEAST_PROGRESS of them come in every ``stall`` seconds of waiting.

    Headers, the framing of chunks and bodies all come through here. Only time spent waiting for the
    server counts, so a reader that is slow itself harms nobody.
    """

    def __init__(self, sock: socket.socket, stall: float) -> None:
        self._raw = sock.makefile("rb", buffering=0)
        self._stall = stall
        self._waited = 0.0
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        began = time.monotonic()
        count = self._raw.readinto(buffer)
        self._waited += time.monotonic() - began
        self._received += count or 0
        if self._waited > self._stall:
            if count and self._received < LEAST_PROGRESS:
                raise TimeoutError("too slow")
            self._waited, self._received = 0.0, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedSocket:
    """Just as much of a socket as http.client.HTTPResponse uses."""

    def __init__(self, sock: socket.socket, conversation: Conversation) -> None:
        self._sock, self._stall = sock, conversation.stall
        conversation.add(sock)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Paced(self._sock, self._stall))


def _connections(conversation: Conversation) -> dict[str, Any]:
    """urllib3's connection pools by scheme, with our rules for each new connection."""

    class PacedResponse(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *rest: Any, **options: Any) -> None:
            paced: Any = _PacedSocket(sock, conversation)
            super().__init__(paced, *rest, **options)

    class Guarded(HTTPConnection):
        response_class = PacedResponse

        def _new_conn(self) -> socket.socket:
            sock = super()._new_conn()
            try:
                address = None if self.proxy else sock.getpeername()[0]
                conversation.reach.check(self.host, address)
            except BaseException:
                sock.close()
                raise
            return sock

    class GuardedTLS(Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTLS

    return {"http": Pool, "https": TLSPool}


def _adapter(context: ssl.SSLContext, pools: dict[str, Any]) -> HTTPAdapter:
    """requests' way to urllib3, with our connections and our idea of trust."""

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
            super().init_poolmanager(*sizes, ssl_context=context, **options)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            manager = super().proxy_manager_for(proxy, ssl_context=context, **options)
            manager.pool_classes_by_scheme = pools
            return manager

        def cert_verify(self, *_: object) -> None:
            """Leave it to the context; requests would add the CAs that it brings along."""

    return Adapter(pool_maxsize=CONNECTIONS)
