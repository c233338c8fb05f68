"""Containers on bridges: whom they reach, who reaches them, and that nothing of it stays."""

import json
import signal
import subprocess

import pytest

from tests.engine.network.conftest import NOTHING, SERVER
from tests.waiting import wait_for

GET = ("wget", "-qO-")


def test_a_container_is_on_the_default_network_and_reaches_the_outside(world):
    script = "ip -o -4 a show eth0; ip r; nc 192.0.2.1 9 2>&1; true"
    seen = world.ok("run", "--rm", "tiny", "sh", "-c", script)
    assert "refused" in seen  # it was there, where nobody listens
    assert "10.128.0.2/16" in seen and "default via 10.128.0.1 dev eth0" in seen
    assert world.left() == NOTHING


def test_the_outside_sees_this_machine_and_not_the_container(world):
    listener = "import socket; s = socket.create_server(('192.0.2.1', 7)); print(s.accept()[1][0])"
    with_listener = [*world.outside, "timeout", "20", "python3", "-c", listener]
    with subprocess.Popen(with_listener, stdout=subprocess.PIPE, text=True) as server:
        wait_for(lambda: world.run(world.outside, "ss", "-Hlnt", "sport = :7").stdout)
        world.ok("run", "--rm", "tiny", "nc", "192.0.2.1", "7")
        assert server.stdout.read().strip() == "192.0.2.2"


def test_a_published_port_is_reached_from_everywhere(world):
    web = world.ok("run", "-d", "-p", "8080:80", "tiny", *SERVER).strip()
    assert world.ok("port", web) == "80/tcp -> 0.0.0.0:8080\n"
    for where, address in (
        (world.outside, "192.0.2.2"), (world.machine, "192.0.2.2"), (world.machine, "127.0.0.1"),
    ):  # fmt: skip
        assert world.fetch(where, address, 8080) == web[:12], address
    for network in ("bridge", world.ok("network", "create", "other").strip()):
        words = ("run", "--rm", "--network", network, "tiny", *GET)
        assert world.ok(*words, "http://192.0.2.2:8080/hostname").strip() == web[:12]
    assert world.fetch(world.machine, "::1", 8080) == "ConnectionRefusedError"  # and not silence
    world.ok("rm", "-f", web)
    assert world.left() == NOTHING
    assert world.fetch(world.machine, "127.0.0.1", 8080) == "ConnectionRefusedError"


