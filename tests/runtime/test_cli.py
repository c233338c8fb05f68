"""The command line itself: options in all their forms, hostile names, errors and where they go."""

import json
import os
import re
import signal
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.errors import UsageError
from minirun.runtime import cli
from minirun.runtime.options import Line
from tests.runtime.bundles import REPOSITORY, Bundle

# what each command needs besides the ID
ARGUMENTS = {"exec": ["true"]}
WITH_ID = [name for name in cli.COMMANDS if "ID" in cli.module(name).ARGUMENTS]

TABLE = (
    (("-b", "--bundle"), "DIR", ""),
    (("-d", "--detach"), "", ""),
    (("-t", "--tty"), "", ""),
    (("-e", "--env"), "NAME=VALUE…", ""),
    (("--explain",), "[=json]", ""),
)


def parsed(*words: str, until_argument: bool = False) -> tuple[dict, list[str]]:
    line = Line(TABLE)
    line.parse(list(words), until_argument=until_argument)
    return line.options, line.arguments


@pytest.mark.parametrize(
    "words",
    [("--bundle", "x"), ("--bundle=x",), ("-bundle", "x"), ("-b", "x"), ("-b=x",), ("-bx",)],
)
def test_every_form_of_an_option(words):
    """As Go's flag package and getopt_long(3) take them."""
    assert parsed(*words, "id") == ({"bundle": "x"}, ["id"])
    assert parsed("id", *words) == ({"bundle": "x"}, ["id"])


@pytest.mark.parametrize(
    ("words", "options", "arguments"),
    [
        (["-dt", "id"], {"detach": True, "tty": True}, ["id"]),
        (["-tdbx", "id"], {"detach": True, "tty": True, "bundle": "x"}, ["id"]),
        (["--tty=false", "id"], {"tty": False}, ["id"]),
        (["--bundle", "-d", "id"], {"bundle": "-d"}, ["id"]),
        (["--bundle=", "id"], {"bundle": ""}, ["id"]),
        (["-b=a=b", "id"], {"bundle": "a=b"}, ["id"]),
        (["-e", "A=1", "--env=B=2", "id"], {"env": ["A=1", "B=2"]}, ["id"]),
        (["--explain", "id"], {"explain": True}, ["id"]),
        (["--explain=json", "id"], {"explain": "json"}, ["id"]),
        (["--", "-d"], {}, ["-d"]),
        (["id", "-"], {}, ["id", "-"]),
    ],
)
def test_options_and_arguments(words, options, arguments):
    assert parsed(*words) == (options, arguments)


def test_what_follows_the_first_argument_may_belong_to_another_program():
    words = ["-d", "id", "ls", "-l", "--", "-d"]
    assert parsed(*words, until_argument=True) == ({"detach": True}, words[1:])


@pytest.mark.parametrize("words", [["--fly"], ["-x"], ["-dx"], ["--bundle"], ["--tty=maybe"],
                                   ["--tty="], ["--b"], ["-=x"], ["--=x"]])  # fmt: skip
def test_unknown_options_are_refused(words):
    with pytest.raises(UsageError):
        parsed(*words)


def test_commands_and_options_that_do_not_exist(ours):
    for words in (["fly"], ["run", "--fly", "x"], ["run"], ["state", "a", "b"], ["--log"],
                  ["kill", "x", "NOSIGNAL"], ["--explain=yes", "state", "x"], ["state", "--root"],
                  ["--cgroup-manager=me", "list"], ["--rootless=no", "list"], [""]):  # fmt: skip
        done = ours.oci(*words)
        assert (done.returncode, done.stderr[:7]) == (125, "error: "), done


def test_help_and_version(ours):
    overview = ours.oci("--help", check=True).stdout
    for name in cli.COMMANDS:
        assert re.search(rf"^  {name} +\w", overview, re.MULTILINE)
        page = ours.oci(name, "--help", check=True).stdout
        assert page.startswith(f"usage: minirun-oci {name} ")
        assert max(map(len, page.splitlines())) <= 100
    version = ours.oci("--version", check=True).stdout
    assert re.match(r"minirun-oci version [0-9.]+\nspec: 1\.[0-9.]+\n", version)


# names


