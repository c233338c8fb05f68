"""A small world for the tests of networks: a machine with minirun, and somebody outside of it.

    outside  198.51.100.1 ─ 192.0.2.1, fd99::1 ═══ 192.0.2.2, fd99::2  the machine ─ containers

Both are network namespaces; whatever is made there is gone with them. The machine forwards nothing,
as most machines do.
"""

import subprocess
from collections.abc import Iterator

import pytest

from tests.components import children, private_network, require, running

# One HTTP request, by the system's own Python: busybox and curl are not everywhere
FETCH = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as server:
    server.sendall(b"GET /hostname HTTP/1.0\\r\\n\\r\\n")
    answer = b"".join(iter(lambda: server.recv(4096), b""))
print(answer.split(b"\\r\\n\\r\\n", 1)[1].decode(), end="")
"""
SERVER = ("httpd", "-f", "-p", "80", "-h", "/etc")  # its /hostname says who it is


class World:
    def __init__(self, minirun, machine: list[str], outside: list[str]) -> None:
        self._minirun, self.machine, self.outside = minirun, machine, outside

    def __call__(self, *words: object, **options) -> subprocess.CompletedProcess[str]:
        """``minirun WORDS`` on the machine."""
        return self._minirun.run([*self.machine, *self._minirun.command()], *words, **options)

    def ok(self, *words: object, **options) -> str:
        done = self(*words, **options)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
        return done.stdout

    def error(self, *words: object) -> str:
        """The first line of what a command says that has to fail with 125."""
        done = self(*words)
        assert done.returncode == 125, done
        return done.stderr.splitlines()[0]

    def run(self, where: list[str], *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*where, *command], capture_output=True, text=True, check=False)

    def fetch(self, where: list[str], address: str, port: int = 80) -> str:
        """What a web server says of its name; or the kind of error."""
        done = self.run(where, "python3", "-c", FETCH, address, str(port))
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1].partition(":")[0]

    def left(self) -> dict[str, object]:
        """What minirun has on the machine: nothing of it may stay when no container runs."""
        links = self.run(self.machine, "ip", "-brief", "link").stdout.splitlines()
        sysctl = "/proc/sys/net/ipv4/conf/eth0/forwarding"
        return {
            "links": [line.split()[0] for line in links if line.split()[0][:2] not in ("lo", "et")],
            "rules": self.run(self.machine, "nft", "list", "ruleset").stdout,
            "forwarding": self.run(self.machine, "cat", sysctl).stdout.strip(),
            "resolvers": self.run(self.machine, "pgrep", "-f", "network.resolver").stdout,
        }


NOTHING = {"links": [], "rules": "", "forwarding": "0", "resolvers": ""}


@pytest.fixture
def world(minirun, tmp_path) -> Iterator[World]:
    require("nft", "unshare", "nsenter", "ip", "pgrep")
    log = tmp_path / "outside.log"
    with private_network() as machine, running(
        ["unshare", "--net", "--fork", "--kill-child", "sleep", "1000"], lambda: True, log=log
    ) as other:
        while not children(other.pid):
            pass
        far, near = children(other.pid)[0], machine[2]
        outside = ["nsenter", "--target", far, "--net"]
        script = f"""
            ip link add eth0 type veth peer name out0 netns {far}
            ip address add 192.0.2.2/24 dev eth0 && ip address add fd99::2/64 dev eth0 nodad
            ip link set eth0 up
            nsenter --target {far} --net sh -c '
                ip link set lo up; ip address add 198.51.100.1/32 dev lo
                ip address add 192.0.2.1/24 dev out0; ip address add fd99::1/64 dev out0 nodad
                ip link set out0 up'
            if cd /proc/sys/net/bridge; then echo 0 > bridge-nf-call-iptables; fi
            ip route add default via 192.0.2.1 && ip -6 route add default via fd99::1
        """
        net = ["nsenter", "--target", near, "--net", "sh", "-ec", script]
        subprocess.run(net, check=True, capture_output=True)
        yield World(minirun, machine, outside)
        minirun.end(*machine)