def test_rl18_a_port_of_one_address_is_closed_at_the_others(world):
    web = world.ok("run", "-d", "-p", "127.0.0.1:8080:80", "tiny", *SERVER).strip()
    assert world.fetch(world.machine, "127.0.0.1", 8080) == web[:12]
    assert world.fetch(world.machine, "192.0.2.2", 8080) == "ConnectionRefusedError"
    assert world.fetch(world.outside, "192.0.2.2", 8080) == "ConnectionRefusedError"
    # who is on the same wire can send packets to 127.0.0.1, if it wants to
    world.run(world.outside, "ip", "route", "add", "127.0.0.1/32", "via", "192.0.2.2", "table", "9")
    world.run(world.outside, "ip", "rule", "add", "pref", "0", "to", "127.0.0.1", "table", "9")
    world.run(world.outside, "ip", "rule", "add", "pref", "1", "lookup", "local")
    world.run(world.outside, "ip", "rule", "del", "pref", "0", "lookup", "local")
    world.run(world.outside, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")
    assert world.fetch(world.outside, "127.0.0.1", 8080) == "TimeoutError"
    asked = world.ok("exec", web, "cat", "/proc/net/tcp")
    assert asked.count(" 03 ") == 0  # SYN_RECV: the answer would not have found its way back


def test_nobody_outside_reaches_what_is_not_published(world):
    """CVE-2025-54388, CVE-2024-29018: not by a route to the container either."""
    world.ok("run", "-d", "--name", "web", "tiny", *SERVER)
    world.run(world.outside, "ip", "route", "add", "10.128.0.0/11", "via", "192.0.2.2")
    assert world.fetch(world.outside, "10.128.0.2") == "TimeoutError"
    assert world.fetch(world.machine, "10.128.0.2") != "TimeoutError"


def test_this_machine_forwards_for_its_containers_only(world):
    world.ok("run", "-d", "tiny", "sleep", "100")
    assert world.left()["forwarding"] == "1"
    script = """
        ip link add other0 type veth peer name other1; ip addr add 203.0.113.1/24 dev other0
        ip link set other0 up; ip link set other1 up"""
    world.run(world.machine, "sh", "-c", script)
    world.run(world.outside, "ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.2")
    world.fetch(world.outside, "203.0.113.9")
    neighbours = world.run(world.machine, "ip", "neigh", "show", "dev", "other0").stdout
    assert "203.0.113.9" not in neighbours  # nobody was even looked for


def test_networks_do_not_reach_each_other_or_this_machines_loopback(world):
    world.ok("network", "create", "blue")
    world.ok("run", "-d", "--name", "web", "--network", "blue", "tiny", *SERVER)
    world.run(world.machine, "sh", "-c", "ip addr add 127.0.0.5/32 dev lo")
    form = "{{.NetworkSettings.Networks.blue.IPAddress}}"
    address = world.ok("inspect", "-f", form, "web").strip()
    probe = f"timeout -s KILL 2 nc {address} 80 < /dev/null && echo reached; " \
            "ip route add 127.0.0.5/32 via 10.128.0.1; true"  # fmt: skip
    assert "reached" not in world.ok("run", "--rm", "tiny", "sh", "-c", probe)
    assert world.ok("run", "--rm", "--network", "blue", "tiny", *GET, f"http://{address}/hostname")


def test_an_internal_network_leads_nowhere(world):
    world.ok("network", "create", "--internal", "hidden")
    world.ok("run", "-d", "--name", "web", "--network", "hidden", "tiny", *SERVER)
    script = "ip r | grep -c default; wget -qO- http://web/hostname"
    web = world.ok("exec", "web", "cat", "/etc/hostname")
    assert world.ok("run", "--rm", "--network", "hidden", "tiny", "sh", "-c", script) == f"0\n{web}"
    world.run(world.outside, "ip", "route", "add", "10.128.0.0/11", "via", "192.0.2.2")
    script = "ip route add default via 10.128.0.1; timeout -s KILL 2 nc 192.0.2.1 9 2>&1; true"
    rebel = ("run", "--rm", "--network", "hidden", "--cap-add", "NET_ADMIN", "tiny", "sh", "-c")
    assert "refused" not in world.ok(*rebel, script)


def test_ipv6(world):
    world.ok("network", "create", "--ipv6", "--subnet", "fd00:1::/64", "six")
    web = world.ok("run", "-d", "-p", "8080:80", "--network", "six", "tiny", *SERVER).strip()
    assert world.ok("port", web) == "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    wait_for(lambda: world.fetch(world.outside, "fd99::2", 8080) == web[:12])  # neighbours first
    assert world.fetch(world.machine, "fd00:1::2") == web[:12]
    world.run(world.outside, "ip", "-6", "route", "add", "fd00:1::/64", "via", "fd99::2")
    assert world.fetch(world.outside, "fd00:1::2") == "TimeoutError"
    world.ok("rm", "-f", web)
    assert world.left() == NOTHING


def test_addresses_that_are_asked_for(world):
    create = ("network", "create", "--subnet", "10.9.0.0/24", "--gateway", "10.9.0.254")
    world.ok(*create, "--ip-range", "10.9.0.128/25", "n")
    run = ("run", "--rm", "--network", "n")
    look = ("tiny", "sh", "-c", "ip -o -4 a show eth0; ip r; cat /sys/class/net/eth0/address")
    assert "10.9.0.129/24" in world.ok(*run, *look)
    fixed = world.ok(*run, "--ip", "10.9.0.77", "--mac-address", "02:00:00:00:00:77", *look)
    assert "10.9.0.77/24" in fixed and "via 10.9.0.254" in fixed and "02:00:00:00:00:77" in fixed
    assert "10.9.0.254 is in use" in world.error(*run, "--ip", "10.9.0.254", "tiny", "true")
    assert "no address for a container" in world.error(*run, "--ip", "10.8.0.1", "tiny", "true")
    assert "overlaps" in world.error("network", "create", "--subnet", "10.9.0.0/16", "m")


def test_rl12_a_network_that_is_full_says_so(world):
    world.ok("network", "create", "--subnet", "10.9.0.0/30", "small")
    world.ok("run", "-d", "--network", "small", "tiny", "sleep", "100")
    error = world.error("run", "--network", "small", "tiny", "true")
    assert error == "error: no address is left in 10.9.0.0/30"


def test_rl18_a_port_that_is_taken_leaves_nothing_behind(world):
    web = world.ok("run", "-d", "-p", "8080:80", "tiny", "sleep", "100").strip()
    before = world.left()
    error = world.error("run", "--rm", "-p", "8081:81", "-p", "8080:80", "tiny", "true")
    assert error == "error: port 0.0.0.0:8080/tcp of this machine is already in use"
    assert world.left() == before
    world.ok("rm", "-f", web)
    assert world.left() == NOTHING
    world.ok("run", "--rm", "-p", "8080:80", "-p", "8081:81", "tiny", "true")


def test_a_route_that_came_up_meanwhile_is_left_alone(world):
    """Complaint 16: a VPN in the range that containers were given so far."""
    world.ok("run", "--rm", "tiny", "true")
    world.run(world.machine, "ip", "route", "add", "10.128.0.0/24", "via", "192.0.2.1")
    assert "10.129.0.2/16" in world.ok("run", "--rm", "tiny", "ip", "-o", "-4", "a", "show", "eth0")
    world.ok("network", "create", "--subnet", "10.130.0.0/24", "mine")
    world.run(world.machine, "ip", "route", "add", "10.130.0.0/16", "via", "192.0.2.1")
    assert "a route of this machine" in world.error("run", "--network", "mine", "tiny", "true")


def test_the_mtu_is_that_of_the_way_out(world):
    world.run(world.machine, "ip", "link", "set", "eth0", "mtu", "1400")
    mtu = ("tiny", "cat", "/sys/class/net/eth0/mtu")
    assert world.ok("run", "--rm", *mtu) == "1400\n"
    world.ok("network", "create", "-o", "com.docker.network.driver.mtu=1300", "small")
    assert world.ok("run", "--rm", "--network", "small", *mtu) == "1300\n"


def test_container_host_and_none(world):
    web = world.ok("run", "-d", "--name", "web", "tiny", *SERVER).strip()
    shared = ("run", "--rm", "--network", "container:web", "tiny")
    assert world.ok(*shared, *GET, "http://127.0.0.1/hostname").strip() == web[:12]
    assert world.ok(*shared, "hostname").strip() == web[:12]
    assert "10.128.0.2\t" in world.ok(*shared, "cat", "/etc/hosts")
    assert "eth0" in world.ok("run", "--rm", "--network", "host", "tiny", "ip", "a")
    assert "eth0" not in world.ok("run", "--rm", "--network", "none", "tiny", "ip", "a")
    assert "the other container's" in world.error("run", "-p", "80", *shared[2:], "true")


def test_a_killed_monitor_is_cleaned_up_after(world):
    """RL18, CR02: the next command takes the address, the port and the rules back."""
    world.ok("network", "create", "blue")
    world.ok("run", "-d", "--network", "blue", "-p", "8080:80", "tiny", "sleep", "1000")
    monitors = world.run(world.machine, "pgrep", "-f", "engine.monitor").stdout.split()
    for monitor in monitors:
        world.run(world.machine, "kill", f"-{signal.SIGKILL.value}", monitor)
    world.ok("ps")
    wait_for(lambda: world.ok("ps") and world.left() == NOTHING)
    world.ok("run", "--rm", "-p", "8080:80", "tiny", "true")
    assert world.left() == NOTHING


def test_rules_that_somebody_has_flushed_are_found_and_put_back(world):
    world.ok("network", "create", "blue")
    world.ok("run", "-d", "--name", "web", "--network", "blue", "-p", "8080:80", "tiny", *SERVER)
    world.run(world.machine, "nft", "flush", "ruleset")
    assert world.fetch(world.machine, "127.0.0.1", 8080) == "TimeoutError"
    world.run(world.machine, "pkill", "-f", "network.resolver")
    found = world("system", "check")
    assert found.returncode and "nftables table" in found.stdout + found.stderr
    assert "name server of network blue" in found.stdout + found.stderr
    world("system", "check", "--repair")
    again = world("system", "check").stdout  # of the cgroups on this machine others may be
    assert "nftables" not in again and "name server" not in again
    assert world.fetch(world.machine, "127.0.0.1", 8080) != "TimeoutError"


@pytest.mark.parametrize("count", [12])
def test_many_at_once_have_addresses_of_their_own(world, count):
    names = [f"c{n}" for n in range(count)]
    line = [*world.machine, *world._minirun.command(), "run", "-d", "--name"]
    starts = [
        subprocess.Popen([*line, name, "tiny", "sleep", "1000"], env=world._minirun.env,
                         stdout=subprocess.DEVNULL)
        for name in names
    ]  # fmt: skip
    assert [start.wait(60) for start in starts] == [0] * count
    found = json.loads(world.ok("inspect", *names))
    addresses = {one["NetworkSettings"]["IPAddress"] for one in found}
    assert len(addresses) == count
    world.ok("rm", "-f", *names)
    assert world.left() == NOTHING


def test_doctor_follows_a_packet_and_finds_where_it_ends(world):
    world.ok("network", "create", "blue")
    world.ok("run", "-d", "--name", "web", "--network", "blue", "tiny", *SERVER)
    report = world.ok("doctor", "--net", "web")
    assert report.count("✓") == 9 and "✗" not in report
    hook = "{ type filter hook forward priority 0; policy drop; }"
    foe = f"add table inet foe; add chain inet foe f {hook}"
    world.run(world.machine, "nft", foe)
    done = world("doctor", "--net", "web")
    assert done.returncode == 1
    assert "✗ Nobody else's rules drop what is forwarded: policy drop: inet foe f" in done.stdout
    assert "✗ The next router answers the container" in done.stdout


def test_two_stores_share_the_way_out_and_the_last_one_closes_it(world, tmp_path):
    def other(*words):
        done = world("--root", tmp_path / "other", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    world.ok("run", "-d", "--name", "one", "tiny", *SERVER)
    other("run", "-d", "--name", "two", "tiny", *SERVER)
    assert "10.129.0.1" in world.run(world.machine, "ip", "-4", "address").stdout
    world.ok("rm", "-f", "one")
    assert world.left()["forwarding"] == "1"
    seen = other("run", "--rm", "tiny", "sh", "-c", "nc 192.0.2.1 9 2>&1; true")
    assert "refused" in seen
    assert 'iifname "eth0"' in world.left()["rules"]
    other("rm", "-f", "two")
    assert world.left() == NOTHING
