"""``--explain`` tells every step, and of each the very calls that strace(1) sees."""

import json
import re
import shutil
from collections import Counter

import pytest

from minirun import explain, linux
from minirun.runtime import create, exec, init
from minirun.runtime.commands import start
from tests.runtime.bundles import Bundle
from tests.runtime.test_run import with_user_namespace

CREATE = (*create.STEPS, *init.FIRST_STEPS, *init.STEPS)
EXEC = (*exec.STEPS, *exec.JOINER_STEPS)
STEPS = {"create": CREATE, "start": start.STEPS, "run": CREATE + start.STEPS, "exec": EXEC}
CALLS = (  # those through which a container is made; what Python does for itself is not told
    "mount umount2 unshare setns pivot_root open_tree move_mount fsopen fsconfig fsmount "
    "mount_setattr openat2 sethostname keyctl prctl capget capset seccomp setgroups setresuid "
    "setresgid setsid mknodat symlinkat fchdir chdir accept4 close_range connect"
).split()
SAME = {"mknod": "mknodat", "symlink": "symlinkat"}


def steps_of(stderr: str) -> list[dict]:
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def told_by(ours: Bundle, command: str, *tracer: str) -> list[dict]:
    """What --explain=json of one command tells; it may be run by a tracer."""
    ours.process["args"] = ["/bin/true"]
    ours.write()
    if command in ("start", "exec"):
        ours.oci("create", ours.id, check=True)
    ours.command = [*tracer, *ours.command]
    words = ["/bin/true"] if command == "exec" else []
    return steps_of(ours.oci("--explain=json", command, ours.id, *words, check=True).stderr)


@pytest.mark.parametrize("command", STEPS)
def test_every_step_is_told(ours, command):
    told = told_by(ours, command)
    assert sorted(entry["step"] for entry in told) == sorted(s.__name__ for s in STEPS[command])
    for entry in told:
        assert entry["why"] and entry["man"] and entry["about"]
        assert isinstance(entry["calls"], list) and "shell" in entry


@pytest.mark.parametrize("command", ["run", "start", "exec"])
@pytest.mark.parametrize("kind", ["plain", "user namespace", "seccomp"])
def test_the_calls_are_those_that_strace_sees(ours, kind, command):
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    if kind == "user namespace":
        with_user_namespace(ours)
    if kind == "seccomp":
        ours.process["noNewPrivileges"] = True
        ours.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    trace = ours.directory / "trace"
    names = "|".join([*CALLS, *SAME, "execve"])
    steps = told_by(ours, command, "strace", "-f", "-e", f"trace=/^({names})$", "-o", str(trace))
    traced = trace.read_text().split('execve("/bin/true"')[0]
    seen, told = Counter(), Counter()
    for name in re.findall(r"^\d+ +(\w+)\(", traced, re.MULTILINE):
        seen[SAME.get(name, name)] += 1
    for entry in steps:
        told.update(call.partition("(")[0] for call in entry["calls"])
    for name in CALLS:
        assert told[name] == seen[name], name


def test_as_text(ours):
    done = ours.run("true", globals=("--explain",))
    assert 'mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL) = 0' in done.stderr
    assert "● make_private: Keep to ourselves what we mount from here on." in done.stderr
    assert 'execve("/bin/true", ["true"]' in done.stderr
    assert done.stdout == ""


def test_a_step_that_fails_is_told_and_named(ours):
    ours.config["root"]["path"] = "nowhere"
    done = ours.run("true", globals=("--explain",))
    assert "step bind_root failed: " in done.stderr and "nowhere" in done.stderr
    assert "= -1 (No such file or directory)" in done.stderr


@pytest.mark.parametrize("each", {*STEPS["run"], *EXEC}, ids=lambda each: each.__name__)
def test_docstrings_have_the_fixed_form(each):
    found = explain.fields(each)
    assert found["about"].endswith((".", "…")) and found["why"] and found["man"]
    assert re.fullmatch(r"([\w-]+\(\d\w*\)(?: \(\w+\))?(, )?)+", found["man"]), found["man"]


@pytest.mark.parametrize("name, arguments, result, shown", [
    ("unshare", (linux.CLONE_NEWNS | linux.CLONE_NEWPID,), 0,
     "unshare(CLONE_NEWNS|CLONE_NEWPID) = 0"),
    ("umount2", (b"/x", 2), 0, 'umount2("/x", MNT_DETACH) = 0'),
    ("openat2", (3, b"a\x1b", [0o10000000, 0, 0x10], 24), 5,
     'openat2(3, "a\\x1b", {flags=O_PATH, mode=0, resolve=RESOLVE_IN_ROOT}, 24) = 5'),
    ("chdir", ("/",), OSError(2, "x"), 'chdir("/") = -1 (No such file or directory)'),
    ("capset", (b"\1\0\2", None), None, "capset({3 bytes}, NULL) = 0"),
    ("execve", (b"/bin/sh\0", [b"sh\0", 0], [0]), 0, 'execve("/bin/sh", ["sh"], []) = 0'),
    ("prctl", (linux.PR_SET_NO_NEW_PRIVS, 1), 0, "prctl(PR_SET_NO_NEW_PRIVS, 1) = 0"),
])  # fmt: skip
def test_calls_are_shown_as_strace_does(name, arguments, result, shown):
    assert explain.show(name, arguments, result) == shown


def test_fields_may_go_on():
    def example(setup: object) -> None:
        """Do it.

        why:    because
                of this
        shell:  do
        """

    assert explain.fields(example) == {
        "step": "example", "about": "Do it.", "why": "because of this", "shell": "do",
        "man": "",
    }  # fmt: skip
