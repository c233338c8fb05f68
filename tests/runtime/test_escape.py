"""Ways out of a container that worked once, somewhere; each is tried here."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minirun.linux
from tests.runtime.bundles import canary

INTERPRETER = Path(os.path.realpath(sys.executable))


def fingerprint(path: Path) -> tuple:
    status = path.stat()
    return hashlib.sha256(path.read_bytes()).hexdigest(), status.st_mtime_ns, status.st_ino


def test_the_hosts_interpreter_cannot_be_reached_by_a_script(bundle):
    """RT01, CVE-2019-5736: with os.execve instead of the trampoline this runs the host's Python."""
    script = bundle.rootfs / "bin/evil"
    script.write_text("#!/proc/self/exe\nimport os; os.write(1, b'the interpreter runs')\n")
    script.chmod(0o755)
    before = fingerprint(INTERPRETER)
    for _ in range(5):
        done = bundle.run("/bin/evil")
        assert "the interpreter runs" not in done.stdout
        assert done.returncode != 0
    assert fingerprint(INTERPRETER) == before


def test_no_exe_of_the_runtimes_can_be_written(bundle):
    """RT02: a container that shares the host's PID namespace sees us, and must not get at us."""
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"
    ]
    ours = [INTERPRETER, Path(minirun.__file__), Path(minirun.linux.__file__)]
    before = [fingerprint(path) for path in ours]
    looper = "while :; do for p in /proc/[0-9]*/exe; do ( : > $p ) 2> /dev/null; done; done"
    bundle.process["args"] = ["sh", "-c", looper]
    bundle.run(options=("-d",))
    victim = bundle.id
    bundle.id += "b"
    for _ in range(5):
        bundle.run("true")
    bundle.oci("delete", "--force", victim, check=True)
    assert [fingerprint(path) for path in ours] == before


@pytest.mark.parametrize("path", [
    *(f"/proc/self/fd/{number}" for number in (0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 20)),
    "/proc/self/fd/9/../../tmp", "/proc/1/fd/7", "/proc/thread-self/fd/8", "/proc/1/root",
    "/proc/self/cwd",
])  # fmt: skip
def test_working_directories_stay_inside(bundle, tmp_path, path):
    """RT03, RT04, CVE-2024-21626 (red with crun 1.8.1)"""
    canary(tmp_path)
    bundle.process["cwd"] = path
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        os.set_inheritable(fd, True)
        done = bundle.run("sh", "-c", "pwd; ls; ls ../../../..", pass_fds=(fd,))
    finally:
        os.close(fd)
    assert "canary" not in done.stdout or bundle.runtime == "crun"
    if bundle.runtime == "minirun-oci":
        assert done.returncode == 125


@pytest.mark.slow
def test_no_descriptor_leads_out(ours):
    """RT03: any number that a file descriptor may have."""
    for number in range(3, 1024):
        ours.process["cwd"] = f"/proc/self/fd/{number}"
        assert ours.run("true").returncode == 125, number


@pytest.mark.parametrize("number", range(3, 16))
def test_commands_are_looked_for_inside(bundle, number):
    """RT06: args[0] through a file descriptor of the runtime's."""
    done = bundle.run(f"/proc/self/fd/{number}/bin/sh", "-c", "echo out")
    assert done.returncode != 0 and done.stdout == ""


MODULES = "encodings/__init__ warnings linecache traceback re enum json/__init__ signal codecs stat"


def test_no_python_of_the_image_is_ever_run(ours):
    """RT21, CVE-2019-14271: an image full of modules, and errors after pivot_root."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = [Path(path) for path in sys.path if path] + [
        Path(f"/usr/lib/{version}"), Path(f"/usr/lib/{version}/lib-dynload"), Path("/"),
    ]  # fmt: skip
    for place in places:
        for name in MODULES.split():
            path = ours.rootfs / str(place).lstrip("/") / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("open('/marker', 'w').write('run')")
    trace = ours.directory / "trace"
    strace = ["strace", "-f", "-e", "trace=%file,pivot_root", "-o", str(trace)]
    ours.command = [*strace, *ours.command]
    assert ours.run("/no/such/command").returncode == 127
    ours.process["cwd"] = "/proc/self/fd/5"
    assert ours.run("true").returncode == 125
    assert not (ours.rootfs / "marker").exists()
    text = trace.read_text()
    assert "pivot_root" in text or "cwd" not in text


def opened_after_pivot(trace: str) -> list[str]:
    """Files that the process which called pivot_root(2) opened afterwards."""
    lines = trace.splitlines()
    at = next(index for index, line in enumerate(lines) if "pivot_root(" in line)
    pid = lines[at].split()[0]
    return [line for line in lines[at:] if line.startswith(pid) and "open" in line]


def test_nothing_is_imported_after_pivot_root(ours):
    trace = ours.directory / "trace"
    ours.command = ["strace", "-f", "-e", "trace=%file,pivot_root", "-o", str(trace), *ours.command]
    assert ours.run("no-such-command").returncode == 127
    opened = opened_after_pivot(trace.read_text())
    assert not any(".py" in line or "/lib/python" in line for line in opened)


def test_classic_moves_are_refused(bundle):
    """RT30, RT46: what tools for breaking out try first."""
    shown = bundle.sh(
        "try() { if ( eval \"$1\" ) > /dev/null 2>&1; then echo \"worked: $1\"; fi; };"
        "try 'mount -t tmpfs x /tmp'; try 'mount -t proc proc /tmp'; try 'unshare -m true';"
        "try 'echo x > /proc/sys/kernel/core_pattern'; try 'echo h > /proc/sysrq-trigger';"
        "try 'echo x > /sys/kernel/uevent_helper'; try 'mknod /tmp/sda b 8 0';"
        "try 'umount /proc/sys'; try 'umount /proc/keys'; try 'chroot /tmp /bin/true';"
        "try 'hostname other'; try 'cat /proc/kcore | head -c 1 | grep .';"
        "try 'mount -t cgroup -o memory cgroup /tmp'"
    )  # fmt: skip
    assert shown == ""


def test_nobody_can_look_into_the_process_that_is_being_made(ours):
    """RT29, CVE-2016-9962: it cannot be traced before it executes the command."""
    ours.create("sleep", "60")
    pid = ours.pid()
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = subprocess.run([*user, "ls", f"/proc/{pid}/fd/"], check=False, capture_output=True)
    assert done.returncode != 0
