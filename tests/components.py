"""Real registries for the tests, in networks of their own where that is wanted.

Each is a context manager: started, waited for, ended with all that it started. ``directory`` is an
empty folder (pytest's ``tmp_path``) for its data, certificates and log:

    with registry(directory) as server:                     # docker-registry, plain HTTP
    with registry(directory, tls=True) as server:           # HTTPS, user alice, password s3cret
    with registry(directory, token=True) as server:         # tokens; anyone may pull public/…
        server.push(images.layout("busybox"), "library/busybox:latest")
        server.host, server.requests(), server.certificates, server.authfile()

    with private_network() as enter:                        # a network namespace with its own lo
        with registry(directory, within=enter) as server:
            run(*enter, "skopeo", "inspect", …)

The images come from tests/images.py; dockerd, containerd and podman from tests/daemons.py.
A program that the machine lacks skips the test.
"""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images import run
from tests.token_server import TokenServer, token_server

USER, PASSWORD = "alice", "s3cret"
# bcrypt of the password, which is all that docker-registry accepts
HTPASSWD = "alice:$2b$08$bHD508moMesd9SmPGQLY8Ou1SIeLPjnn62V3lRjetLkKj3bKc0Exu\n"


def require(*programs: str) -> str:
    """The path of the last of the programs; skips the test when one is missing."""
    paths = {program: shutil.which(program) for program in programs}
    missing = [program for program, path in paths.items() if path is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed (setup.sh test installs them)")
    return str(paths[programs[-1]])


# --- processes ------------------------------------------------------------------------------


@contextmanager
def running(command: list[str], ready: Callable[[], object], *, log: Path,
            env: dict[str, str] | None = None, seconds: float = 20) -> Iterator[subprocess.Popen]:
    """Run a server while the block runs; the block starts when ``ready()`` is true."""
    with log.open("ab") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                  env=env, start_new_session=True)
    try:
        wait_until(ready, alive=server, seconds=seconds, log=log)
        yield server
    finally:
        end(server)


def wait_until(ready: Callable[[], object], *, alive: subprocess.Popen, seconds: float,
               log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if alive.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{alive.args} is not up; it said:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)


def end(server: subprocess.Popen, seconds: float = 10) -> None:
    """SIGTERM, and SIGKILL for what does not go.

    nsenter and unshare wait for the process they started and pass no signal on: that one is told,
    for if they went first, it would be left to whoever adopts orphans here.
    """
    wrapped = server.args[0] in ("nsenter", "unshare")
    pid = int(children(server.pid)[0]) if wrapped and server.poll() is None else server.pid
    for number in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.kill(pid, number)
            with suppress(subprocess.TimeoutExpired):
                server.wait(seconds)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def succeeds(command: list[str]) -> bool:
    quiet = {"stdin": subprocess.DEVNULL, "capture_output": True}
    return subprocess.run(command, check=False, **quiet).returncode == 0


# --- networks -------------------------------------------------------------------------------


# A new sysfs shows the new network's interfaces, but hides the cgroups: they are carried over.
# What daemons leave in /run and /dev/shm is to go with them. PID 1 ignores SIGCHLD, so the kernel
# reaps every orphan; when it dies, so does all in here.
PRIVATE = """
mkdir "$1" && mount --rbind /sys/fs/cgroup "$1" &&
mount -t sysfs sysfs /sys && mount --rbind "$1" /sys/fs/cgroup &&
umount -l "$1" && rmdir "$1" &&
mount -t tmpfs -o mode=755 run /run && mount -t tmpfs shm /dev/shm &&
ip link set lo up && touch "$2" || exit
trap '' CHLD
trap 'exit 0' TERM
while :; do sleep infinity & wait; done
"""


@contextmanager
def private_network() -> Iterator[list[str]]:
    """A namespace for network, mounts and processes; what to put before a command to run in it."""
    require("unshare", "nsenter", "ip")
    with tempfile.TemporaryDirectory() as scratch:
        ready = Path(scratch, "ready")
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                   "sh", "-c", PRIVATE, "private", f"{scratch}/cgroups", str(ready)]
        with running(command, ready.exists, log=Path(scratch, "log")) as outer:
            yield ["nsenter", "--target", children(outer.pid)[0], "--net", "--mount", "--pid"]


# --- docker-registry ------------------------------------------------------------------------


