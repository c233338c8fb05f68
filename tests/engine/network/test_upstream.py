"""Which name servers a container gets: never one that it cannot reach."""

import pytest

from minirun.engine.network import upstream

STUB = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n"
BEHIND = "nameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch lan\n"


def test_the_hosts_own_servers_are_passed_on():
    host = upstream.of_host("# made by hand\nnameserver 192.0.2.1 # router\nsearch a b\n", "")
    assert upstream.of_container(host, {}, None).text() == "nameserver 192.0.2.1\nsearch a b\n"


def test_behind_a_stub_are_the_real_servers():
    host = upstream.of_host(STUB, BEHIND)
    text = upstream.of_container(host, {}, None).text()
    assert text == (
        "nameserver 192.0.2.53\nnameserver 192.0.2.54\nsearch lan\noptions edns0 trust-ad\n"
    )


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.53", "::1", "fe80::1%eth0"])
def test_a_server_out_of_reach_is_left_out(server):
    host = upstream.of_host(f"nameserver {server}\n", "")
    assert upstream.servers_of(host, {}) == []
    assert upstream.of_container(host, {}, "10.1.0.1").text() == "nameserver 10.1.0.1\n"


def test_flags_win():
    host = upstream.of_host(STUB, BEHIND)
    flags = {"dns": ("9.9.9.9",), "dns_search": (".",), "dns_option": ("ndots:2",)}
    assert upstream.of_container(host, flags, None).text() == (
        "nameserver 9.9.9.9\noptions ndots:2\n"
    )
    assert upstream.servers_of(host, flags) == ["9.9.9.9"]


def test_the_last_search_counts_and_the_rest_is_left_out():
    found = upstream.parse("domain a\nsearch b c\nsortlist 1.2.3.4\n; old\noptions x\noptions y\n")
    assert (found.search, found.options, found.servers) == (["b", "c"], ["x", "y"], [])


def test_no_more_servers_than_are_read():
    host = upstream.of_host("".join(f"nameserver 192.0.2.{n}\n" for n in range(9)), "")
    assert upstream.of_container(host, {}, None).text().count("nameserver") == 3
