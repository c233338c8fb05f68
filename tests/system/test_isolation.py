"""What a default container can see and do, asked from inside: HD01-HD06 of the catalogue.

The probes are shell lines in the embedded image, so what answers is the kernel and not minirun.
They only open what they must not write: a probe that succeeds must not harm the machine.
"""

import os
from pathlib import Path

import pytest

from tests import images

# What podman gives, by number: capabilities(7)
CAPABILITIES = {
    "chown": 0, "dac_override": 1, "fowner": 3, "fsetid": 4, "kill": 5, "setgid": 6, "setuid": 7,
    "setpcap": 8, "net_bind_service": 10, "sys_chroot": 18, "setfcap": 31,
}
MASKED = ("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
          "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
          "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEVICES = {"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
           "stderr", "stdin", "stdout", "tty", "urandom", "zero"}


@pytest.fixture
def inside(minirun):
    """What a shell line prints in a new default container."""
    def probe(line: str, *options: str) -> str:
        return minirun.ok("run", "--rm", *options, "tiny", "sh", "-c", line)
    return probe


def status(text: str) -> dict[str, str]:
    return dict(line.split(":\t") for line in text.splitlines() if ":\t" in line)


def test_hd01_capabilities_are_the_eleven_and_no_more(inside):
    expected = sum(1 << number for number in CAPABILITIES.values())
    seen = status(inside("cat /proc/self/status"))
    assert int(seen["CapBnd"], 16) == int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == expected
    assert int(seen["CapInh"], 16) == int(seen["CapAmb"], 16) == 0


def test_hd01_another_user_has_no_capability(inside):
    seen = status(inside("cat /proc/self/status", "-u", "1000"))
    assert int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == int(seen["CapAmb"], 16) == 0
    assert seen["Uid"].split() == ["1000"] * 4


def test_hd02_seccomp_is_on_and_new_privileges_can_be_forbidden(inside):
    seen = status(inside("cat /proc/self/status"))
    assert (seen["Seccomp"], seen["NoNewPrivs"]) == ("2", "0")
    assert status(inside("cat /proc/1/status"))["Seccomp"] == "2"
    option = ("--security-opt", "no-new-privileges")
    assert status(inside("cat /proc/self/status", *option))["NoNewPrivs"] == "1"


FORBIDDEN = (
    "mount -t tmpfs none /tmp", "umount /proc", "hostname other", "date -s \"$(date)\"",
    "unshare -U true", "unshare -m true", "nsenter -t 1 -m true", "insmod /dev/null", "dmesg",
    "swapoff /dev/null", "renice -n -5 1", "ip link add veth0 type veth",
    "mknod /tmp/disk b 254 0", "printf '' >> /proc/sys/kernel/panic",
    "printf '' >> /proc/sysrq-trigger", "printf '' >> /sys/kernel/uevent_helper",
    "[ -e /sys/fs/cgroup/release_agent ]",
)


@pytest.mark.parametrize("line", FORBIDDEN)
def test_hd02_what_could_harm_the_host_fails(minirun, line):
    assert minirun("run", "--rm", "tiny", "sh", "-c", f"{line} || exit 99").returncode == 99


@pytest.mark.parametrize("path", MASKED)
def test_hd03_masked_paths_show_nothing(inside, path):
    """A file is /dev/null, a directory an empty one; what the kernel lacks is not there at all."""
    assert inside(f"[ -d {path} ] && ls -A {path} || cat {path} 2>/dev/null; true") == ""


def test_hd03_masks_cover_every_cpu(inside):
    """Temperature and throttling tell one container what its neighbours do."""
    throttles = list(Path("/sys/devices/system/cpu").glob("cpu*/thermal_throttle"))
    if not throttles:
        pytest.skip("no thermal_throttle on this machine")
    assert inside("cat /sys/devices/system/cpu/cpu*/thermal_throttle/* 2>/dev/null; true") == ""


@pytest.mark.parametrize("path", READ_ONLY)
def test_hd03_read_only_paths(inside, path):
    if not os.path.exists(path):
        pytest.skip(f"no {path} on this machine")
    mounts = {line.split()[4]: line.split()[5] for line in
              inside("cat /proc/self/mountinfo").splitlines()}
    assert "ro" in mounts[path].split(",")


def test_hd04_dev_holds_the_default_devices(inside):
    assert set(inside("ls /dev").split()) <= DEVICES
    assert set(inside("ls /dev").split()) >= {"null", "zero", "full", "random", "urandom", "tty",
                                              "pts", "ptmx", "shm", "fd"}


def test_hd04_the_mounts_have_the_options_that_the_table_says(inside):
    wanted = {
        "/proc": {"nosuid", "nodev", "noexec"}, "/dev": {"nosuid"},
        "/dev/shm": {"nosuid", "nodev", "noexec"}, "/dev/mqueue": {"nosuid", "nodev", "noexec"},
        "/dev/pts": {"nosuid", "noexec"}, "/sys": {"ro", "nosuid", "nodev", "noexec"},
    }
    seen = {line.split()[4]: set(line.split()[5].split(","))
            for line in inside("cat /proc/self/mountinfo").splitlines()}
    assert {path: options - seen[path] for path, options in wanted.items()} == {
        path: set() for path in wanted}


