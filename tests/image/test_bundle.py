"""An image's config becomes a config.json: Docker's rules, and nothing hostile in it."""

import json
import signal

import pytest

from minirun import defaults
from minirun.errors import ImageError, UsageError
from minirun.image import bundle


def image(**settings):
    return {"config": settings}


def process(**settings):
    return bundle.config(image(**settings))["process"]


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "arguments", "override", "line"),
    [
        (None, ["sh"], [], None, ["sh"]),
        (None, ["sh"], ["ls", "-l"], None, ["ls", "-l"]),
        (["top"], ["-b"], [], None, ["top", "-b"]),
        (["top"], ["-b"], ["-n"], None, ["top", "-n"]),
        (["top"], ["-b"], [], "sh", ["sh"]),  # a new entrypoint drops the image's Cmd
        (["top"], ["-b"], ["-c"], "sh", ["sh", "-c"]),
        (["top"], ["-b"], ["ls"], "", ["ls"]),  # an empty one only removes the image's
    ],
)
def test_entrypoint_and_cmd(entrypoint, cmd, arguments, override, line):
    config = image(Entrypoint=entrypoint, Cmd=cmd)
    spec = bundle.config(config, arguments=arguments, entrypoint=override)
    assert spec["process"]["args"] == line


def test_no_command_at_all_is_an_error_with_a_hint():
    with pytest.raises(ImageError) as caught:
        bundle.config({"config": None})
    assert "minirun run IMAGE COMMAND" in caught.value.hint


def test_env_of_the_image_replaces_the_default_in_place():
    env = process(Cmd=["x"], Env=["PATH=/opt/bin", "A=1", "A=2", "EMPTY="])["env"]
    assert env == ["PATH=/opt/bin", "A=2", "EMPTY="]


@pytest.mark.parametrize("variable", ["FOO", "*", "PATH", "=x", "", "A=1\0B=2"])
def test_rt22_a_malformed_variable_is_refused_and_never_completed(variable, monkeypatch):
    monkeypatch.setenv("FOO", "secret of the host")
    with pytest.raises(ImageError):
        process(Cmd=["x"], Env=[variable])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (None, "/"),
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("///a", "/a"),
        ("srv", "/srv"),
        ("/a/../../../etc", "/etc"),
        ("/a/./b/", "/a/b"),
    ],
)
def test_working_directory_is_absolute_and_clean(text, path):
    assert process(Cmd=["x"], WorkingDir=text)["cwd"] == path


@pytest.mark.parametrize(
    "settings",
    [
        {"Cmd": "sh -c x"},
        {"Cmd": [1]},
        {"Cmd": {"a": "b"}},
        {"Cmd": ["a\0b"]},
        {"Cmd": ["x"], "Env": "A=1"},
        {"Cmd": ["x"], "WorkingDir": 3},
        {"Cmd": ["x"], "WorkingDir": "/a\0b"},
    ],
)
def test_fields_of_the_wrong_kind_are_refused(settings):
    with pytest.raises(ImageError):
        process(**settings)


def test_rt36_labels_and_annotations_change_nothing():
    labels = {
        "run.oci.keep_original_groups": "1",
        "io.containerd.x": "y",
        "minirun.privileged": "1",
        "org.systemd.property.DeviceAllow": "['*']",
        "io.podman.annotations.privileged": "TRUE",
    }
    plain = image(Cmd=["sh"])
    labelled = {**image(Cmd=["sh"], Labels=labels), "annotations": labels}
    assert bundle.config(labelled) == bundle.config(plain)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9", 9),
        ("KILL", 9),
        ("SIGKILL", 9),
        ("sigusr1", signal.SIGUSR1),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX-1", signal.SIGRTMAX - 1),
        ("64", 64),
    ],
)
def test_signals_by_name_and_number(text, number):
    assert bundle.signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIGNOPE", "RTMIN+99", "9 ", "９", "RTMIN+"])
def test_what_is_no_signal(text):
    with pytest.raises(UsageError):
        bundle.signal_number(text)


def test_stop_signal_of_the_image():
    assert bundle.stop_signal(image()) == signal.SIGTERM
    assert bundle.stop_signal(image(StopSignal="SIGQUIT")) == signal.SIGQUIT
    with pytest.raises(ImageError):
        bundle.stop_signal(image(StopSignal="NOPE"))


def test_config_json_appears_whole_and_the_defaults_are_not_shared(tmp_path):
    first, second = defaults.config(), defaults.config()
    first["mounts"].clear()
    assert second["mounts"]
    bundle.write(second, str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text()) == second
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
