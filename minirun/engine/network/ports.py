"""Published ports: ``-p`` in all its forms, and holding the ports of this machine.

    80                a free port of this machine → port 80 of the container
    8080:80           on every address of this machine
    127.0.0.1:8080:80 on this address only      [fd00::1]:8080:80    127.0.0.1::80
    8000-8002:80-82   one to one                8000-8002:80     the first one that is free
    …/udp  …/sctp     the protocol, where it is not TCP

The packets are sent on by the kernel (firewall.py), so nothing has to listen here. But as long as a
port is published, a socket of ours has it: two that want the same port get to know, whoever the
other is, and the kernel chooses those that are free. Only what comes to ::1 is not sent on: there
the connection is refused, and clients that know this machine as localhost try 127.0.0.1 next.
"""

from __future__ import annotations

import _socket as socket
import errno
import os

from minirun.errors import Error, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Port = dict[str, Any]  # hostIp "" (every one), hostPort 0 (any), lastPort, containerPort, …

PROTOCOLS = ("tcp", "udp", "sctp")
HINT = "-p [[ADDRESS:]HOSTPORT:]PORT[/udp], for example -p 8080:80"
MOST = 250  # sockets: so many files go to the monitor in one message. unix(7), SCM_MAX_FD


def parse(text: str) -> list[Port]:
    """The ports that one ``-p`` publishes.

    >>> [port["hostPort"] for port in parse("8000-8001:80-81")]
    [8000, 8001]
    """
    body, protocol = _protocol(text)
    address, host, inner = _split(body)
    first, last = _range(inner, text)
    count = last - first + 1
    if not host:
        lows = highs = [0] * count
    else:
        low, high = _range(host, text, least=0)
        if count == 1:
            lows, highs = [low], [high]
        elif high - low + 1 == count:
            lows = highs = list(range(low, high + 1))
        else:
            raise UsageError(f"{_shown(text)}: the two ranges differ in length", hint=HINT)
    return [
        {"hostIp": address, "hostPort": lows[i], "lastPort": highs[i],
         "containerPort": first + i, "protocol": protocol}
        for i in range(count)
    ]  # fmt: skip


def parse_exposed(text: str) -> list[tuple[int, str]]:
    """``--expose 80``, ``8000-8010/udp``, and what an image names.

    >>> parse_exposed("8000-8001/udp")
    [(8000, 'udp'), (8001, 'udp')]
    """
    body, protocol = _protocol(text)
    first, last = _range(body, text)
    return [(port, protocol) for port in range(first, last + 1)]


def publish_all(exposed: Iterable[tuple[int, str]], published: Sequence[Port]) -> list[Port]:
    """``-P``: a free port of this machine for each that is exposed and not published anyway."""
    taken = {(port["containerPort"], port["protocol"]) for port in published}
    return [
        {"hostIp": "", "hostPort": 0, "lastPort": 0, "containerPort": port, "protocol": protocol}
        for port, protocol in sorted(set(exposed) - taken)
    ]


def _protocol(text: str) -> tuple[str, str]:
    body, slash, protocol = text.rpartition("/")
    if not slash:
        return text, "tcp"
    if protocol.lower() not in PROTOCOLS:
        raise UsageError(f"{_shown(text)}: the protocol is tcp, udp or sctp", hint=HINT)
    return body, protocol.lower()


def _split(body: str) -> tuple[str, str, str]:
    """``ADDRESS:HOST:PORT`` in three; the first two may be "". An IPv6 address has brackets."""
    rest, _, inner = body.rpartition(":")
    if rest.startswith("[") and rest.endswith("]"):
        raise UsageError(f"{_shown(body)}: which port of this machine?", hint="[::1]::80: any")
    address, _, host = rest.rpartition(":")
    if not address:
        return "", host, inner
    if address.startswith("[") and address.endswith("]"):
        address = str(_address(address[1:-1], body, 6))
        if address == "::1":
            raise UsageError(
                f"{_shown(body)}: the kernel sends packets from ::1 nowhere else",
                hint=f"-p 127.0.0.1:{host}:{inner}",
            )
        return address, host, inner
    return str(_address(address, body, 4)), host, inner


