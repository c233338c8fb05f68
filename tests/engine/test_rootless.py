"""The engine of an ordinary user: with the IDs that root lent them, and with none but their own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests import images
from tests.components import free_port, require
from tests.images import run
from tests.users import COUNT, LENT, REPOSITORY, UID, User, user
from tests.waiting import wait_for

PROGRAMS = {"minirun": "minirun.engine.cli", "minirun-oci": "minirun.runtime.cli"}
LIMITS = Path("/sys/fs/cgroup/memory")


class Engine:
    """``minirun`` of this tree as an ordinary user runs it, with the stores of that user."""

    def __init__(self, somebody: User) -> None:
        self.user = somebody
        folders = [str(somebody.source), *map(self._seen, filter(_is_site, sys.path))]
        for name, module in PROGRAMS.items():
            program = somebody.home / name
            program.write_text(
                f"#!{os.path.realpath(sys.executable)} -SI\nimport sys\nsys.path += {folders}\n"
                f"from {module} import main\nmain()\n"
            )
            program.chmod(0o755)
        somebody.own()

    def _seen(self, folder: str) -> str:
        """Where the user sees a folder of ours, which may lie where root alone looks."""
        if Path(folder).is_relative_to(REPOSITORY):
            return str(self.user.source / Path(folder).relative_to(REPOSITORY))
        return folder

    @property
    def holder(self) -> Path:
        return self.user.run_directory / "minirun/holder"

    def command(self, *words: object) -> list[str]:
        return self.user.command("env", f"--chdir={self.user.home}", self.user.home / "minirun",
                                 *words)

    def __call__(self, *words: object, **options) -> subprocess.CompletedProcess[str]:
        options = {"env": self.user.env, "stdin": subprocess.DEVNULL, "timeout": 60} | options
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False,
                              **options)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def ok(self, *words: object, **options) -> str:
        done = self(*words, **options)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
        return done.stdout

    def sh(self, script: str, *options: object) -> str:
        return self.ok("run", "--rm", "--network", "none", *options, "tiny", "sh", "-c", script)


def _is_site(folder: str) -> bool:
    return folder.endswith("site-packages")


@pytest.fixture
def own() -> Iterator[Engine]:
    """Of a user who has no ID but their own."""
    with user() as somebody:
        yield Engine(somebody)


@pytest.fixture
def lent(own: Engine) -> Engine:
    if not shutil.which("newuidmap"):
        pytest.skip("needs newuidmap (package uidmap)")
    own.user.lend()
    return own


@pytest.fixture(params=["own", "lent"])
def engine(request) -> Engine:
    return request.getfixturevalue(request.param)


# who is who


def test_root_inside_is_the_user_outside(engine, residue):
    """HD05: nothing of it is root's, and nothing stays when it ends."""
    volume = engine.user.home / "volume"
    volume.mkdir()
    engine.user.own()
    assert engine.sh("id -u; touch /volume/file", "-v", "./volume:/volume") == "0\n"
    assert (volume / "file").stat().st_uid == UID
    wait_for(lambda: not engine.holder.exists())
    wait_for(lambda: engine.user.processes() == [])


def test_all_lies_with_the_user(engine):
    engine.sh("true")
    assert (engine.user.home / ".local/share/minirun/images").is_dir()
    assert (engine.user.run_directory / "minirun/live").is_dir()


def test_lent_ids(lent):
    map_ = lent.sh("cat /proc/self/uid_map").split()
    assert map_ == ["0", str(UID), "1", "1", str(LENT), str(COUNT)]
    assert lent.sh("id -u", "-u", "1000") == "1000\n"


def test_one_id(own):
    """RT48: what takes more IDs is refused with a way to get them."""
    done = own("run", "--rm", "--network", "none", "-u", "1000", "tiny", "true")
    assert done.returncode == 125
    assert "user 1000:1000 cannot be had" in done.stderr
    assert "apt-get install uidmap" in done.stderr


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 0)])
def test_exit_codes(engine, script, code):
    done = engine("run", "--rm", "--network", "none", "tiny", "sh", "-c", script)
    assert done.returncode == code


# images


def test_deletions_in_layers(engine):
    """overlayfs's marks are other ones in a user namespace: overlayfs.rst, "userxattr"."""
    script = "mkdir /d; echo a > /d/a; echo b > /d/b"
    engine.ok("run", "--network", "none", "--name", "one", "tiny", "sh", "-c", script)
    engine.ok("commit", "one", "first")
    script = "rm -r /d /etc/group; mkdir /d; echo c > /d/c"
    engine.ok("run", "--network", "none", "--name", "two", "first", "sh", "-c", script)
    engine.ok("commit", "two", "second")
    look = ["sh", "-c", "ls /d; test -e /etc/group || echo gone; rm -r /d && ls /d"]
    done = engine("run", "--rm", "--network", "none", "second", *look)
    assert done.stdout == "c\ngone\n"
    assert "No such file" in done.stderr
    engine.ok("rm", "one", "two")


