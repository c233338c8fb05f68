"""diff, commit, export, import: from a container to an image, and back."""

import io
import json
import os
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.images import directory, file, symlink
from tests.waiting import wait_for

WRITES = "echo hi > /srv.txt; rm /etc/passwd; mkdir /new; echo x > /new/f; rm -r /home; mkdir /home"


def container(minirun, script=WRITES, *options):
    minirun.ok("run", "--name", "c", *options, "tiny", "sh", "-c", script)


def image_config(minirun, name):
    return json.loads(minirun.ok("inspect", "--type", "image", name))[0]["Config"]


def tar_of(*entries):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def test_diff_tells_what_a_container_did_and_nothing_else(minirun, residue):
    """Not the places that the runtime made for mounts, nor the directories around them."""
    container(minirun)
    assert minirun.ok("diff", "c").splitlines() == [
        "C /etc", "D /etc/passwd", "C /home", "D /home/student", "A /new", "A /new/f",
        "A /srv.txt",
    ]  # fmt: skip


def test_one_that_did_nothing_has_no_changes(minirun, residue):
    minirun.ok("run", "--name", "c", "tiny", "true")
    assert minirun.ok("diff", "c") == ""
    minirun.ok("create", "--name", "never", "tiny", "true")
    assert minirun.ok("diff", "never") == ""


def test_what_is_mounted_is_no_change(minirun, tmp_path, residue):
    (tmp_path / "shared").mkdir()
    container(minirun, "echo x > /srv/vol/f", "-v", f"{tmp_path}/shared:/srv/vol")
    assert minirun.ok("diff", "c").splitlines() == ["A /srv", "A /srv/vol"]


def test_an_image_of_a_container_starts_as_it_did(minirun, residue):
    container(minirun, WRITES, "-e", "COLOUR=red", "-u", "0:0", "-w", "/new", "-l", "team=os")
    ident = minirun.ok("commit", "-m", "note", "-a", "ada", "c", "mine").strip()
    assert ident.startswith("sha256:")
    assert minirun.ok("images", "-q", "--no-trunc", "mine").strip() == ident
    config = image_config(minirun, "mine")
    assert config["Cmd"] == ["sh", "-c", WRITES]
    assert config["WorkingDir"] == "/new" and config["User"] == "0:0"
    assert "COLOUR=red" in config["Env"] and config["Labels"]["team"] == "os"
    assert not [text for text in config["Env"] if text.startswith(("HOSTNAME=", "HOME="))]
    said = minirun.ok("run", "--rm", "mine", "sh", "-c",
                      "pwd; echo $COLOUR; cat f /srv.txt; ls /home; ls /etc/passwd || echo gone")
    assert said.splitlines() == ["/new", "red", "x", "hi", "gone"]
    found = json.loads(minirun.ok("inspect", "--type", "image", "mine"))[0]
    assert found["Author"] == "ada" and len(found["RootFS"]["Layers"]) == 2


def test_instructions_have_the_last_word(minirun, residue):
    container(minirun, "true")
    minirun.ok("commit", "-c", 'CMD ["echo", "changed"]', "-c", "ENV A=1 B=2", "--change",
               "EXPOSE 80", "c", "mine:v1")
    config = image_config(minirun, "mine:v1")
    assert {"A=1", "B=2"} <= set(config["Env"]) and config["ExposedPorts"] == {"80/tcp": {}}
    assert minirun.ok("run", "--rm", "mine:v1") == "changed\n"


@pytest.mark.parametrize(("words", "message"), [
    (["-c", "RUN make", "c"], "not an instruction"),
    (["-c", "CMD", "c"], "says nothing"),
    (["c", "NAME"], "NAME"),
    (["c", "x@sha256:" + "0" * 64], "a digest cannot be given"),
    (["nobody"], "no such container"),
])  # fmt: skip
def test_what_cannot_be_committed_makes_no_image(minirun, words, message, residue):
    container(minirun, "true")
    before = minirun.ok("images", "-q")
    failed = minirun("commit", *words)
    assert failed.returncode == 125 and message in failed.stderr
    assert minirun.ok("images", "-q") == before


def test_nothing_changed_means_no_new_layer(minirun, residue):
    container(minirun, "true")
    minirun.ok("commit", "c", "same")
    layers = json.loads(minirun.ok("inspect", "--type", "image", "same"))[0]["RootFS"]["Layers"]
    assert len(layers) == 1
    assert "sh -c true" in minirun.ok("history", "same")


def test_a_commit_without_a_name(minirun, residue):
    container(minirun, "echo 1 > /f")
    ident = minirun.ok("commit", "c").strip()
    assert minirun.ok("run", "--rm", ident, "cat", "/f") == "1\n"
    assert "<none>" in minirun.ok("images")


def test_a_running_container_stands_still_while_it_is_read(minirun, residue):
    """And goes on afterwards; with --no-pause it just goes on."""
    minirun.ok("run", "-d", "--name", "c", "tiny", "sh", "-c",
               "echo x > /f; trap 'exit 0' TERM; while :; do :; done")
    wait_for(lambda: "A /f" in minirun.ok("diff", "c"))
    minirun.ok("commit", "c", "one")
    minirun.ok("commit", "--no-pause", "c", "two")
    minirun.ok("commit", "--pause=false", "c", "three")
    assert minirun.ok("ps", "--format", "{{.Status}}").startswith("Up")
    seen = [event["Action"] for event in events(minirun)]
    assert seen.count("pause") == seen.count("unpause") == 1
    minirun.ok("rm", "-f", "c")
    for name in ("one", "two", "three"):
        assert minirun.ok("run", "--rm", name, "cat", "/f") == "x\n"


