"""cp by docker and by minirun: the same files in the same places, or the same refusal."""

import os
import subprocess
from contextlib import ExitStack

import pytest

from tests import images
from tests.components import private_network
from tests.conftest import Minirun
from tests.daemons import Engine, dockerd, other_runtimes

IMAGE = "busybox:test"
INSIDE = """
    mkdir -p /d/sub /dir; echo one > /d/f; echo two > /d/sub/g; ln -s f /d/link; ln -s d /to-d
    echo old > /file; ln -s file /to-file; ln -s missing /dangling; chmod 640 /d/f
    chown 1000:1000 /d/sub/g; chmod 1777 /d/sub
"""
COPIES = [  # source, destination; "box:" is the container, other paths are in a directory here
    ("box:/d", "new"), ("box:/d", "dir"), ("box:/d/.", "new"), ("box:/d/.", "dir"),
    ("box:/d/f", "new"), ("box:/d/f", "dir"), ("box:/d/f", "dir/new"), ("box:/d/f", "none/new"),
    ("box:/d/f", "new/"), ("box:/d", "file"), ("box:/to-d", "new"), ("box:/to-d/", "new"),
    ("box:/to-d/.", "new"), ("box:/nope", "new"), ("box:/d/f/.", "new"), ("box:/dangling", "new"),
    ("tree", "box:/new"), ("tree", "box:/dir"), ("tree/.", "box:/new"), ("tree/.", "box:/dir"),
    ("file", "box:/new"), ("file", "box:/dir"), ("file", "box:/dir/new"), ("file", "box:/no/new"),
    ("file", "box:/new/"), ("tree", "box:/file"), ("file", "box:/to-file"), ("file", "box:/to-d"),
    ("tree", "box:/to-d"), ("file", "box:/dangling"), ("nope", "box:/new"), ("file", "box:/file"),
    ("here", "box:/new"), ("here/.", "box:/new"),
]  # fmt: skip
LOOK = "find . | sort | while read n; do stat -c '%n %a %u %N' \"$n\"; done"


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    directory = tmp_path_factory.mktemp("copies")
    ours = Minirun(directory / "minirun")
    minirun = Engine(["env", *(f"{k}={v}" for k, v in ours.env.items()), *ours.command()], "")
    with ExitStack() as stack:
        stack.enter_context(other_runtimes())
        docker = stack.enter_context(
            dockerd(directory / "docker", within=stack.enter_context(private_network()))
        )
        docker.load(images.layout("busybox"), IMAGE)
        images.write_tar(directory / "t.tar", images.busybox_entries(images.machine()))
        minirun("import", "-c", "ENV PATH=/bin", directory / "t.tar", IMAGE)
        for engine in (docker, minirun):
            engine("run", "-d", "--network", "none", "--name", "box", IMAGE, "sleep", "9999")
            stack.callback(engine, "rm", "-f", "box")
        yield {"docker": docker, "minirun": minirun}


def outcome(engine, directory, source, destination, *flags):
    """Whether a copy succeeds, and what there is afterwards, here and inside."""
    script = "rm -rf /d /dir /file /to-* /dangling /new /missing /no;" + INSIDE
    engine("exec", "box", "sh", "-ec", script)
    directory.mkdir()
    for name in ("dir", "tree/deep"):
        (directory / name).mkdir(parents=True)
    for name in ("file", "tree/f", "tree/deep/g"):
        (directory / name).write_text("from here\n")
    (directory / "tree/f").chmod(0o600)
    os.chown(directory / "tree/f", 1234, 1234)
    (directory / "here").symlink_to("tree")
    done = engine.attempt("cp", *flags, source, destination, cwd=directory)
    inside = engine("exec", "-w", "/", "box", "sh", "-c",
                    LOOK.replace("find .", "find d dir file to-d to-file dangling new missing no"))
    here = subprocess.run(["sh", "-c", LOOK], cwd=directory, capture_output=True, text=True,
                          check=True).stdout
    return done.returncode == 0, inside, here, done.stderr


@pytest.mark.parametrize("flags", [(), ("-L",)], ids=["", "-L"])
@pytest.mark.parametrize(("source", "destination"), COPIES)
def test_a_copy_is_the_same(engines, tmp_path, source, destination, flags):
    *docker, why = outcome(engines["docker"], tmp_path / "docker", source, destination, *flags)
    *minirun, ours = outcome(engines["minirun"], tmp_path / "minirun", source, destination, *flags)
    assert minirun == docker, (why, ours)
