"""The engine of an ordinary user: with the IDs that root lent them, and with none but their own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    assert engine.sh("id -u; touch /volume/file", "-v", f"{volume}:/volume") == "0\n"
    assert (volume / "file").stat().st_uid == UID
    wait_for(lambda: not engine.holder.exists())
    assert engine.user.processes() == []


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