def events(minirun):
    said = minirun.ok("events", "--since", "1h", "--until", "0s", "--format", "{{json .}}")
    return [json.loads(line) for line in said.splitlines()]


def test_podman_and_umoci_understand_the_image(minirun, tmp_path, residue):
    container(minirun)
    minirun.ok("commit", "c", "localhost/mine:1")
    source = f"oci:{minirun.root}/lib/images:localhost/mine:1"
    subprocess.run(["skopeo", "copy", "-q", source, f"oci:{tmp_path}/o:1"], check=True)
    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path}/o:1", tmp_path / "bundle"],
                   check=True, capture_output=True)
    rootfs = tmp_path / "bundle/rootfs"
    assert (rootfs / "srv.txt").read_text() == "hi\n"
    assert not (rootfs / "etc/passwd").exists()
    assert os.listdir(rootfs / "home") == []


def test_export_writes_what_the_container_sees(minirun, tmp_path, residue):
    container(minirun)
    minirun.ok("export", "-o", tmp_path / "c.tar", "c")
    with tarfile.open(tmp_path / "c.tar") as tar:
        names = tar.getnames()
        assert tar.extractfile("srv.txt").read() == b"hi\n"
    assert "etc/passwd" not in names and "home" in names and "home/student" not in names
    assert not [name for name in names if ".wh." in name or name.startswith("proc/")]


def test_export_of_a_running_container_and_of_one_that_never_ran(minirun, residue):
    minirun.ok("run", "-d", "--name", "c", "tiny", "sh", "-c", "echo x > /f; exec sleep 100")
    wait_for(lambda: "A /f" in minirun.ok("diff", "c"))
    minirun.ok("create", "--name", "never", "tiny")
    for name, files in (("c", {"f", "bin"}), ("never", {"bin"})):
        data = subprocess.run([*minirun.command(), "export", name], env=minirun.env, check=True,
                              capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert files <= set(tar.getnames())
    minirun.ok("rm", "-f", "c", "never")


def test_a_failed_export_leaves_no_file(minirun, tmp_path, residue):
    container(minirun, "true")
    assert minirun("export", "-o", tmp_path / "none/x.tar", "c").returncode == 125
    (tmp_path / "there").mkdir()
    assert minirun("export", "-o", tmp_path / "there", "c").returncode == 125
    assert os.listdir(tmp_path / "there") == []
    minirun.ok("export", "-o", "/dev/null", "c")
    assert os.path.exists("/dev/null") and not os.path.isfile("/dev/null")


ROOT = tar_of(directory("bin"), file("bin/hello", "#!/bin/cat\nhello\n", 0o755),
              symlink("bin/link", "/bin/hello"))


@pytest.mark.parametrize("compress", [[], ["gzip"], ["zstd"], ["xz"], ["bzip2"]])
def test_import_takes_a_tar_however_it_is_compressed(minirun, tmp_path, compress, residue):
    data = ROOT
    if compress:
        data = subprocess.run([*compress, "-c"], input=data, check=True, capture_output=True).stdout
    (tmp_path / "root.tar").write_bytes(data)
    ident = minirun.ok("import", "-c", 'CMD ["/bin/hello"]', "-m", "a root",
                       tmp_path / "root.tar", "mine:1").strip()
    found = json.loads(minirun.ok("inspect", "--type", "image", "mine:1"))[0]
    assert found["Id"] == ident and found["Config"]["Cmd"] == ["/bin/hello"]
    assert "a root" in minirun.ok("history", "mine:1")


def test_import_reads_standard_input(minirun, tmp_path, residue):
    (tmp_path / "root.tar").write_bytes(ROOT)
    with (tmp_path / "root.tar").open("rb") as stdin:
        minirun.ok("import", "-", "mine", input=None, stdin=stdin)
    assert "mine" in minirun.ok("images")


def test_import_fetches_a_url(minirun, residue):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/root.tar" else 404)
            self.end_headers()
            self.wfile.write(ROOT)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        minirun.ok("import", f"{base}/root.tar", "mine")
        failed = minirun("import", f"{base}/other.tar", "mine2")
        server.shutdown()
    assert failed.returncode == 125 and "404" in failed.stderr
    assert "mine2" not in minirun.ok("images")


@pytest.mark.parametrize("data", [
    b"this is no tar", ROOT[:700], b"\x1f\x8b\x08broken", tar_of(file("../../evil", "x")),
])  # fmt: skip
def test_what_is_no_tar_makes_no_image(minirun, tmp_path, data, residue):
    (tmp_path / "root.tar").write_bytes(data)
    failed = minirun("import", tmp_path / "root.tar", "mine")
    assert failed.returncode == 125
    assert "mine" not in minirun.ok("images")
    assert not (tmp_path / "evil").exists()
    assert os.listdir(minirun.root / "lib/images/ingest") == []


def test_there_and_back(minirun, residue):
    """export | import: the same files, and a container runs on them."""
    container(minirun)
    export = subprocess.Popen([*minirun.command(), "export", "c"], env=minirun.env,
                              stdout=subprocess.PIPE)
    minirun.ok("import", "-", "flat", stdin=export.stdout, input=None)
    assert export.wait() == 0
    assert minirun.ok("run", "--rm", "flat", "cat", "/srv.txt") == "hi\n"


@pytest.mark.parametrize("command", [["commit"], ["diff"], ["export", "-o", "x"]])
def test_a_container_whose_image_is_damaged_is_an_error(minirun, tmp_path, command, residue):
    container(minirun, "echo x > /f")
    for path in (minirun.root / "lib/layers").iterdir():
        path.rename(tmp_path / path.name)
    failed = minirun(*command, "c", cwd=tmp_path)
    assert failed.returncode == 125 and "not unpacked" in failed.stderr
