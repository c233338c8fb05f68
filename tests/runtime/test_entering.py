"""The ways into the root, and that none leads back out: RT41, RT42, RT43."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.bundles import REPOSITORY, Bundle, canary, mount

# What is tried to get out of a chroot, in C: each way prints what "/" is then.
ESCAPES = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void look(const char *way) {
    if (access("the-host", F_OK) == 0 || access("/the-host", F_OK) == 0)
        printf("%s leads out\n", way);
}
static void climb(void) { for (int i = 0; i < 64; i++) chdir(".."); }

int main(void) {
    int top = open("/", O_RDONLY);
    mkdir("/tmp/x", 0755);
    chdir("/"); chroot("/tmp/x"); climb(); look("chroot, .."); chroot("."); look("chroot .");
    fchdir(top); climb(); look("fchdir of the top"); chroot("."); look("chroot of the top");
    chdir("/proc/1/root"); climb(); look("/proc/1/root");
    chdir("/proc/self/root"); climb(); look("/proc/self/root");
    fchdir(top); chroot(".");
    umount2("/proc", MNT_DETACH); umount2("/", MNT_DETACH); climb(); look("umount of /");
    fchdir(top); syscall(SYS_pivot_root, ".", "."); climb(); look("pivot_root");
    umount2(".", MNT_DETACH); look("umount of the old root");
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
        umount2("/", MNT_DETACH); climb(); look("a user namespace");
    }
    int ns = open("/proc/self/ns/mnt", O_RDONLY);
    if (ns >= 0 && setns(ns, CLONE_NEWNS) == 0) { climb(); look("setns"); }
    puts("tried");
    return 0;
}
"""
ALL_WAYS = ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"]


@pytest.fixture
def escape(bundle: Bundle) -> Bundle:
    """/bin/escape in a container with the powers to try all of it; /the-host lies outside, on what
    the runtime has as "/"."""
    source = bundle.directory / "escape.c"
    source.write_text(ESCAPES)
    program = bundle.rootfs / "bin/escape"
    subprocess.run(["gcc", "-static", "-w", "-o", program, source], check=True)
    for kind in bundle.process["capabilities"]:
        bundle.process["capabilities"][kind] = list(ALL_WAYS)
    host = bundle.directory / "host"
    script = (  # a "/" of its own, lest the machine's gets a file
        "set -e; cd host; o=lowerdir=/,upperdir=up,workdir=work; mount -t overlay -o $o overlay at;"
        "cd at;"
        "touch the-host; for d in proc sys dev tmp; do mount --rbind /$d $d; done;"
        'mount --make-rprivate /; pivot_root . mnt; cd "$0"; "$@"'
    )
    for name in ("up", "work", "at"):
        (host / name).mkdir(parents=True)
    if not bundle.directory.is_relative_to("/tmp"):
        pytest.skip("the bundle is not in /tmp")
    words = ["unshare", "--mount", "sh", "-c", script, str(bundle.directory)]
    bundle.command = words + bundle.command
    return bundle


def test_no_way_out(escape):
    """RT41: with all powers that could help."""
    assert escape.run("escape").stdout == "tried\n"


def test_no_way_out_of_a_root_that_was_moved(escape):
    """RT41 with --no-pivot, which is refused to who could unmount the root."""
    for kind in escape.process["capabilities"]:
        escape.process["capabilities"][kind] = ["CAP_SYS_CHROOT", "CAP_DAC_READ_SEARCH"]
    done = escape.run("escape", options=("--no-pivot",))
    assert (done.returncode, done.stdout) == (0, "tried\n"), done.stderr


def test_no_path_out_without_a_mount_namespace(escape):
    """RT41: who may call setns(2) is in the host's namespace, and can have its root; but no path
    leads there."""
    if escape.runtime != "minirun-oci":
        pytest.skip("runc refuses it, crun changes the host's mounts")
    remove_mount_namespace(escape)
    for kind in escape.process["capabilities"]:
        escape.process["capabilities"][kind] = ["CAP_SYS_CHROOT", "CAP_DAC_READ_SEARCH"]
    done = escape.run("escape")
    assert (done.returncode, done.stdout) == (0, "tried\n"), done.stderr


def remove_mount_namespace(bundle: Bundle) -> None:
    bundle.linux["namespaces"] = [
        entry for entry in bundle.linux["namespaces"] if entry["type"] != "mount"
    ]


# --no-pivot


