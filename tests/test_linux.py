"""The door to the kernel: errors name call and path, and the observer hears of everything."""

import errno
import os
import subprocess
import sys

import pytest

from minirun import linux


@pytest.fixture
def heard():
    calls: list[tuple] = []
    linux.observe(lambda *call: calls.append(call))
    yield calls
    linux.observe(None)


@pytest.mark.parametrize("call, name, number, path", [
    (lambda: linux.mount("x", "/no/such", "tmpfs"), "mount", errno.ENOENT, "/no/such"),
    (lambda: linux.umount2("/no/such"), "umount2", errno.ENOENT, "/no/such"),
    (lambda: linux.openat2(linux.AT_FDCWD, "/no/such", 0), "openat2", errno.ENOENT, "/no/such"),
    (lambda: linux.fsopen("nofs"), "fsopen", errno.ENODEV, "nofs"),
    (lambda: linux.setns(-1), "setns", errno.EBADF, None),
    (lambda: linux.prctl(-1), "prctl", errno.EINVAL, None),
    (lambda: linux.open_tree(linux.AT_FDCWD, b"/\xff", 0), "open_tree", errno.ENOENT, "/\udcff"),
])  # fmt: skip
def test_errors_name_the_call_and_the_path(heard, call, name, number, path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with pytest.raises(OSError) as caught:
        call()
    error = caught.value
    assert (error.errno, error.filename) == (number, path)
    assert error.strerror == f"{name}: {os.strerror(number)}"
    assert heard[-1][0] == name and heard[-1][2] is error


def test_a_zero_byte_does_not_cut_a_path():
    with pytest.raises(OSError, match="zero byte"):
        linux.umount2("/proc\0/x")


def test_resolution_stays_in_the_root(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("inside")
    root = os.open(tmp_path, os.O_PATH)
    try:
        for path in ("link", "/link", "../../link", "/etc/../../etc/passwd"):
            fd = linux.openat2(root, path, os.O_RDONLY, resolve=linux.RESOLVE_IN_ROOT)
            assert os.get_inheritable(fd) is False
            with open(fd) as file:
                assert file.read() == "inside"
    finally:
        os.close(root)


def test_write_file(tmp_path, heard):
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        linux.write_file(path, "x")
    path.touch()
    linux.write_file(path, "x")
    assert path.read_text() == "x"
    with pytest.raises(OSError) as caught:
        linux.write_file("/proc/self/oom_score_adj", "much")
    assert caught.value.filename == "/proc/self/oom_score_adj"
    assert [name for name, _, _ in heard] == ["write", "write", "fstatfs", "openat2", "write"]


@pytest.mark.parametrize("over, at", [
    ("tmpfs", "/proc"), ("/proc/self/task", "/proc"), ("tmpfs", "/proc/{pid}"),
    ("file", "/proc/{pid}/comm"),
])  # fmt: skip
def test_only_the_real_proc_is_written_to(tmp_path, over, at):
    """CVE-2025-52881"""
    script = """if True:
        import os, sys
        from minirun import linux
        over, at, file = sys.argv[1:]
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        name, at = f"/proc/{os.getpid()}/comm", at.format(pid=os.getpid())
        if over == "tmpfs":
            linux.mount("tmpfs", at, "tmpfs")
            os.makedirs(os.path.dirname(name), exist_ok=True)
            open(name, "w").close()
        else:
            linux.mount(file if over == "file" else over, at, None, linux.MS_BIND)
        try:
            linux.write_file(name, "x")
        except OSError as error:
            print(error.errno, os.path.getsize(name))
    """
    file = tmp_path / "file"
    file.touch()
    done = subprocess.run(
        [sys.executable, "-c", script, over, at, file], capture_output=True, text=True, check=True
    )
    number, size = done.stdout.split()
    assert (int(number), int(size)) == (errno.EXDEV, 0)


def test_capability_sets_there_and_back():
    effective, permitted, inheritable = linux.capget()
    with open("/proc/self/status") as file:
        masks = dict(line.split(":\t") for line in file if line.startswith("Cap"))
    assert int(masks["CapEff"], 16) == effective
    assert int(masks["CapPrm"], 16) == permitted
    assert int(masks["CapInh"], 16) == inheritable
    assert len(linux.capability_sets(1 << 40, 1, 0)) == 24


def test_functions_of_os_are_told_too(tmp_path, heard):
    linux.mkdirat(tmp_path / "x", 0o700)
    with pytest.raises(FileExistsError):
        linux.mkdirat(tmp_path / "x", 0o700)
    assert [name for name, _, _ in heard] == ["mkdirat", "mkdirat"]
    assert isinstance(heard[1][2], FileExistsError)


def test_importing_it_is_cheap():
    """It is paid for at the start of every container."""
    code = "import sys; from minirun import linux; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-Sc", code], check=True, capture_output=True, text=True,
                          env={"PYTHONPATH": ":".join(sys.path)})  # fmt: skip
    loaded = done.stdout.split()
    for heavy in ("enum", "re", "typing", "json", "collections", "functools", "signal", "pathlib"):
        assert heavy not in loaded