def test_what_only_root_can_unpack(engine):
    """A device is left out, and an owner that nobody maps is root; both are told."""
    device = tarfile.TarInfo("bin/disk")
    device.type, device.devmajor, device.devminor = tarfile.BLKTYPE, 8, 0
    program = Path(shutil.which("busybox")).read_bytes()
    owned = images.file("file", "content")
    owned[0].uid = owned[0].gid = 100_000
    tar = engine.user.home / "image.tar"
    images.write_tar(tar, [
        images.directory("bin"), images.file("bin/busybox", program, 0o755),
        owned, (device, b""),
    ])  # fmt: skip
    engine.user.own()
    said = engine("import", tar, "strange").stderr
    assert "bin/disk: a device, which nobody can make in a user namespace: left out" in said
    assert "file: owner 100000:100000 is not mapped in the user namespace: now root" in said
    words = ("run", "--rm", "--network", "none", "strange", "busybox")
    assert engine.ok(*words, "stat", "-c", "%u:%g", "/file") == "0:0\n"


# what all commands share


def test_commands_at_once_make_one_namespace(engine):
    """The first of them makes it, the others join; the last one to leave takes it away."""
    words = ["run", "--rm", "--network", "none", "tiny", "readlink", "/proc/self/ns/user"]
    started = [
        subprocess.Popen(engine.command(*words), env=engine.user.env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]  # fmt: skip
    said = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0] * 6, said
    wait_for(lambda: not engine.holder.exists())


def test_a_command_that_comes_when_the_last_one_leaves(own):
    """The holder takes its file away just when the next command opens it; hardly ever at once."""
    own.ok("ps")
    script = "for n in $(seq 12); do ./minirun ps -q || exit 1; done"
    line = own.user.command("env", f"--chdir={own.user.home}", "sh", "-c", script)
    started = [subprocess.Popen(line, env=own.user.env, stderr=subprocess.PIPE, text=True)
               for _ in range(2)]
    assert [process.communicate(timeout=100)[1] for process in started] == ["", ""]


def test_the_life_of_a_container(engine, residue):
    """RL01: what one command makes, the next one finds."""
    ident = engine.ok("run", "-d", "--network", "none", "--name", "c", "tiny", "sleep", "1000")
    assert engine.ok("ps", "-q", "--no-trunc") == ident
    assert engine.ok("exec", "c", "sh", "-c", "echo hello > /file; id -u") == "0\n"
    engine.ok("stop", "-t", "0", "c")
    engine.ok("start", "c")
    assert engine.ok("exec", "c", "cat", "/file") == "hello\n"
    assert "C /file" in engine.ok("diff", "c").replace("A /file", "C /file")
    engine.ok("rm", "-f", "c")
    wait_for(lambda: not engine.holder.exists())


def test_a_holder_that_is_killed(engine):
    """RT48: the namespace lives on with what runs in it, and the next command finds it there."""
    engine.ok("run", "-d", "--network", "none", "--name", "c", "tiny", "sleep", "1000")
    first = engine.holder.read_text().split()
    os.kill(int(first[0]), signal.SIGKILL)
    assert engine.ok("exec", "c", "echo", "still here") == "still here\n"
    second = engine.holder.read_text().split()
    assert second[0] != first[0]
    assert second[1:] == first[1:]
    engine.ok("rm", "-f", "c")
    wait_for(lambda: not engine.holder.exists())


def test_all_that_was_there_is_killed(engine):
    """Nothing leads to the old namespace: a new one is made, and the container is known as ended"""
    engine.ok("run", "-d", "--network", "none", "--name", "c", "tiny", "sleep", "1000")
    for line in engine.user.processes():
        os.kill(int(line.partition(":")[0]), signal.SIGKILL)
    assert "Exited" in engine.ok("ps", "-a")
    engine.ok("start", "c")
    engine.ok("rm", "-f", "c")


# networks


@pytest.fixture(params=["slirp4netns", "pasta"])
def networked(request, lent) -> Engine:
    """A user whose networks lead out by one of the two programs; the other one is hidden."""
    require("nft", request.param)
    hidden = shutil.which({"slirp4netns": "pasta", "pasta": "slirp4netns"}[request.param])
    lent.user.before = """
        test -e $directory/tun || { mknod -m 666 $directory/tun c 10 200; : > $directory/none; }
        test ! -e /dev/net/tun || mount --bind $directory/tun /dev/net/tun
    """  # as udev would have it; here it may be root's alone
    if hidden:
        lent.user.before += f"mount --bind $directory/none {hidden}"
    return lent