def test_no_pivot(ours):
    """Nothing of the host's is mounted any more, and all of the container's is."""
    done = ours.run("cat", "/proc/self/mountinfo", options=("--no-pivot",))
    assert done.returncode == 0 and "warning: --no-pivot" in done.stderr
    points = [line.split()[4] for line in done.stdout.splitlines()]
    assert points[0] == "/" and "/dev/shm" in points and len(points) < 40
    assert not [point for point in points if point.startswith(str(ours.directory))]


def test_no_whole_proc_is_left_out_of_sight(ours):
    """The kernel lets a user namespace mount a /proc without masks only if it has one already."""
    script = "mount -t proc proc /tmp 2>/dev/null && cat /tmp/keys && echo mounted || echo refused"
    for kind in ours.process["capabilities"]:
        ours.process["capabilities"][kind] = ["CAP_SETFCAP"]  # to map root: user_namespaces(7)
    ours.process["args"] = ["unshare", "-U", "-r", "-m", "-p", "-f", "sh", "-c", script]
    for options in ((), ("--no-pivot",)):
        assert ours.run(options=options).stdout == "refused\n"
        ours.id += "x"


def test_exec_into_a_root_that_was_moved(ours):
    ours.process["args"] = ["sleep", "60"]
    ours.run(options=("--no-pivot", "-d"))
    shown = ours.oci("exec", ours.id, "sh", "-c", "ls -d /bin/busybox /work /home 2>&1").stdout
    assert shown.count("No such file") == 2


@pytest.mark.parametrize("kind", ["bounding", "permitted", "ambient"])
def test_no_pivot_is_refused_to_who_could_undo_it(ours, kind):
    ours.process["capabilities"][kind] = ["CAP_SYS_ADMIN"]
    assert "CAP_SYS_ADMIN" in ours.refused(options=("--no-pivot",))


def test_what_to_do_where_pivot_root_cannot(ours):
    """In a chroot it fails as on an initramfs; there, to move is no protection, and refused too."""
    script = """if True:
        import os, sys
        from minirun import errors, linux
        from minirun.runtime import entering
        from minirun.runtime.rootfs import Root
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        root = Root(sys.argv[1] + "/rootfs", private=True)
        linux.mount("proc", sys.argv[1] + "/jail/proc", "proc")
        b"x".decode("unicode_escape")  # no module can be imported in there
        os.chroot(sys.argv[1] + "/jail")
        for way in (entering.pivot, entering.move):
            try:
                way(root)
            except errors.StepError as error:
                print(errors.render(error))
    """
    (ours.directory / "jail/proc").mkdir(parents=True)
    words = [sys.executable, "-c", script, ours.directory]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "pivot_root: Invalid argument" in lines[0] and "--no-pivot" in lines[1]
    assert "chroot(2)" in lines[2]


# without a mount namespace


def test_without_a_mount_namespace_nothing_changes_for_the_host(ours):
    """The container is in the runtime's mount namespace, which shows nothing of its mounts. Of runc
    and crun all mounts stay there."""
    remove_mount_namespace(ours)
    before = Path("/proc/self/mountinfo").read_text()
    shown = ours.sh(
        "readlink /proc/self/ns/mnt; ls /; cat /proc/keys | wc -c; ls /dev | wc -l; pwd;"
        "echo x 2>/dev/null > /proc/sys/kernel/hostname || echo no"
    ).split()
    assert shown[0] == os.readlink("/proc/self/ns/mnt")
    assert shown[1:7] == ["bin", "dev", "etc", "proc", "sys", "tmp"]
    assert shown[7] == "0" and int(shown[8]) > 9 and shown[9:] == ["/", "no"]
    assert Path("/proc/self/mountinfo").read_text() == before


def test_exec_without_a_mount_namespace(ours):
    """setns(2) alone would lead to the root of the host."""
    remove_mount_namespace(ours)
    ours.process["args"] = ["sleep", "60"]
    ours.run(options=("-d",))
    shown = ours.oci("exec", ours.id, "sh", "-c", "ls /; ls -d /work /home 2>&1").stdout
    assert shown.split()[:6] == ["bin", "dev", "etc", "proc", "sys", "tmp"]
    assert shown.count("No such file") == 2


def test_a_user_namespace_needs_a_mount_namespace(ours):
    remove_mount_namespace(ours)
    ours.linux["namespaces"].append({"type": "user"})
    ours.linux["uidMappings"] = ours.linux["gidMappings"] = [
        {"containerID": 0, "hostID": 0, "size": 1}
    ]
    assert "linux.namespaces" in ours.refused()


