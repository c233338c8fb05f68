"""What a hostile program in a container tries: RT34, RT45, RT46, RT47 of the catalogue.

The program is in C, for no shell makes these system calls. It harms nothing where it succeeds: it
opens, and writes nothing. Whatever errno does not mean "you may not" or "there is no such thing"
counts as success, for then the kernel had let the caller through, and complained of arguments
(but of a terminal: that it is none is as good).
"""

import fcntl
import os
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.runtime.bundles import Bundle

PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(const char *what, long result) {
    int refused[] = {EPERM, EACCES, EROFS, ENOENT, ENOSYS, ENOTDIR, ENOKEY, ENXIO, EOPNOTSUPP};
    for (unsigned i = 0; result < 0 && i < sizeof refused / sizeof *refused; i++)
        if (errno == refused[i])
            return;
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "worked");
}

static void try_files(void) {
    const char *writable[] = {"/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper", "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/1/root/proc/sysrq-trigger",
        "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/kernel/debug/tracing/trace", "/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda"};
    for (unsigned i = 0; i < sizeof writable / sizeof *writable; i++)
        tell(writable[i], open(writable[i], O_WRONLY));
    char byte;
    int kcore = open("/proc/kcore", O_RDONLY);  /* masked by the null device: there, and empty */
    if (kcore >= 0 && read(kcore, &byte, 1) == 1)
        tell("/proc/kcore", 0);
}

static void try_calls(void) {
    struct { struct file_handle handle; unsigned char bytes[8]; } root = {{8, 1}, {2}};
    int attributes[32] = {1, 4, 4, 1};  /* BPF_MAP_CREATE: a hash table of one number */
    int here = open("/", O_RDONLY);
    tell("open_by_handle_at", open_by_handle_at(here, &root.handle, O_RDONLY));
    tell("bpf", syscall(SYS_bpf, 0, attributes, sizeof attributes));
    tell("init_module", syscall(SYS_init_module, 0, 0, ""));
    tell("finit_module", syscall(SYS_finit_module, -1, "", 0));
    tell("kexec_load", syscall(SYS_kexec_load, 0, -1, 0, 0));
    tell("mount binfmt_misc", mount("binfmt_misc", "/tmp", "binfmt_misc", 0, 0));
    tell("mount cgroup", mount("cgroup", "/tmp", "cgroup", 0, "memory"));
    tell("mount cgroup2", mount("cgroup2", "/tmp", "cgroup2", 0, 0));
    tell("mount proc", mount("proc", "/tmp", "proc", 0, 0));
    tell("fsopen", syscall(430, "tmpfs", 0));
    tell("open_tree", syscall(428, AT_FDCWD, "/", 1));
    tell("pivot_root", syscall(SYS_pivot_root, "/", "/"));
    tell("swapoff", syscall(SYS_swapoff, "/dev/null"));
    tell("sethostname", sethostname("", -1));
    tell("acct", syscall(SYS_acct, "/"));
}

static void try_sockets(void) {
    const char *paths[] = {"/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock",
        "/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/systemd/private"};
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct sockaddr_un address = {AF_UNIX};
        strcpy(address.sun_path, paths[i]);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        tell(paths[i], connect(fd, (void *)&address, sizeof address));
    }
}

static void try_keys(long serial) {
    char text[100];
    tell("search the session keyring", syscall(SYS_keyctl, 10, -3, "user", "minirun-test", 0));
    tell("read the key", syscall(SYS_keyctl, 11, serial, text, sizeof text));
    tell("link the key", syscall(SYS_keyctl, 8, serial, -2));
    tell("request the key", syscall(SYS_request_key, "user", "minirun-test", 0, 0));
}

static void try_terminal(void) {
    char paste[] = {3, 0}, *text = "injected\n";
    for (int round = 0; round < 3; round++) {
        for (char *c = text; *c; c++)
            if (ioctl(0, TIOCSTI, c) == 0)
                puts("TIOCSTI");
        if (ioctl(0, 0x541C, paste) == 0)
            puts("TIOCLINUX");
        if (ioctl(0, TIOCSCTTY, round == 1) == 0)
            puts("TIOCSCTTY");  /* taken from its session */
    }
}

int main(int argc, char **argv) {
    if (!strcmp(argv[1], "keys"))
        try_keys(atol(argv[2]));
    else if (!strcmp(argv[1], "terminal"))
        try_terminal();
    else {
        try_files();
        try_calls();
        try_sockets();
    }
}
"""

# In the caller's new session keyring, a key: keyctl(KEYCTL_JOIN_SESSION_KEYRING), add_key(2)
WITH_KEY = """import ctypes, os, sys
call = ctypes.CDLL(None).syscall
call({keyctl}, 1, None)
serial = call({add_key}, b"user", b"minirun-test", b"secret", 6, -3)
assert serial > 0
os.execvp(sys.argv[1], [word.replace("SERIAL", str(serial)) for word in sys.argv[1:]])
"""
NUMBERS = {"x86_64": (250, 248), "aarch64": (219, 217)}  # keyctl(2), add_key(2)


@pytest.fixture
def probe(bundle: Bundle) -> str:
    """The program, in the container's /bin."""
    source = bundle.directory / "probe.c"
    source.write_text(PROBE)
    program = bundle.rootfs / "bin/probe"
    subprocess.run(["gcc", "-static", "-w", "-o", program, source], check=True)
    return "probe"