def test_hd04_only_the_default_devices_open(minirun):
    """The cgroup denies what mknod(2) could still name: here the first disk and /dev/mem."""
    line = ("for device in 'b 8 0' 'b 254 0' 'c 1 1' 'c 10 229'; do rm -f /x; mknod /x $device && "
            "(: < /x) 2> /dev/null && echo opened $device; done; true")
    assert minirun.ok("run", "--rm", "--cap-add", "MKNOD", "tiny", "sh", "-c", line) == ""


def test_hd05_the_namespaces_are_its_own(inside):
    """All but user, as in Docker, and time, which without shifted clocks isolates nothing."""
    for kind in ("mnt", "net", "pid", "ipc", "uts", "cgroup"):
        here = os.readlink(f"/proc/self/ns/{kind}")
        assert inside(f"readlink /proc/self/ns/{kind}").strip() != here, kind


def test_hd05_it_sees_only_its_own_processes_network_and_name(inside):
    assert inside("echo $$; ls /proc | grep -c '^[0-9]'").split()[0] == "1"
    assert int(inside("ls -d /proc/[0-9]* | wc -l")) <= 3
    assert inside("ls /sys/class/net").split() == ["eth0", "lo"]  # a cable to the default bridge
    assert inside("hostname", "--hostname", "box").strip() == "box"
    assert inside("cat /proc/net/dev | grep -c :").strip() == "2"
    assert inside("ipcs -q -m -s 2>/dev/null | grep -c '^0x'; true").strip() == "0"


def test_hd05_nothing_of_the_host_is_in_its_mounts(inside, tmp_path):
    """No path of the host's, no overlay option that another mount would need, no old root."""
    (tmp_path / "secret").write_text("of the host")
    assert "secret" not in inside(f"ls {tmp_path} /.pivot* /oldroot 2>/dev/null; true")
    points = [line.split()[4] for line in inside("cat /proc/self/mountinfo").splitlines()]
    tops = {point.split("/")[1] for point in points}
    assert tops <= {"", "proc", "dev", "sys", "etc"}, points


def test_hd05_no_file_of_the_host_is_left_open(inside):
    """RT: only 0, 1 and 2 (and the directory that ls reads)."""
    assert inside("ls /proc/self/fd").split() == ["0", "1", "2", "3"]
    assert inside("readlink /proc/1/exe; readlink /proc/1/cwd; readlink /proc/1/root").split()[1:] \
        == ["/", "/"]


def test_hd06_only_sysctls_of_its_namespaces_can_be_set(inside):
    before = Path("/proc/sys/kernel/hostname").read_text()
    assert inside("echo evil > /proc/sys/kernel/hostname || echo refused 2>&1").strip() == "refused"
    assert Path("/proc/sys/kernel/hostname").read_text() == before


def test_hd09_privileged_says_so_and_gives_everything(minirun):
    done = minirun("run", "--rm", "--privileged", "tiny", "cat", "/proc/self/status")
    seen = status(done.stdout)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    own = int(status(Path("/proc/self/status").read_text())["CapBnd"], 16)
    assert int(seen["CapBnd"], 16) == own & ((1 << last + 1) - 1)
    assert seen["Seccomp"] == "0"


# --- nothing of the image runs outside of the container --------------------------------------

TRAP = "import os; os.open('/TRAPPED-%s', os.O_CREAT); print('TRAPPED %s')\n"
MODULES = ("os", "warnings", "encodings/__init__", "encodings/utf_8", "encodings/idna", "json",
           "ctypes", "signal", "struct", "errno", "traceback", "subprocess", "socket", "stat",
           "re", "enum", "locale", "codecs", "io", "sitecustomize", "minirun/errors")


@pytest.mark.parametrize("command, code", [
    (["/bin/true"], 0), (["/nope"], 127), (["nope"], 127), (["/etc/passwd"], 126), (["/etc"], 126),
])
def test_nothing_is_imported_after_the_root_has_changed(minirun, plain, tmp_path, command, code):
    """An image full of modules named as Python's own: at every path that Python might look in."""
    import sys

    folders = {path.strip("/") for path in [*sys.path, "/usr/lib/python3.11", "/usr/lib/python3.12",
                                            "/", "/tmp", "/root"] if path.startswith("/")}
    traps = [images.file(f"{folder}/{module}.py".lstrip("/"), TRAP % (module, module))
             for folder in folders for module in MODULES]
    traps += [images.file(f"{module}.py", TRAP % (module, module)) for module in MODULES]
    layout = images.make(tmp_path, images.busybox_entries(images.machine()) + traps,
                         "--config.env", "PATH=/bin", "--config.workingdir", "/")
    name = plain.push(layout, "public/traps:latest")
    done = minirun("run", "--rm", "--pull", "always", name, *command)
    assert done.returncode == code, done.stderr
    assert "TRAPPED" not in done.stdout + done.stderr
    seen = minirun.ok("run", "--rm", "-v", "/:/host:ro", name, "sh", "-c", "ls / /host")
    assert "TRAPPED" not in seen