def execute(*words: str) -> int:
    """A command line in this process, whose signals a ``run`` would hold back for good."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        return cli.execute(list(words))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.mark.parametrize("name", ["../x", ".", "..", "a/b", "-x", "a b", "a\n", "x" * 300, "", "ä",
                                  "a;b", "\x1b[2J", "x\u202e"])  # fmt: skip
@pytest.mark.parametrize("verb", WITH_ID)
def test_ids_that_are_no_names_are_refused(ours, capsys, verb, name):
    """RT37: by every command, before the name is used as one."""
    ours.state_root.mkdir()
    ours.write()
    bundle = ["--bundle", str(ours.directory)] if verb in ("create", "run") else []
    words = [verb, *bundle, "--", name, *ARGUMENTS.get(verb, [])]
    code = execute("--root", str(ours.state_root), *words)
    told = capsys.readouterr().err
    assert code == 125
    assert "invalid container ID" in told
    assert told.isascii() or name == "ä"
    assert "\x1b" not in told
    assert ours.listed() == []


# garbage

WORDS = st.one_of(
    st.sampled_from([*cli.COMMANDS, *(n for names, _, _ in cli.GLOBAL for n in names), "--", "-",
                     "--bundle", "--process", "-f", "-r", "--all", "--stats", "--regex", "["]),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=9),
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(WORDS, max_size=6))
def test_garbage_is_a_usage_error(tmp_path_factory, words):
    """RL20: whatever stands there, an exit code of ours and never a traceback."""
    words = ["--root", str(tmp_path_factory.getbasetemp() / "nothing"), *words]
    before = os.getcwd()
    os.chdir(tmp_path_factory.getbasetemp())
    try:
        code = execute(*words)
    finally:
        os.chdir(before)
    assert code in (0, 125)


@pytest.mark.parametrize(
    "words",
    [[b"\xff\xfe"], [b"state", b"\xff"], [b"--log", b"\xff/x", b"list"], [b"kill", b"x", b"\xff"],
     [b"--\xff"]],
)  # fmt: skip
def test_arguments_that_are_no_text(ours, words):
    line = [os.fsencode(word) for word in ours.arguments()]
    done = subprocess.run([*line, *words], capture_output=True, cwd=ours.directory, check=False)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 125 or b"list" in words


# errors


@pytest.mark.parametrize("form", ["text", "json"])
def test_errors_go_to_the_log(bundle, form):
    """In the form that containerd and conmon parse."""
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8.1 has a form of its own")
    for _ in range(2):
        bundle.oci("--log", "log", "--log-format", form, "state", "nobody")
    *_, line = (bundle.directory / "log").read_text().splitlines()
    assert "does not exist" in line
    if form == "json":
        entry = json.loads(line)
        assert (set(entry), entry["level"]) == ({"level", "msg", "time"}, "error")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|\+00:00)", entry["time"])
    else:
        assert re.match(r'time="\d{4}-\d\d-\d\dT\S+" level=error msg="', line)


def test_the_log_is_appended_to_and_may_be_a_pipe(ours):
    (ours.directory / "log").write_text("first\n")
    ours.oci("--log", "log", "state", "nobody")
    assert (ours.directory / "log").read_text().startswith("first\ntime=")
    reading, writing = os.pipe()
    ours.oci("--log", f"/proc/self/fd/{writing}", "state", "nobody", pass_fds=(writing,))
    assert b"does not exist" in os.read(reading, 4096)
    os.close(reading)
    os.close(writing)
    assert ours.oci("--log", "/dev/null", "state", "nobody").returncode == 125
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_log_that_cannot_be_written_is_an_error(bundle):
    """Before anything is done: who asked for it will look there and nowhere else."""
    bundle.state_root.mkdir()
    for words in (["list"], ["state", "nobody"]):
        done = bundle.oci("--log", "/nowhere/log", *words)
        assert done.returncode != 0
        assert "/nowhere/log" in done.stderr


def test_words_that_callers_look_for(bundle):
    """containerd takes "container not running" and "does not exist" for an end that it missed."""
    bundle.run("true", options=("-d",))
    bundle.wait_for("stopped")
    done = bundle.oci("kill", bundle.id, "TERM")
    assert done.returncode != 0
    assert "not running" in done.stderr or bundle.runtime == "crun"
    done = bundle.oci("kill", "--all", bundle.id, "KILL")
    assert done.returncode == 0 or "not running" in done.stderr or bundle.runtime == "crun"
    bundle.oci("delete", bundle.id, check=True)
    for words in (["kill", bundle.id, "TERM"], ["delete", bundle.id], ["state", bundle.id]):
        done = bundle.oci(*words)
        assert done.returncode != 0
        assert "does not exist" in done.stderr or bundle.runtime == "crun"


def test_debug_shows_where_an_error_came_from(ours):
    line = [*ours.arguments("state", "nobody")]
    line[line.index("--root") : line.index("--root")] = ["--debug"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "container.py" in done.stderr


def test_a_full_standard_output_is_an_error(ours):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*ours.arguments(), "--help"], stdout=full, stderr=subprocess.PIPE,
                              text=True, check=False)  # fmt: skip
    assert (done.returncode, "standard output" in done.stderr) == (125, True)


# the rest


def test_the_default_root_is_the_users_own(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert cli.default_root() == "/run/minirun/oci"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert cli.default_root() == "/run/minirun/oci"
    script = "from minirun.runtime import cli; print(cli.default_root())"
    line = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script]
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/run/user/1"}
    done = subprocess.run(
        line, cwd=REPOSITORY, env=environment, check=True, text=True, capture_output=True
    )
    assert done.stdout == "/run/user/1/minirun/oci\n"


def test_a_command_imports_only_what_it_needs():
    """state, start, kill and delete stand between a person and every container."""
    for name in ("state", "start", "kill", "delete"):
        script = (
            f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); "
            f"from minirun.runtime import cli; cli.module({name!r}); print(*sys.modules)"
        )
        line = [sys.executable, "-SIc", script]
        loaded = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split()
        assert not set(loaded) & {"ctypes", "minirun.linux", "minirun.runtime.spec", "json", "re"}


def test_regular_expressions(ours: Bundle):
    """As crun's --regex: some containers at once."""
    ours.process["args"] = ["sleep", "60"]
    ours.write()
    for name in ("web-1", "web-2", "db"):
        ours.oci("run", "-d", name, check=True)
    ours.oci("kill", "--regex", "^web-", "KILL", check=True)
    for name in ("web-1", "web-2"):
        ours.id = name
        ours.wait_for("stopped")
    ours.oci("delete", "--regex", "^web-", check=True)
    assert ours.listed() == ["db"]
    assert ours.oci("delete", "--force", "--regex", "[").returncode == 125
    ours.oci("delete", "--force", "--regex", ".*", check=True)
    assert ours.listed() == []