def test_no_way_out_is_open(bundle: Bundle, probe: str):
    """RT46: what CDK, deepce, botb and amicontained try."""
    done = bundle.run(probe, "escapes")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_environment_of_no_process_is_the_callers(bundle: Bundle, probe: str):
    """RT22, RT46: the host's variables are in no /proc/PID/environ, nor do they do anything."""
    host = {"HOST_SECRET": "xyzzy", "LD_PRELOAD": "/xyzzy.so", "PYTHONPATH": "/xyzzy",
            "GCONV_PATH": "/xyzzy"}  # fmt: skip
    script = "cat /proc/*/environ; env; echo; [ -z \"$HOST_SECRET\" ] && echo clean"
    shown = bundle.run("sh", "-c", script, env=os.environ | host).stdout
    assert "xyzzy" not in shown and shown.endswith("clean\n")


def test_variables_of_the_image_do_nothing_to_the_runtime(bundle: Bundle):
    """RT22: they are the command's; ten thousand of them, too."""
    (bundle.rootfs / "xyzzy").write_text("no library")
    names = ["LD_PRELOAD=/xyzzy", "LD_LIBRARY_PATH=/", "PYTHONPATH=/", "PYTHONHOME=/xyzzy",
             "PYTHONINSPECT=1", "BASH_ENV=/xyzzy", "*=star", "A=b=c"]  # fmt: skip
    bundle.process["env"] = ["PATH=/bin", *names, *(f"V{number}=x" for number in range(10_000))]
    shown = bundle.run("env").stdout.splitlines()  # a shell would drop "*"
    assert set(names) <= set(shown)
    assert sum(line.startswith("V") for line in shown) == 10_000


def test_annotations_give_nothing(ours):
    """RT36: what other runtimes take for orders is a note to us."""
    script = ("sed 's/^[0-9]* [0-9]* [^ ]* //' /proc/self/mountinfo; cat /proc/self/status |"
              "grep -E '^(Cap|Groups|Seccomp|NoNew|Umask)'; cat /proc/self/limits; env")
    ours.command = ["setpriv", "--groups", "4242", *ours.command]
    ours.rootfs.joinpath("bin/sed").symlink_to("busybox")
    plain = ours.sh(script)
    ours.config["annotations"] = {
        "run.oci.keep_original_groups": "1", "run.oci.mount_context_type": "context",
        "run.oci.hooks.stdout": str(ours.directory / "out"), "run.oci.pidfd_receiver": "/nowhere",
        "run.oci.handler": "wasm", "io.containerd.privileged": "1", "minirun.privileged": "1",
        "org.systemd.property.DevicePolicy": "'auto'", "io.podman.annotations.privileged": "TRUE",
    }  # fmt: skip
    assert ours.sh(script) == plain
    assert not (ours.directory / "out").exists()


def test_the_callers_keys_are_out_of_reach(bundle: Bundle, probe: str):
    """RT47: also for root, who may read what a keyring of its session holds."""
    if os.uname().machine not in NUMBERS:
        pytest.skip("no numbers of these system calls")
    keyctl, add_key = NUMBERS[os.uname().machine]
    script = WITH_KEY.format(keyctl=keyctl, add_key=add_key)
    bundle.process["args"] = [probe, "keys", "0"]
    bundle.write()
    config = bundle.directory / "config.json"
    config.write_text(config.read_text().replace('"keys", "0"', '"keys", "KEY"'))
    with_serial = ["sh", "-c", f"sed -i s/KEY/$1/ {config}; shift; exec \"$@\"", "sh", "SERIAL"]
    bundle.command = [sys.executable, "-c", script, *with_serial, *bundle.command]
    done = bundle.oci("run", bundle.id)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "KEY" not in config.read_text().replace("SIGKEY", "")


def test_nothing_is_typed_into_the_callers_terminal(bundle: Bundle, probe: str, tmp_path: Path):
    """RT45: it is standard input, and another session's. CVE-2017-5226, CVE-2023-28100."""
    bundle.process["args"] = [probe, "terminal"]
    bundle.write()
    master, slave = os.openpty()
    script = '"$@"; echo "exit $?"; read -t 1 line && echo "read: $line"'
    session = ["/bin/busybox", "sh", "-c", script, "sh", *bundle.arguments("run", bundle.id)]
    with open(tmp_path / "out", "w") as out:
        subprocess.run(
            session, cwd=bundle.directory, stdin=slave, stdout=out, stderr=out, check=False,
            start_new_session=True, timeout=30,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
    os.close(master)
    os.close(slave)
    assert (tmp_path / "out").read_text() == "exit 0\n"


def test_no_socket_of_ours_is_in_a_shared_network(bundle: Bundle):
    """RT34, CVE-2020-15257: abstract sockets belong to network namespaces, and have no modes.

    The runtime is called in a new network namespace, which the container shares: so all that the
    container sees there is the runtime's.
    """
    bundle.linux["namespaces"] = [n for n in bundle.linux["namespaces"] if n["type"] != "network"]
    bundle.command = ["unshare", "--net", *bundle.command]
    shown = bundle.sh("cat /proc/net/unix")
    assert shown.startswith("Num ")
    assert [line for line in shown.splitlines() if "@" in line] == []