def _address(text: str, body: str, version: int) -> object:
    import ipaddress

    try:
        return (ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(text)
    except ValueError:
        raise UsageError(
            f"{_shown(body)}: {_shown(text)} is no IPv{version} address", hint=HINT
        ) from None


def _range(text: str, whole: str, least: int = 1) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    low = _number(first, whole, least)
    high = _number(last, whole, least) if dash else low
    if high < low:
        raise UsageError(f"{_shown(whole)}: the range ends before it begins", hint=HINT)
    return low, high


def _number(text: str, whole: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:9]) < 65536:
        raise UsageError(f"{_shown(whole)}: {_shown(text)} is no port", hint=HINT)
    return int(text)


def _shown(text: str) -> str:
    return repr(printable(text)[:80])


# --- holding them ---------------------------------------------------------------------------------

KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


class Held:
    """The sockets that hold the ports of one container; the descriptors can be inherited. What a
    ``relay`` wants to be kept open as long as they are is kept, too."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.relay = -1

    def fds(self) -> list[int]:
        found = [held.fileno() for held in self.sockets]
        return found if self.relay < 0 else [*found, self.relay]

    def close(self) -> None:
        for held in self.sockets:
            held.close()
        if self.relay >= 0:
            os.close(self.relay)
        self.sockets, self.relay = [], -1


def hold(wanted: Iterable[Port], *, ipv6: bool) -> tuple[list[Port], Held]:
    """Take the ports of this machine that are ``wanted``; each as it came to be, on an address.

    "" is every address: 0.0.0.0, and [::] too where the container has an IPv6 address (``ipv6``).
    Raises Error for one that somebody else has; then none is held.
    """
    held = Held()
    found: list[Port] = []
    wanted = list(wanted)
    if len(wanted) << ipv6 > MOST:
        raise UsageError(f"-p: {len(wanted)} ports are more than one container can publish")
    try:
        for port in wanted:
            number = _hold_any(port, held, port["hostIp"] or "0.0.0.0")
            addresses = [port["hostIp"] or "0.0.0.0"]
            if ipv6 and not port["hostIp"]:
                _hold(number, port["protocol"], "::", held)
                addresses.append("::")
            found += [
                {"hostIp": address, "hostPort": number, "containerPort": port["containerPort"],
                 "protocol": port["protocol"]}
                for address in addresses
            ]  # fmt: skip
    except Error:
        held.close()
        raise
    return found, held


def _hold_any(port: Port, held: Held, address: str) -> int:
    """The first port of its range that is free, taken."""
    for number in range(port["hostPort"], port["lastPort"] + 1):
        try:
            return _hold(number, port["protocol"], address, held)
        except Error:
            if number == port["lastPort"]:
                raise
    raise AssertionError(port)


def _hold(number: int, protocol: str, address: str, held: Held) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind, number_of_protocol = KINDS[protocol]
    try:
        one = socket.socket(family, kind, number_of_protocol)
        held.sockets.append(one)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        elif protocol == "tcp":  # connections that ended on this port lately are in nobody's way
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, number))
        if protocol == "tcp" and family == socket.AF_INET:  # who does both has it for itself
            one.listen(0)
    except OSError as error:
        raise _refusal(error, f"{address}:{number}/{protocol}") from None
    return int(one.getsockname()[1])


def _refusal(error: OSError, port: str) -> Error:
    if error.errno == errno.EADDRINUSE:
        return Error(
            f"port {port} of this machine is already in use",
            hint="minirun ps and ss -lntup show by whom; or leave out the first number: -p PORT",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return Error(f"port {port}: this machine has no such address", hint="ip address")
    if error.errno == errno.EACCES:
        return Error(
            f"port {port}: the first 1023 ports are root's",
            hint="a higher one; or as root: sysctl -w net.ipv4.ip_unprivileged_port_start=80",
        )
    if error.errno == errno.EPROTONOSUPPORT:
        return Error(f"port {port}: this kernel does not know the protocol")
    return Error(f"port {port} cannot be had: {error.strerror}")
