"""Which subnet a network gets, and which address a container."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.engine.network import addresses
from minirun.errors import Error, UsageError


def net(text):
    return ipaddress.ip_network(text)


def test_the_first_subnet_that_no_route_leads_to():
    assert addresses.free_subnet([]) == net("10.128.0.0/16")
    taken = [net("10.128.0.0/16"), net("10.129.4.0/24"), net("10.130.0.0/15"), net("fd00::/64")]
    assert addresses.free_subnet(taken) == net("10.132.0.0/16")


def test_when_all_are_taken_it_says_so():
    """RL12"""
    with pytest.raises(Error, match="every subnet"):
        addresses.free_subnet([net("10.0.0.0/8"), net("192.168.0.0/16")])


def test_addresses_come_in_order_and_end():
    """RL12"""
    subnet, taken = net("10.1.0.0/29"), ["10.1.0.1"]
    for _ in range(5):
        taken.append(str(addresses.free_address(subnet, taken)))
    assert taken[1:] == [f"10.1.0.{n}" for n in range(2, 7)]
    with pytest.raises(Error, match="no address is left"):
        addresses.free_address(subnet, taken)


@given(st.sets(st.integers(1, 254)))
def test_no_address_is_given_twice(used):
    subnet = net("10.1.0.0/24")
    taken = [f"10.1.0.{n}" for n in used]
    if len(used) == 254:
        with pytest.raises(Error):
            addresses.free_address(subnet, taken)
        return
    found = addresses.free_address(subnet, taken)
    assert str(found) not in taken and found in subnet


@pytest.mark.parametrize("wrong", ["10.1.0.0", "10.1.0.255", "10.2.0.1"])
def test_an_address_that_is_asked_for_must_be_one(wrong):
    with pytest.raises(UsageError):
        addresses.check_address(ipaddress.ip_address(wrong), net("10.1.0.0/24"), [])
    with pytest.raises(Error, match="in use"):
        addresses.check_address(ipaddress.ip_address("10.1.0.9"), net("10.1.0.0/24"), ["10.1.0.9"])


@pytest.mark.parametrize("wrong", ["", "x", "10.1.0.1/24", "10.0.0.0/33", "10.1.0.0/31", "10.1/16"])
def test_what_is_no_subnet(wrong):
    with pytest.raises(UsageError):
        addresses.parse_subnet(wrong)


def test_subnets_of_both_families():
    assert addresses.parse_subnet("fd00:1::/64") == net("fd00:1::/64")
    own = addresses.free_subnet6(bytes.fromhex("0102030405"))
    assert own == net("fd01:203:405::/64") and own.subnet_of(net("fc00::/7"))


@pytest.mark.parametrize("wrong", ["", "02:42:ac:11:00", "01:00:5e:00:00:01", "0:0:0:0:0:0",
                                   "02:42:ac:11:00:02:03", "zz:42:ac:11:00:02", "2::3:4:5:6:7"])
def test_what_is_no_mac_address(wrong):
    with pytest.raises(UsageError):
        addresses.parse_mac(wrong)


def test_a_mac_address_follows_from_the_address():
    mac = addresses.mac_of(ipaddress.ip_address("10.144.1.2"))
    first = int(mac[:2], 16)
    assert mac == "0a:6d:0a:90:01:02" and first & 2 and not first & 1
