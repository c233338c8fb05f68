"""CR02: commit, import, rmi and image prune are killed at each call that changes a file system.

No half image is listed, nothing is damaged, and the next attempt does what this one did not.
"""

import json
import subprocess

import pytest

from tests.components import require

CHANGES = "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,symlink,link,linkat"


@pytest.fixture
def store(minirun):
    require("strace")
    minirun.ok("run", "--name", "c", "tiny", "sh", "-c", "echo x > /f; rm /etc/passwd")
    minirun.ok("commit", "c", "base")
    return minirun


def killed_at(minirun, number, *words):
    """Whether the command was killed before its ``number``-th change; else it has done its work."""
    inject = ["-e", f"trace={CHANGES}", "-e", f"inject={CHANGES}:signal=KILL:when={number}"]
    command = ["strace", "-f", "-o", "/dev/null", *inject, *minirun.command(), *map(str, words)]
    done = subprocess.run(command, check=False, env=minirun.env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, -9, 137), done.stderr
    return done.returncode != 0


def is_whole(minirun):
    check = minirun("system", "check")
    assert check.returncode == 0, check.stdout + check.stderr
    return minirun.ok("images", "-a", "--format", "{{.Repository}}").split()


@pytest.mark.slow
@pytest.mark.parametrize("words", [
    ["commit", "-c", "CMD [\"cat\", \"/f\"]", "c", "new"],
    ["import", "-c", "CMD [\"cat\", \"/f\"]", "TAR", "new"],
    ["rmi", "base"],
    ["image", "prune", "-a", "-f"],
    ["container", "prune", "-f"],
    ["tag", "tiny", "other"],
])  # fmt: skip
def test_killed_at_every_change(store, tmp_path, words, residue):
    store.ok("export", "-o", tmp_path / "c.tar", "c")
    words = [tmp_path / "c.tar" if word == "TAR" else word for word in words]
    number = 1
    while killed_at(store, number, *words):
        number += 1
        names = is_whole(store)
        if "new" in names:
            assert store.ok("run", "--rm", "new") == "x\n"
            store.ok("rmi", "new")
        if "base" not in names:
            store.ok("create", "--name", "again", "tiny")  # rmi and prune have gone through
            break
    assert number > 1
    names = is_whole(store)
    if words[0] in ("commit", "import"):
        assert store.ok("run", "--rm", "new") == "x\n"
    store.ok("rm", "-f", *store.ok("ps", "-aq").split()) if store.ok("ps", "-aq") else None
    store.ok("image", "prune", "-a", "-f")
    left = store.root / "lib"
    assert list((left / "images/blobs/sha256").iterdir()) == []
    assert list((left / "images/ingest").iterdir()) == []
    assert list((left / "layers").iterdir()) == []
    assert json.loads((left / "images/index.json").read_text())["manifests"] == []
