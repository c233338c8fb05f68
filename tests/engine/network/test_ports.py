"""-p in all its forms, and whose a port of this machine is."""

import socket

import pytest

from minirun.engine.network import ports
from minirun.errors import Error, UsageError


def short(text):
    return [
        (p["hostIp"], p["hostPort"], p["lastPort"], p["containerPort"], p["protocol"])
        for p in ports.parse(text)
    ]


@pytest.mark.parametrize(("text", "expected"), [
    ("80", [("", 0, 0, 80, "tcp")]),
    ("8080:80", [("", 8080, 8080, 80, "tcp")]),
    (":80", [("", 0, 0, 80, "tcp")]),
    ("0:80", [("", 0, 0, 80, "tcp")]),
    ("53:53/udp", [("", 53, 53, 53, "udp")]),
    ("53:53/UDP", [("", 53, 53, 53, "udp")]),
    ("127.0.0.1:8080:80", [("127.0.0.1", 8080, 8080, 80, "tcp")]),
    ("127.0.0.1::80", [("127.0.0.1", 0, 0, 80, "tcp")]),
    ("[fd00::1]:8080:80", [("fd00::1", 8080, 8080, 80, "tcp")]),
    ("[2001:DB8::0]::80/sctp", [("2001:db8::", 0, 0, 80, "sctp")]),
    ("80-81", [("", 0, 0, 80, "tcp"), ("", 0, 0, 81, "tcp")]),
    ("8000-8001:80-81", [("", 8000, 8000, 80, "tcp"), ("", 8001, 8001, 81, "tcp")]),
    ("8000-8010:80", [("", 8000, 8010, 80, "tcp")]),
])  # fmt: skip
def test_every_form(text, expected):
    assert short(text) == expected


@pytest.mark.parametrize("text", [
    "", ":", "x", "80:", "80:x", "0", "65536", "-1", "80:65536", "80/icmp", "80/", "90-80",
    "8000-8002:80-81", "1.2.3:80:80", "::1:80:80", "[::1]:80", "[::1]:80:80",
    "[127.0.0.1]:1:2", "host:80:80",
    "1:2:3:4", "８０", "80\0", "99999999999:80",
])  # fmt: skip
def test_what_is_none_is_refused(text):
    with pytest.raises(UsageError):
        ports.parse(text)


def test_publish_all_takes_what_is_exposed_and_not_published_yet():
    exposed = [*ports.parse_exposed("80"), *ports.parse_exposed("53/udp"), (443, "tcp")]
    chosen = ports.publish_all(exposed, ports.parse("8080:80"))
    assert [(p["containerPort"], p["protocol"]) for p in chosen] == [(53, "udp"), (443, "tcp")]
    assert all(p["hostPort"] == 0 for p in chosen)


def test_a_port_is_held_until_it_is_let_go():
    found, held = ports.hold(ports.parse("127.0.0.1::80"), ipv6=False)
    number = found[0]["hostPort"]
    assert number > 0 and len(held.fds()) == 1
    with pytest.raises(Error, match=f"{number}/tcp of this machine is already in use"):
        ports.hold(ports.parse(f"127.0.0.1:{number}:80"), ipv6=False)
    with socket.socket() as other:  # also one that would share it, as servers do
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="Address already in use"):
            other.bind(("127.0.0.1", number))
            other.listen()
    held.close()
    _, again = ports.hold(ports.parse(f"127.0.0.1:{number}:80"), ipv6=False)
    again.close()


def test_of_a_range_the_first_free_port_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        if number > 65500:
            pytest.skip("too near to the end")
        found, held = ports.hold(ports.parse(f"127.0.0.1:{number}-{number + 20}:80"), ipv6=False)
        held.close()
        assert number < found[0]["hostPort"] <= number + 20


def test_when_one_port_cannot_be_had_none_is_held():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    wanted = [*ports.parse(f"127.0.0.1:{free}:80"), *ports.parse("198.51.100.7:80:80")]
    with pytest.raises(Error, match="no such address"):
        ports.hold(wanted, ipv6=False)
    _, held = ports.hold(wanted[:1], ipv6=False)
    held.close()


def test_every_address_means_both_families_where_the_container_has_both():
    found, held = ports.hold(ports.parse("80"), ipv6=True)
    held.close()
    assert [port["hostIp"] for port in found] == ["0.0.0.0", "::"]
    assert found[0]["hostPort"] == found[1]["hostPort"]