@dataclass(frozen=True)
class Registry:
    host: str                              # "127.0.0.1:40123", the first part of an image's name
    directory: Path
    tls: bool = False
    token_server: TokenServer | None = None
    within: Sequence[str] = ()             # what brings a command to its network

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def certificates(self) -> Path:
        """A folder in the form of /etc/docker/certs.d, knowing this registry's CA."""
        return self.directory / "certs.d"

    @property
    def needs_password(self) -> bool:
        return self.tls or self.token_server is not None

    def push(self, layout: Path, name: str, *options: str) -> str:
        """Put the image of an OCI layout here under ``repository:tag``; the full name.

        ``options`` are skopeo's; ``--format v2s2`` makes a Docker schema 2 image of it.
        """
        exact = [] if "--format" in options else ["--preserve-digests"]
        run(*self.within, "skopeo", "copy", "--all", "--quiet", *exact, *options,
            *self.skopeo("dest"), f"oci:{layout}:latest", f"docker://{self.host}/{name}")
        return f"{self.host}/{name}"

    def skopeo(self, side: str = "") -> list[str]:
        """What skopeo needs to talk to this registry: ``side`` is "src", "dest" or "" (inspect)."""
        side = f"{side}-" if side else ""
        options = [f"--{side}creds", f"{USER}:{PASSWORD}"] if self.needs_password else []
        if self.tls:
            return [*options, f"--{side}cert-dir", str(self.certificates / self.host)]
        return [*options, f"--{side}tls-verify=false"]

    def authfile(self, user: str = USER, password: str = PASSWORD) -> Path:
        """A Docker config.json with the credentials for this registry."""
        auth = base64.b64encode(f"{user}:{password}".encode()).decode()
        path = self.directory / "config.json"
        path.write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        return path

    def requests(self, method: str = "GET") -> list[str]:
        """The paths asked for so far, in order: what a pull really fetched."""
        lines = (self.directory / "registry.log").read_text(errors="replace").splitlines()
        quoted = [line.split('"')[1] for line in lines if f'"{method} ' in line]
        return [request.split()[1] for request in quoted]


@contextmanager
def registry(directory: Path, *, tls: bool = False, token: bool = False,
             within: Sequence[str] = ()) -> Iterator[Registry]:
    """docker-registry on a free port of loopback: open, or ``tls`` + htpasswd, or ``token``."""
    require("openssl", "skopeo", "docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")},
                    "delete": {"enabled": True}},
        "http": {"addr": host},
    }
    if tls:
        make_certificate(directory, host)
        (directory / "htpasswd").write_text(HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
        settings["http"] |= {"tls": {"certificate": str(directory / "server.crt"),
                                     "key": str(directory / "server.key")}}
    with token_server(directory, USER, PASSWORD) if token else nothing() as tokens:
        if tokens:
            settings["auth"] = {"token": tokens.registry_settings}
        (directory / "registry.yml").write_text(json.dumps(settings))  # JSON is YAML too
        command = [*within, "docker-registry", "serve", str(directory / "registry.yml")]
        # docker-registry takes REGISTRY_… for its settings, and clients know REGISTRY_AUTH_FILE
        env = {name: value for name, value in os.environ.items() if "REGISTRY_" not in name}
        with running(command, lambda: answers(host, within), log=directory / "registry.log",
                     env=env):
            yield Registry(host, directory, tls, tokens, within)


@contextmanager
def nothing() -> Iterator[None]:
    yield None


def answers(host: str, within: Sequence[str] = ()) -> bool:
    """Whether something accepts connections at ``host``."""
    return succeeds([*within, "bash", "-c", f"exec 3<>/dev/tcp/{host.replace(':', '/')}"])


def make_certificate(directory: Path, host: str) -> None:
    """A CA, and a certificate of it for 127.0.0.1, localhost and registry.test."""
    new_key = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(*new_key, "-x509", "-days", "3650", "-subj", "/CN=tests CA",
        "-keyout", directory / "ca.key", "-out", directory / "ca.crt")
    run(*new_key, "-subj", "/CN=localhost",
        "-keyout", directory / "server.key", "-out", directory / "server.csr")
    names = "subjectAltName=DNS:localhost,DNS:registry.test,IP:127.0.0.1\n"
    (directory / "names").write_text(names)
    run("openssl", "x509", "-req", "-days", "3650", "-in", directory / "server.csr",
        "-CA", directory / "ca.crt", "-CAkey", directory / "ca.key", "-CAcreateserial",
        "-extfile", directory / "names", "-out", directory / "server.crt")
    known = directory / "certs.d" / host
    known.mkdir(parents=True)
    shutil.copy(directory / "ca.crt", known / "ca.crt")