@pytest.fixture
def outside() -> Iterator[str]:
    """Something to be reached from a container: a page on this machine, but not on its loopback."""
    address = run("hostname", "-I").split()[0]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"outside\n")

    with ThreadingHTTPServer((address, 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_port}/"
        server.shutdown()


def test_a_network(networked, outside, residue):
    """RL12: containers find each other by name, and the way out; the machine finds a port."""
    port = free_port()
    networked.ok("network", "create", "lab")
    networked.ok("run", "-d", "--name", "web", "--network", "lab", "-p", f"127.0.0.1:{port}:80",
                 "tiny", "sh", "-c", "echo hello > /tmp/x; exec httpd -f -p 80 -h /tmp")
    assert wait_for(lambda: fetch(port)) == "hello\n"
    script = f"wget -qO- http://web/x; wget -qO- {outside}"
    assert networked.ok("run", "--rm", "--network", "lab", "tiny", "sh", "-c", script) == (
        "hello\noutside\n")
    networked.ok("restart", "-t", "0", "web")
    assert wait_for(lambda: fetch(port)) == "hello\n"
    networked.ok("rm", "-f", "web")
    networked.ok("network", "rm", "lab")
    wait_for(lambda: not networked.holder.exists())
    wait_for(lambda: networked.user.processes() == [])


def fetch(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def test_the_way_out_after_the_holder_was_killed(networked, outside):
    """The program that leads out ends with it; the next container has another."""
    networked.ok("run", "-d", "--name", "c", "tiny", "sleep", "1000")
    os.kill(int(networked.holder.read_text().split()[0]), signal.SIGKILL)
    assert networked.ok("run", "--rm", "tiny", "wget", "-qO-", outside) == "outside\n"
    assert networked.ok("exec", "c", "wget", "-qO-", outside) == "outside\n"
    networked.ok("rm", "-f", "c")


def test_what_listens_on_the_machines_loopback_is_out_of_reach(networked):
    """RL18"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for address in ("10.0.2.2", "127.0.0.1"):
            done = networked("run", "--rm", "tiny", "nc", "-w", "2", address, port)
            assert done.returncode == 1


def test_low_ports_are_roots(networked):
    """RT50"""
    done = networked("run", "--rm", "-p", "80:80", "tiny", "true")
    assert done.returncode == 125
    assert "port 0.0.0.0:80/tcp: the first 1023 ports are root's" in done.stderr
    assert "ip_unprivileged_port_start" in done.stderr


def test_a_way_out_is_needed(lent):
    hidden = [path for name in ("slirp4netns", "pasta") if (path := shutil.which(name))]
    lent.user.before = ": > $directory/none;" + "".join(
        f"mount --bind $directory/none {path};" for path in hidden)
    done = lent("run", "--rm", "tiny", "true")
    assert done.returncode == 125
    assert "hint: apt-get install slirp4netns" in done.stderr
    assert lent.ok("ps", "-aq") == ""


def test_the_machines_own_network(lent):
    link = lent.ok("run", "--rm", "--network", "host", "tiny", "readlink", "/proc/self/ns/net")
    assert link.strip() == os.readlink("/proc/self/ns/net")


# what cannot be had


@pytest.mark.skipif(not LIMITS.exists(), reason="cgroup v2 may be delegated: see test_uml.py")
@pytest.mark.parametrize("option", [("-m", "64m"), ("--cpus", "0.5"), ("--pids-limit", "9")])
def test_limits_need_cgroups_of_ones_own(engine, option):
    """RT50"""
    done = engine("run", "--rm", "--network", "none", *option, "tiny", "true")
    assert done.returncode == 125
    assert "the cgroups are not ours to change" in done.stderr
    assert "hint: " in done.stderr


def test_apparmor_allows_no_user_namespaces(own):
    """HD08: Ubuntu's switch, laid over /proc/sys/kernel; the kernel refuses as to who is in a
    chroot."""
    fake, jail = own.user.directory / "kernel", own.user.directory / "jail"
    fake.mkdir()
    jail.mkdir()
    (fake / "apparmor_restrict_unprivileged_userns").write_text("1\n")
    own.user.before = (
        f"mount --rbind / {jail}; mount --bind {fake} {jail}/proc/sys/kernel; "
        f"set -- chroot {jail} \"$@\""
    )
    for words in (("ps",), ("doctor",), ("run", "tiny", "true")):
        done = own(*words)
        assert done.returncode == 125
        assert f"cannot make a user namespace for user {UID}" in done.stderr
        assert "kernel.apparmor_restrict_unprivileged_userns=0" in done.stderr


def test_files_of_root_stay_closed(lent):
    """RT48"""
    secret = lent.user.directory / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    done = lent("run", "--rm", "--network", "none", "-v", f"{secret}:/secret", "tiny",
                "cat", "/secret")
    assert "secret" not in done.stdout
    assert done.returncode == 1
