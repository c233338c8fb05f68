"""Hooks: when each kind runs, where, with which state, and what its failure means."""

import json
import time

import pytest

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def hook(bundle, kind: str, script: str, **more) -> None:
    hooks = bundle.config.setdefault("hooks", {}).setdefault(kind, [])
    hooks.append({"path": "/bin/sh", "args": ["sh", "-c", script], **more})


def test_order_and_states(ours):
    log = ours.directory / "log"
    for kind in KINDS:
        place = "/log" if kind == "startContainer" else log
        hook(ours, kind, f"echo {kind} $(/bin/cat) >> {place}")
    log.touch()
    (ours.rootfs / "log").touch()
    ours.config["annotations"] = {"a": "b"}
    ours.config["mounts"].append(
        {"destination": "/log", "type": "bind", "source": str(log), "options": ["bind"]}
    )
    assert ours.run("true").returncode == 0
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [kind for kind, _ in lines] == list(KINDS)
    states = {kind: json.loads(state) for kind, state in lines}
    assert {kind: states[kind]["status"] for kind in KINDS} == {
        "prestart": "created", "createRuntime": "creating", "createContainer": "creating",
        "startContainer": "created", "poststart": "running", "poststop": "stopped",
    }  # fmt: skip
    for kind in KINDS[:5]:
        assert states[kind]["pid"] > 0 and states[kind]["annotations"] == {"a": "b"}
        assert states[kind]["bundle"] == str(ours.directory)


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_fails_create(bundle, kind, tidy):
    hook(bundle, kind, "exit 3")
    if bundle.runtime == "minirun-oci":
        assert f"{kind} hook /bin/sh exited with 3" in bundle.refused("true")
    else:
        bundle.refused("true")


def test_a_start_container_hook_that_fails_fails_start(bundle):
    hook(bundle, "startContainer", "exit 3")
    done = bundle.run("sh", "-c", "echo started")
    assert done.returncode != 0 and done.stdout == ""
    if bundle.runtime == "minirun-oci":
        assert "startContainer hook /bin/sh exited with 3" in done.stderr


def test_a_poststart_hook_that_fails_ends_the_container(ours):
    """As the runtime spec has it from 1.2.1 on. crun 1.8.1 warns, runc 1.1.5 fails create."""
    hook(ours, "poststart", "exit 3")
    ours.create("sleep", "1000")
    done = ours.oci("start", ours.id)
    assert done.returncode == 125 and "poststart hook /bin/sh exited with 3" in done.stderr
    ours.wait_for("stopped")


def test_a_poststop_hook_that_fails_is_a_warning(bundle):
    if bundle.runtime == "runc":
        pytest.skip("runc 1.1.5 leaves out the hooks behind the one that failed")
    marker = bundle.directory / "marker"
    hook(bundle, "poststop", "exit 3")
    hook(bundle, "poststop", f"touch {marker}")
    assert bundle.run("true").returncode == 0
    assert marker.exists()


def test_time_runs_out(ours):
    hook(ours, "createRuntime", "sleep 60", timeout=1)
    began = time.monotonic()
    assert "timeout of 1 s" in ours.refused("true")
    assert time.monotonic() - began < 5


def test_environment_is_the_hooks_own(ours):
    log = ours.directory / "log"
    hook(ours, "createRuntime", f"/usr/bin/env > {log}", env=["A=b"])
    assert ours.run("true").returncode == 0
    names = {line.partition("=")[0] for line in log.read_text().splitlines()}
    assert "A" in names and not names & {"HOME", "PATH_INFO", "PYTHONPATH", "USER"}


def test_mounts_of_a_hook_are_seen_inside(ours):
    """What GPU hooks do: createContainer runs in the container's mount namespace."""
    hook(ours, "createContainer", f"/bin/mount -t tmpfs tmpfs {ours.rootfs}/tmp")
    assert "tmpfs" in ours.sh("grep ' /tmp ' /proc/self/mountinfo")


def test_a_hook_that_is_not_there(ours):
    ours.config["hooks"] = {"prestart": [{"path": "/no/such/hook"}]}
    assert "/no/such/hook cannot be run" in ours.refused("true")


def test_a_hook_without_env_has_ours_and_with_an_empty_one_none(ours, tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", "of the caller")
    seen = {}
    for name, env in (("ours", None), ("none", [])):
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f'echo "$MARK" > {tmp_path}/{name}']}
        hook |= {} if env is None else {"env": env}
        seen.setdefault("prestart", []).append(hook)
    ours.config["hooks"] = seen
    assert ours.run("true").returncode == 0
    assert (tmp_path / "ours").read_text() == "of the caller\n"
    assert (tmp_path / "none").read_text() == "\n"


def test_a_hook_in_the_container_has_the_commands_environment(ours):
    script = 'test "$MARK" = ours || { echo "no mark" >&2; exit 3; }'
    ours.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    assert "startContainer hook /bin/sh exited with 3: no mark" in ours.refused("true")
    ours.process["env"].append("MARK=ours")
    assert ours.run("true").returncode == 0
