"""Files of NAME=VALUE lines, and labels."""

import pytest

from minirun import defaults
from minirun.engine import edits, variables
from minirun.errors import NotFound, UsageError


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "list"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_lines_are_taken_as_they_are(file, monkeypatch):
    monkeypatch.setenv("MINE", "ours")
    monkeypatch.delenv("NOBODYS", raising=False)
    path = file('# comment\n\n  A=1\nB="x y" # z\nC=\r\nMINE\nNOBODYS\nD=a=b\n')
    wanted = ["A=1", 'B="x y" # z', "C=", "MINE=ours", "D=a=b"]
    assert variables.of_files([path]) == wanted


def test_what_the_command_line_says_wins(file):
    spec = defaults.config()
    edits.apply(spec, {"env": ("A=line",), "env_file": (file("A=file\nB=file\n"),)})
    assert {"A=line", "B=file"} <= set(spec["process"]["env"])


@pytest.mark.parametrize("text", ["=x", "A B=x", b"\xff\xfe", "A=\0"])
def test_what_is_no_line(file, text):
    with pytest.raises(UsageError):
        variables.of_files([file(text)])


def test_no_file():
    with pytest.raises(NotFound):
        variables.of_files(["/no/such/file"])


def test_labels(file):
    path = file("a=file\nb=file\n")
    given = {"label_file": (path,), "label": ("a=line", "c", "d=x=y")}
    assert variables.labels(given) == {"a": "line", "b": "file", "c": "", "d": "x=y"}
    with pytest.raises(UsageError):
        variables.labels({"label": ("=x",)})
