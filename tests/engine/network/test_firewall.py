"""The rules as text; what they do is in test_bridge.py."""

from minirun.engine.network import firewall

FRONT = {"bridge": "minirun0", "subnets": ["10.1.0.0/24", "fd00::/64"], "internal": False}
BACK = {"bridge": "mr-0123456789ab", "subnets": ["10.2.0.0/24"], "internal": True}
WEB = {"hostIp": "0.0.0.0", "hostPort": 8080, "containerPort": 80, "protocol": "tcp",
       "address": "10.1.0.2"}  # fmt: skip


def test_the_table_is_replaced_whole():
    text = firewall.script("minirun", [], [], [])
    assert text.startswith("table inet minirun\ndelete table inet minirun\ntable inet minirun {\n")
    assert "elements" not in text and "drop" not in text and text.count("{") == text.count("}")


def test_a_network_has_its_walls():
    text = firewall.script("minirun", [FRONT, BACK], [], ["ipv4/conf/eth0/forwarding"])
    assert 'ip saddr 10.1.0.0/24 oifname != "minirun0" masquerade' in text
    assert 'ip6 saddr fd00::/64 oifname != "minirun0" masquerade' in text
    assert 'ip saddr 10.2.0.0/24 oifname != "mr-0123456789ab" masquerade' not in text
    both = '{ "minirun0", "mr-0123456789ab" }'
    lines = [line.strip() for line in text.splitlines()]
    forward = lines[lines.index("type filter hook forward priority filter; policy accept;") + 1 :]
    assert forward[:-2] == [
        f'meta nfproto ipv4 iifname {{ "eth0" }} oifname != {both} drop',
        f"oifname {both} ct state established,related accept",
        'iifname "minirun0" oifname "minirun0" accept',
        'iifname "mr-0123456789ab" oifname "mr-0123456789ab" accept',
        f"oifname {both} ct status dnat accept",
        f"oifname {both} drop",
        'iifname { "mr-0123456789ab" } drop',
    ]
    assert f"iifname {both} ip daddr 127.0.0.0/8 drop" in lines


def test_a_port_of_one_address_is_not_one_of_all():
    local = WEB | {"hostIp": "127.0.0.1", "hostPort": 9090}
    six = WEB | {"hostIp": "::", "address": "fd00::2"}
    text = firewall.script("minirun", [FRONT], [WEB, local, six], [])
    assert "elements = { tcp . 8080 : 10.1.0.2 . 80 }" in text
    assert "elements = { 127.0.0.1 . tcp . 9090 : 10.1.0.2 . 80 }" in text
    assert "elements = { tcp . 8080 : fd00::2 . 80 }" in text
