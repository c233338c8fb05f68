"""The packets of the name service. RFC 1035; pure functions between bytes and names.

Only what a small server needs: the first question of a query is read, and answers about our own
names are written. Everything else is passed on as it came.

    header    id 2, flags 2, counts of questions, answers, authorities, additions: 2 each
    question  a name as length-prefixed labels ending with 0, type 2, class 2
    answer    a name (a pointer to the question's), type 2, class 2, seconds to live 4, length 2, …
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = 12
A, PTR, AAAA, ANY = 1, 12, 28, 255
INTERNET = 1
NOERROR, SERVFAIL, REFUSED = 0, 2, 5
RESPONSE, AUTHORITATIVE, TRUNCATED, RECURSION = 0x8000, 0x0400, 0x0200, 0x0080
LONGEST_NAME = 255
SMALLEST = 512  # bytes that every client takes in a UDP packet
TIME_TO_LIVE = 5  # seconds: a container that was restarted may have another address
POINTER_TO_QUESTION = b"\xc0\x0c"


class Query:
    """A question as a client asked it; ``end`` is where it ends in ``packet``."""

    def __init__(self, packet: bytes, name: str, kind: int, end: int) -> None:
        self.packet, self.name, self.kind, self.end = packet, name, kind, end


def parse(packet: bytes) -> Query | None:
    """The query in a packet; None for anything that is not one plain question."""
    if len(packet) < HEADER + 5 or packet[2] & 0xF8 or packet[4:6] != b"\0\1":
        return None  # an answer, another kind of request (opcode), or not one question
    labels, at = [], HEADER
    while length := packet[at]:
        if length > 63 or at + length + 5 > len(packet) or at + length - HEADER > LONGEST_NAME:
            return None
        labels.append(packet[at + 1 : at + 1 + length])
        at += 1 + length
    end = at + 5
    if end > len(packet) or packet[at + 3 : end] != INTERNET.to_bytes(2, "big"):
        return None
    name = b".".join(labels).decode("latin-1").lower()
    return Query(packet, name, int.from_bytes(packet[at + 1 : at + 3], "big"), end)


def reply(query: Query, records: Sequence[tuple[int, bytes]], code: int = NOERROR) -> bytes:
    """An answer with ``records`` (type, data), all of the name that was asked for."""
    asked = int.from_bytes(query.packet[2:4], "big")
    flags = RESPONSE | AUTHORITATIVE | asked & 0x7900 | RECURSION | code
    packet = bytearray(query.packet[:2])
    packet += flags.to_bytes(2, "big") + b"\0\1" + len(records).to_bytes(2, "big") + bytes(4)
    packet += query.packet[HEADER : query.end]
    for kind, data in records:
        packet += POINTER_TO_QUESTION + kind.to_bytes(2, "big") + b"\0\1"
        packet += TIME_TO_LIVE.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data
    return bytes(packet)


def truncated(packet: bytes) -> bytes:
    """An answer that fits no UDP packet: the client asks again by TCP when it sees this."""
    flags = int.from_bytes(packet[2:4], "big") | TRUNCATED
    end = HEADER
    while packet[end]:
        end += 1 + packet[end]
    return packet[:2] + flags.to_bytes(2, "big") + b"\0\1" + bytes(6) + packet[HEADER : end + 5]


def encode_name(name: str) -> bytes:
    """A name as labels. One that does not fit gives the root's."""
    labels = [label.encode("latin-1", "replace") for label in name.split(".") if label]
    if any(len(label) > 63 for label in labels):
        return b"\0"
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def reverse_name(address: bytes) -> str:
    """Under which name the PTR record of an address is asked for.

    >>> reverse_name(bytes([10, 144, 0, 2]))
    '2.0.144.10.in-addr.arpa'
    """
    if len(address) == 4:
        return ".".join(str(octet) for octet in reversed(address)) + ".in-addr.arpa"
    return ".".join(reversed(address.hex())) + ".ip6.arpa"