# linux.rootfsPropagation and root.readonly


@pytest.mark.parametrize("propagation, optional", [
    ("private", "-"), ("rprivate", "-"), ("slave", "-"), ("shared", "shared:"),
    ("rshared", "shared:"), ("unbindable", "unbindable"), ("runbindable", "unbindable"),
])  # fmt: skip
def test_propagation_of_the_root(bundle, propagation, optional):
    """RT43; with an r also of what is mounted in it."""
    if bundle.runtime == "runc" and optional not in "-":
        pytest.skip("runc 1.1 fails, or leaves it private")
    if bundle.runtime == "crun" and propagation == "runbindable":
        pytest.skip("crun 1.8 cannot mask a path then")
    bundle.linux["rootfsPropagation"] = propagation
    shown = {
        line.split()[4]: line.split()[6]
        for line in bundle.sh("cat /proc/self/mountinfo").splitlines()
    }
    assert shown["/"].startswith(optional)
    if propagation in ("shared", "unbindable"):
        assert shown["/dev/shm"] == "-"
    if propagation in ("rshared", "runbindable"):
        assert shown["/dev/shm"].startswith(optional)


@pytest.mark.parametrize("propagation, arrives", [("slave", True), ("private", False)])
def test_what_the_host_mounts_in_the_root(ours, propagation, arrives):
    """RT43: a mount that the host makes in the root file system while the container runs."""
    ours.linux["rootfsPropagation"] = propagation
    (ours.rootfs / "late").mkdir()
    ours.process["args"] = ["sleep", "60"]
    ours.write()
    script = (
        'mount --bind "$0" "$0"; mount --make-shared "$0"; cd "$0"; shift;'
        '"$@" < /dev/null > log 2>&1;'
        'mount -t tmpfs late "$0/rootfs/late"; grep -c " /late " "/proc/$(cat pid)/mountinfo"'
    )
    words = ["unshare", "--mount", "sh", "-c", script, str(ours.directory), "_"]
    words += ours.arguments("run", "-d", "--pid-file", "pid", ours.id)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == ("1" if arrives else "0"), done.stderr


def test_mounts_of_a_container_reach_the_host_only_on_request(bundle):
    """RT43: rshared, and then only below a volume that is shared."""
    if bundle.runtime != "minirun-oci":
        pytest.skip("bundles.py runs them in a mount namespace that is private")
    for kind in bundle.process["capabilities"]:
        bundle.process["capabilities"][kind] = ["CAP_SYS_ADMIN"]
    tree = canary(bundle.directory)
    script = (
        'mount --bind "$0" "$0"; mount --make-shared "$0"; "$@" >/dev/null;'
        'grep -c "$0/directory" /proc/self/mountinfo'
    )
    for propagation, count in (("rshared", "1"), ("rslave", "0"), ("rprivate", "0")):
        bundle.linux["rootfsPropagation"] = propagation
        entry = mount("/v", "bind", "rbind", propagation, source=str(tree))
        bundle.config["mounts"][7:] = [entry]
        bundle.process["args"] = ["mount", "-t", "tmpfs", "inner", "/v/directory"]
        bundle.write()
        words = ["unshare", "--mount", "sh", "-c", script, str(tree)]
        done = subprocess.run(
            [*words, *bundle.arguments("run", bundle.id)], capture_output=True, text=True,
            check=False, cwd=bundle.directory,
        )  # fmt: skip
        assert done.stdout.strip() == count, (propagation, done.stderr)
        bundle.id += "x"


def test_a_readonly_root_stays_so(bundle):
    """RT42: also for who may mount, in all ways that change a mount."""
    bundle.config["root"]["readonly"] = True
    (bundle.rootfs / "srv").mkdir()
    shown = bundle.sh(
        "touch /x 2>&1 | grep -c Read-only; touch /proc/self/cwd/x 2>&1 | grep -c Read-only;"
        "mount -o remount,rw / 2>&1 | grep -c denied; mount -o remount,bind,rw / 2>&1 |"
        "grep -c denied; touch /proc/self/root/x 2>&1 | grep -c Read-only; touch /dev/shm/x"
    )
    assert shown.split() == ["1"] * 5
    assert not (bundle.rootfs / "x").exists()


def test_the_working_directory_is_made_in_a_readonly_root(bundle):
    bundle.config["root"]["readonly"] = True
    bundle.process["cwd"] = "/new/directory"
    assert bundle.sh("pwd") == "/new/directory\n"
