"""Packets of the name service: read what clients ask, whatever they send; answer what dig reads."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minirun.engine.network import dns

ASK_WEB = bytes.fromhex("1234 0100 0001 0000 0000 0000 0357656200 0001 0001")


def test_a_question_is_read():
    query = dns.parse(ASK_WEB)
    assert (query.name, query.kind, query.end) == ("web", dns.A, len(ASK_WEB))


def test_an_answer_holds_the_question_and_the_records():
    query = dns.parse(ASK_WEB)
    packet = dns.reply(query, [(dns.A, bytes([10, 1, 0, 2])), (dns.A, bytes([10, 1, 0, 3]))])
    assert packet[:12].hex(" ", 2) == "1234 8580 0001 0002 0000 0000"  # AA, RD as asked, RA
    assert packet[12 : query.end] == ASK_WEB[12:]
    assert packet[query.end :].hex() == (
        "c00c" "0001" "0001" "00000005" "0004" "0a010002"
        "c00c" "0001" "0001" "00000005" "0004" "0a010003"
    )  # fmt: skip


def test_a_name_without_such_an_address_is_no_error():
    """A client that asks for IPv6 first must not learn that there is no such name (NXDOMAIN)."""
    packet = dns.reply(dns.parse(ASK_WEB), [])
    assert packet[3] & 0xF == dns.NOERROR and packet[6:8] == b"\0\0"


@pytest.mark.parametrize(("why", "packet"), [
    ("empty", b""),
    ("short", ASK_WEB[:14]),
    ("an answer", b"\x12\x34\x81\x80" + ASK_WEB[4:]),
    ("an update", b"\x12\x34\x28\x00" + ASK_WEB[4:]),
    ("two questions", ASK_WEB[:4] + b"\0\2" + ASK_WEB[6:]),
    ("a label that never ends", ASK_WEB[:12] + b"\x3f" + ASK_WEB[13:]),
    ("a pointer", ASK_WEB[:12] + b"\xc0\x0c\0\1\0\1"),
    ("another class", ASK_WEB[:-1] + b"\3"),
    ("a name of 300 bytes", ASK_WEB[:12] + b"\x3b" * 300 + ASK_WEB[16:]),
])  # fmt: skip
def test_what_is_no_question_is_not_taken_for_one(why, packet):
    assert dns.parse(packet) is None


@given(st.binary(max_size=300))
@example(ASK_WEB)
def test_no_packet_whatever_breaks_it(packet):
    query = dns.parse(packet)
    if query:
        assert query.end <= len(packet)
        assert dns.reply(query, [(dns.A, b"abcd")])[2] & 0x80


@given(st.binary(max_size=100))
def test_no_name_whatever_breaks_it(tail):
    query = dns.parse(ASK_WEB[:12] + tail)
    assert query is None or query.end <= 12 + len(tail)


def test_the_names_of_addresses():
    assert dns.reverse_name(bytes([10, 144, 0, 2])) == "2.0.144.10.in-addr.arpa"
    loopback = bytes(15) + b"\1"
    assert dns.reverse_name(loopback) == "1." + "0." * 31 + "ip6.arpa"
    assert dns.encode_name("web.front") == b"\3web\5front\0"


def test_an_answer_too_long_for_udp_is_cut_to_its_question():
    long = dns.reply(dns.parse(ASK_WEB), [(dns.A, b"abcd")] * 60)
    cut = dns.truncated(long)
    assert cut[2] & 2 and cut[6:8] == b"\0\0" and cut[12:] == ASK_WEB[12:]
