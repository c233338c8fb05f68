"""What went wrong between us and a host, in words that help, from what the libraries raise.

requests wraps urllib3's errors, which wrap those of ssl and socket; the innermost one knows. URLs
are not repeated from there: the query of a redirect is as good as a password.
"""

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3.exceptions

from minirun.errors import RegistryError

# <openssl/x509_vfy.h>; the names are explained in openssl-verification-options(1)
X509_V_ERR_CERT_NOT_YET_VALID = 9
X509_V_ERR_CERT_HAS_EXPIRED = 10
X509_V_ERR_HOSTNAME_MISMATCH = 62
X509_V_ERR_IP_ADDRESS_MISMATCH = 64

LATER = "the registry or the way to it is in trouble: try again later"


class Transient(Exception):
    """A failure that may be gone at the next try, and the error it is if it isn't."""

    def __init__(self, error: RegistryError, after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after  # seconds that the server asks us to wait; None: it said nothing


class NotTLS(RegistryError):
    """The other side does not speak TLS, so perhaps plain HTTP."""


def explain(error: Exception, host: str) -> RegistryError | Transient:
    """The error to raise when talking with ``host`` failed below HTTP."""
    causes = list(_causes(error))
    for kind, words in _WORDS:
        for cause in causes:
            if isinstance(cause, kind) and (found := words(cause, host)):
                return found
    return RegistryError(f"{host}: its answer is not proper HTTP")


def _tls(error: Any, host: str) -> RegistryError | Transient:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, host)
    if isinstance(error, ssl.SSLEOFError):
        return _cut(error, host)
    reason = (error.reason or "").upper()
    if re.search("WRONG_VERSION|HTTP_REQUEST|RECORD_LAYER|PACKET_LENGTH|UNKNOWN_PROTOCOL", reason):
        return NotTLS(
            f"{host}: speaks no TLS, so perhaps plain HTTP, which anyone on the way can change",
            hint="if that is meant to be so, use --tls-verify=false",
        )
    if "PROTOCOL" in reason:
        return RegistryError(f"{host}: speaks no version of TLS that is still safe")
    return RegistryError(f"{host}: TLS failed: {reason.replace('_', ' ').lower() or error}")


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> RegistryError:
    hints = {
        X509_V_ERR_CERT_NOT_YET_VALID: "is the clock of this machine right?",
        X509_V_ERR_CERT_HAS_EXPIRED: "is the clock of this machine right? if it is, tell its owner",
        X509_V_ERR_HOSTNAME_MISMATCH: "use the name that the certificate is for",
        X509_V_ERR_IP_ADDRESS_MISMATCH: "use the name that the certificate is for",
    }
    unknown = (
        f"put the certificate of the CA that signed it into "
        f"/etc/containers/certs.d/{host}/ca.crt, or take the risk with --tls-verify=false"
    )
    return RegistryError(
        f"{host}: its certificate is not to be trusted: {error.verify_message}",
        hint=hints.get(error.verify_code, unknown),
    )


def _proxy(_: Any, host: str) -> RegistryError:
    return RegistryError(f"{host}: the proxy does not let us through", hint="see $HTTPS_PROXY")


def _no_such_host(_: Any, host: str) -> RegistryError:
    return RegistryError(f"{host}: no such host", hint="is the name right? is the network up?")


def _refused(_: Any, host: str) -> RegistryError:
    return RegistryError(f"{host}: nobody listens there", hint="is the port right?")


def _silent(_: Any, host: str) -> Transient:
    return Transient(RegistryError(f"{host}: stopped answering", hint=LATER))


def _cut(_: Any, host: str) -> Transient:
    return Transient(RegistryError(f"{host}: cut the connection short", hint=LATER))


def _not_http(_: Any, host: str) -> RegistryError:
    return RegistryError(f"{host}: its answer is not proper HTTP")


def _from_kernel(error: Any, host: str) -> Transient | None:
    if error.errno is None:  # requests' own, which are OSErrors without a number
        return None
    return Transient(RegistryError(f"{host}: {error.strerror}", hint=LATER))


# What is looked for among the causes, the most telling first.
_WORDS: tuple[tuple[Any, Callable[[Any, str], RegistryError | Transient | None]], ...] = (
    (ssl.SSLError, _tls),
    (requests.exceptions.ProxyError, _proxy),
    (socket.gaierror, _no_such_host),
    (ConnectionRefusedError, _refused),
    ((TimeoutError, urllib3.exceptions.TimeoutError), _silent),
    ((http.client.RemoteDisconnected, http.client.IncompleteRead), _cut),
    (http.client.HTTPException, _not_http),
    (OSError, _from_kernel),
)


def _causes(error: BaseException, depth: int = 0) -> Iterator[BaseException]:
    """``error`` and what it wraps, by whichever way its library does that, outermost first.

    Not by ``__context__``: that would lead to whatever our callers are handling at the time.
    """
    yield error
    for cause in (getattr(error, "reason", None), error.__cause__, *error.args):
        if isinstance(cause, BaseException) and depth < 8:
            yield from _causes(cause, depth + 1)