@pytest.mark.parametrize("verb", ["create", "run"])
def test_the_name_of_the_configuration(bundle, verb):
    if bundle.runtime == "runc":
        pytest.skip("an option of crun's")
    bundle.process["args"] = ["true"]
    bundle.write()
    os.rename(bundle.directory / "config.json", bundle.directory / "other.json")
    assert bundle.oci(verb, bundle.id).returncode != 0
    bundle.oci(verb, "--config", "other.json", bundle.id, check=True)


def test_only_what_the_caller_opened_is_preserved(ours):
    """A file of the runtime's own that happens to have the number is not passed on."""
    done = ours.run("ls", "/proc/self/fd", options=("--preserve-fds", "1"))
    assert (done.returncode, done.stdout) == (125, "")


def test_sockets_of_systemd_are_passed_on(bundle):
    """sd_listen_fds(3): as PID 1, which the command is."""
    if bundle.runtime != "minirun-oci":
        pytest.skip("through unshare(1) and sh(1), LISTEN_PID is another's")
    bundle.process["args"] = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3"]
    bundle.write()
    (bundle.directory / "file").write_text("from outside\n")
    script = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@" 3<file'
    line = ["sh", "-c", script, "sh", *bundle.arguments("run", bundle.id)]
    done = subprocess.run(line, text=True, cwd=bundle.directory, capture_output=True, check=True)
    assert done.stdout == "1 1\nfrom outside\n"


def test_a_mistake_of_ours_is_told_to_callers_too(monkeypatch, tmp_path, capsys):
    from minirun.runtime import cli
    from minirun.runtime.commands import state

    monkeypatch.setattr(state, "run", lambda *_: 1 // 0)
    log = tmp_path / "log"
    assert cli.execute(["--log", str(log), "state", "x"]) == 125
    assert "itself went wrong: ZeroDivisionError" in log.read_text()
    assert "Traceback" not in capsys.readouterr().err
