"""Names: of containers on networks that users made, and of everybody else."""

import subprocess
import threading

import pytest

from minirun.engine.network import dns
from tests.engine.network.conftest import NOTHING, SERVER


@pytest.fixture
def blue(world):
    world.ok("network", "create", "blue")
    return world


def look(world, network, name):
    script = f"nslookup -type=a {name} | sed -n 's/^Address: //p'"
    seen = world.ok("run", "--rm", "--network", network, "tiny", "sh", "-c", script)
    return sorted(seen.split())


def test_a_container_is_found_by_its_name_id_aliases_and_hostname(blue):
    words = ("--network", "blue", "--network-alias", "www", "--hostname", "box", "tiny", *SERVER)
    web = blue.ok("run", "-d", "--name", "web", *words).strip()
    blue.ok("run", "-d", "--name", "web2", "--network", "blue", "--network-alias", "www", "tiny",
            *SERVER)  # fmt: skip
    for name in ("web", "WEB", web[:12], "box", "web.blue"):
        assert look(blue, "blue", name) == ["10.128.0.2"], name
    assert look(blue, "blue", "www") == ["10.128.0.2", "10.128.0.3"]
    assert look(blue, "blue", "web3") == []
    back = blue.ok("run", "--rm", "--network", "blue", "tiny", "nslookup", "10.128.0.2")
    assert "name = web.blue" in back
    blue.ok("rm", "-f", "web", "web2")
    assert blue.left() == NOTHING


def test_names_are_those_of_ones_own_networks(blue):
    blue.ok("network", "create", "red")
    blue.ok("run", "-d", "--name", "web", "--network", "blue", "tiny", *SERVER)
    blue.ok("run", "-d", "--name", "both", "--network", "red", "--network", "blue", "tiny", "sleep",
            "100")  # fmt: skip
    assert look(blue, "red", "web") == []
    assert len(look(blue, "red", "both")) == 1
    script = "nslookup -type=a web | grep -c ^Address:.10"
    assert blue.ok("exec", "both", "sh", "-c", script).strip() in ("1", "2")
    blue.ok("network", "connect", "--alias", "www", "red", "web")
    assert len(look(blue, "red", "www")) == 1
    blue.ok("network", "disconnect", "red", "web")
    assert look(blue, "red", "www") == []


def test_other_names_are_asked_of_the_machines_own_server(blue, tmp_path):
    """By UDP and, where the answer is too long for that, by TCP; none from internal networks."""
    with upstream_server(blue) as asked:
        (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\nsearch lan\n")
        blue.run(blue.machine, "mount", "--bind", str(tmp_path / "resolv.conf"), "/etc/resolv.conf")
        assert look(blue, "blue", "example.org") == ["203.0.113.7"]
        seen = blue.ok("run", "--rm", "--network", "blue", "tiny", "cat", "/etc/resolv.conf")
        assert seen == "nameserver 10.128.0.1\nsearch lan\n"
        seen = blue.ok("run", "--rm", "tiny", "cat", "/etc/resolv.conf")
        assert seen == "nameserver 192.0.2.1\nsearch lan\n"
        count = len(asked)
        blue.ok("network", "create", "--internal", "hidden")
        assert look(blue, "hidden", "example.org") == []
        assert len(asked) == count


class upstream_server:
    """A name server outside, that knows every name as 203.0.113.7. What it was asked is a list."""

    SERVE = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.bind(('192.0.2.1', 53)); print('ready', flush=True)\n"
        "while True:\n"
        "    p, a = s.recvfrom(999); q = p[12:p.index(0, 12) + 5]; print(p.hex(), flush=True)\n"
        "    r = bytes.fromhex('c00c00010001000000050004cb007107')\n"
        "    s.sendto(p[:2] + b'\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0' + q + r, a)\n"
    )

    def __init__(self, world):
        self.world = world

    def __enter__(self):
        line = [*self.world.outside, "python3", "-u", "-c", self.SERVE]
        self.server = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "ready\n"
        self.asked = []
        threading.Thread(target=self.listen, daemon=True).start()
        return self.asked

    def listen(self):
        for text in self.server.stdout:
            query = dns.parse(bytes.fromhex(text))
            self.asked.append(query.name if query else text)

    def __exit__(self, *_):
        self.server.terminate()
        self.server.wait()


def test_flags_for_names(world):
    words = ("run", "--rm", "--dns", "9.9.9.9", "--dns-search", "a.test", "--dns-option", "ndots:3",
             "--add-host", "db:10.1.1.1", "--add-host", "me:host-gateway", "--hostname", "h.test")
    seen = world.ok(*words, "tiny", "cat", "/etc/resolv.conf", "/etc/hosts")
    assert seen == (
        "nameserver 9.9.9.9\nsearch a.test\noptions ndots:3\n"
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "10.128.0.2\th.test h\n10.1.1.1\tdb\n10.128.0.1\tme\n"
    )


def test_link_is_a_line_of_the_hosts_file(world):
    world.ok("run", "-d", "--name", "db", "tiny", *SERVER)
    linked = ("run", "--rm", "--link", "db:database", "tiny")
    assert world.ok(*linked, "wget", "-qO-", "http://database/hostname")
    assert "10.128.0.2\tdatabase db " in world.ok(*linked, "cat", "/etc/hosts")
    world.ok("stop", "-t", "0", "db")
    assert "db is not running" in world.error(*linked, "true")


SENSELESS = """
    --network-alias x | --add-host nonsense | --add-host ;:1.1.1.1 | --dns example.org
    --dns-search a,b/c\0 | --ip 1.2.3 | --network nope | --network none -p 80
    --network host --ip 1.1.1.1 | --network none --network bridge | --link nobody | --mac-address x
    --network ../x | --network name=bridge,color=red | --network alias=x | -p 80:80:80:80
"""


def test_what_makes_no_sense_is_refused_and_makes_nothing(minirun):
    """RT37"""
    for words in SENSELESS.replace("\n", "|").replace("\0", "\x01").split("|"):
        if words.strip():
            assert minirun("create", *words.split(), "tiny").returncode == 125, words
    assert minirun.ok("ps", "-aq") == ""
