"""What all tests share: ``minirun`` with a store of its own, and the count of what is left."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from minirun import linux
from tests import residue as residues


def pytest_configure() -> None:
    """Run the tests below a process that adopts and reaps orphans, as PID 1 of a machine does.

    So ``residue`` sees what is left running, and no zombie keeps a keyring. See prctl(2).
    """
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    if tests := os.fork():
        os._exit(reap_until(tests))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGINT)


def reap_until(tests: int) -> int:
    """Reap whatever ends until the tests do, and end what they left; their exit code."""
    def pass_on(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(tests, signal.SIGINT)  # for SIGTERM too: fixtures are torn down then

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    while (ended := os.wait())[0] != tests:
        pass
    for orphan in residues.children(os.getpid()):  # of tests that were killed
        os.kill(orphan, signal.SIGKILL)
    return os.waitstatus_to_exitcode(ended[1]) & 0xFF


@pytest.fixture
def residue():
    """The test leaves mounts, cgroups, interfaces, keyrings, processes, rules and files as before.

    Put it last among the arguments: then what the other fixtures keep is there before and after.
    """
    before = residues.snapshot()
    yield
    assert residues.left(before) == {}


def output_file():
    """Names of files need not be UTF-8."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape", newline="")


class Minirun:
    """The installed commands, with a store, a home and settings of their own.

    ``minirun("run", "--rm", "tiny", "true")`` gives the completed process with its output as text.
    A traceback on standard error fails the test, whatever the test is about.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.registries = directory / "registries.conf"
        self.registries.touch()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "MINIRUN_ROOT": str(self.root),
            "MINIRUN_REGISTRIES_CONF": str(self.registries),
        }

    @staticmethod
    def command(name: str = "minirun") -> list[str]:
        """The launcher that setup.sh installed; else the module, run by the Python of the tests."""
        module = {"minirun": "minirun.engine.cli", "minirun-oci": "minirun.runtime.cli"}[name]
        installed = shutil.which(name)
        code = f"import sys; from {module} import main; sys.exit(main())"
        return [installed] if installed else [sys.executable, "-c", code]

    def __call__(self, *words: object, **options) -> subprocess.CompletedProcess[str]:
        return self.run(self.command(), *words, **options)

    def oci(self, *words: object, **options) -> subprocess.CompletedProcess[str]:
        """minirun-oci, with the state directory that ``minirun`` itself gives it."""
        command = [*self.command("minirun-oci"), "--root", str(self.root / "run/oci")]
        return self.run(command, *words, **options)

    def run(self, command: list[str], *words: object, env: dict[str, str] | None = None,
            timeout: float = 60, **options) -> subprocess.CompletedProcess[str]:
        """Output goes through files: a container that stays may keep them open without harm."""
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        with output_file() as stdout, output_file() as stderr:
            done = subprocess.run([*command, *map(str, words)], check=False, timeout=timeout,
                                  text=True, env=self.env | (env or {}),
                                  **{"stdout": stdout, "stderr": stderr} | options)
            stdout.seek(0)
            stderr.seek(0)
            done.stdout, done.stderr = stdout.read(), stderr.read()
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        return done

    def start(self, *words: object, **options) -> subprocess.Popen[str]:
        """The command as a running process, for tests that send signals to it."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE} | options
        return subprocess.Popen([*self.command(), *map(str, words)], text=True, env=self.env,
                                **options)

    def ok(self, *words: object, **options) -> str:
        """The standard output of a command that must succeed."""
        done = self(*words, **options)
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr}"
        return done.stdout

    def end(self, *within: str) -> None:
        """Remove the containers that a test has left, lest they outlive their store."""
        live = self.root / "run/live"
        if names := [path.name for path in live.iterdir()] if live.exists() else []:
            self.run([*within, *self.command()], "rm", "--force", *names)


@pytest.fixture
def minirun(tmp_path) -> Iterator[Minirun]:
    """The commands on a new store. Skips where there is no root: a container needs mounts."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    commands = Minirun(tmp_path / "minirun")
    yield commands
    commands.end()
    assert list(commands.temporary.iterdir()) == []
