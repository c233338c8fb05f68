"""Mounts, masks, devices: what lies in the root, and that nothing outside is ever touched."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.runtime.bundles import Bundle, bind, canary, mount, seen

SHAPES = {  # where a mount's destination "/way/mnt" may lead through a link at /way
    "absolute": "{canary}/directory",
    "relative": "../../../../../../../../..{canary}/directory",
    "dangling": "/nowhere/at/all",
    "dangling relative": "../nowhere",
    "chain": "/second",
    "self": "way",
    "dot": ".",
    "proc": "/proc/self/root/tmp",
}


@pytest.fixture
def outside(tmp_path: Path):
    """A tree beside the root; afterwards it is as it was."""
    tree = canary(tmp_path)
    before = seen(tree)
    yield tree
    assert seen(tree) == before


@pytest.mark.parametrize("kind", ["directory", "file", "tmpfs"])
@pytest.mark.parametrize("shape", SHAPES)
def test_destinations_through_links_stay_inside(bundle, outside, shape, kind):
    """RT09"""
    (bundle.rootfs / "way").symlink_to(SHAPES[shape].format(canary=outside))
    (bundle.rootfs / "second").symlink_to(f"{outside}/directory")
    source = bundle.directory / "source"
    if kind == "file":
        source.write_text("mounted")
    else:
        source.mkdir()
        (source / "file").write_text("mounted")
    extra = mount("/way/mnt", "tmpfs") if kind == "tmpfs" else bind(source, "/way/mnt")
    bundle.config["mounts"].append(extra)
    done = bundle.run("sh", "-c", "cat /way/mnt /way/mnt/file 2> /dev/null; true")
    if done.returncode == 0 and kind != "tmpfs":
        assert done.stdout == "mounted"


@pytest.mark.parametrize("shape", ["absolute", "relative", "dangling"])
def test_destinations_that_are_links_stay_inside(bundle, outside, shape):
    """RT09: the last part of the path is the link, as /etc/resolv.conf of many an image is."""
    (bundle.rootfs / "etc/resolv.conf").symlink_to(SHAPES[shape].format(canary=outside))
    source = bundle.directory / "resolv.conf"
    source.write_text("nameserver 192.0.2.1\n")
    bundle.config["mounts"].append(bind(source, "/etc/resolv.conf"))
    done = bundle.run("cat", "/etc/resolv.conf")
    if bundle.runtime == "minirun-oci":
        assert done.stdout == source.read_text()


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("what", ["link", "file", "link outside"])
def test_proc_and_sys_must_be_ordinary_directories(bundle, outside, name, what):
    """RT10, RT11, CVE-2019-19921"""
    place = bundle.rootfs / name
    place.rmdir()
    if what == "file":
        place.touch()
    else:
        place.symlink_to("/tmp" if what == "link" else str(outside))
    bundle.refused("true")


@pytest.mark.parametrize("destination", [
    "/proc", "/proc/self", "/proc/self/attr", "/proc/self/fd", "/proc/sys", "/proc/sys/kernel",
    "/proc/1/exe", "/proc/self/exe", "/proc/../proc/sys", "/proc/self/root/proc/sys", "/link/sys",
])  # fmt: skip
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_nothing_hides_a_part_of_proc(ours, destination, kind):
    """RT12, CVE-2019-16884"""
    (ours.rootfs / "link").symlink_to("/proc")
    source = ours.directory / "source"
    source.mkdir()
    extra = mount(destination, "tmpfs") if kind == "tmpfs" else bind(source, destination)
    ours.config["mounts"].append(extra)
    ours.refused("true")


def test_only_a_whole_proc_is_mounted_over_proc(ours):
    """RT12: a part of /proc has files of the same names, and is none."""
    ours.config["mounts"].append(bind("/proc/sys", "/proc"))
    assert "would hide a part of /proc" in ours.refused()
    ours.config["mounts"][-1] = bind("/proc", "/proc")
    ours.sh("test -d /proc/1")


def test_what_lxcfs_does_is_allowed(bundle):
    source = bundle.directory / "uptime"
    source.write_text("12.00 34.00\n")
    bundle.config["mounts"].append(bind(source, "/proc/uptime"))
    assert bundle.run("cat", "/proc/uptime").stdout == source.read_text()


def without(bundle: Bundle, *destinations: str) -> None:
    bundle.config["mounts"] = [
        entry for entry in bundle.config["mounts"] if entry["destination"] not in destinations
    ]


DEV_MOUNTS = ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")


def test_a_dev_that_is_a_link_is_refused(ours, outside):
    """RT14"""
    without(ours, *DEV_MOUNTS)
    (ours.rootfs / "dev").rmdir()
    (ours.rootfs / "dev").symlink_to(outside)
    ours.refused("true")


@pytest.mark.parametrize("target", ["/proc/sys/kernel/hostname", "/tmp/file", "{outside}/file"])
def test_a_dev_null_of_the_image_is_not_trusted(ours, outside, target):
    """RT15, RT16, CVE-2025-31133"""
    without(ours, *DEV_MOUNTS)
    (ours.rootfs / "dev/null").symlink_to(target.format(outside=outside))
    (ours.rootfs / "tmp/file").touch()
    ours.refused("true")


def test_devices_of_the_image_that_are_right_are_kept(bundle):
    without(bundle, *DEV_MOUNTS)
    os.mknod(bundle.rootfs / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    bundle.sh("echo x > /dev/null")


def test_default_devices(bundle):
    """HD04"""
    shown = bundle.sh("ls /dev; stat -c '%n %t:%T %a %F' /dev/null /dev/tty; readlink /dev/ptmx")
    names = shown.split()
    for name in ("fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
                 "stdout", "tty", "urandom", "zero"):  # fmt: skip
        assert name in names
    assert "/dev/null 1:3 666 character special file" in shown
    assert names[-1].endswith("pts/ptmx")


def test_other_devices_cannot_be_opened(bundle):
    """RT32: root may make a name for any number, but use only those it was given."""
    capabilities = bundle.process["capabilities"]
    for kind in capabilities:
        capabilities[kind] = [*capabilities[kind], "CAP_MKNOD"]
    shown = bundle.sh(
        "for n in 'c 1 1' 'c 1 2' 'b 254 0' 'c 10 229' 'b 7 0'; do mknod /tmp/x $n; "
        "dd if=/tmp/x of=/dev/null count=0 2>&1 | grep -c 'not permitted'; rm /tmp/x; done"
    )
    assert shown.split() == ["1"] * 5


def test_devices_of_the_config(bundle):
    bundle.linux["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7,
         "gid": 8},
        {"path": "/dev/deep/er/pipe", "type": "p", "fileMode": 0o600},
    ]  # fmt: skip
    bundle.linux["resources"]["devices"].append(
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rwm"}
    )
    shown = bundle.sh("stat -c '%n %t:%T %a %u %g %F' /dev/mine /dev/deep/er/pipe")
    assert shown.splitlines() == [
        "/dev/mine 1:5 640 7 8 character special file", "/dev/deep/er/pipe 0:0 600 0 0 fifo"
    ]  # fmt: skip


def test_masked_and_readonly_paths(bundle):
    """RT39, HD03"""
    shown = bundle.sh(
        "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l;"
        "for p in /proc/sys/kernel/domainname /proc/sys/kernel/hostname; do"
        "  ( echo x > $p ) 2>&1 | grep -c 'Read-only'; done; umount /proc/keys 2>&1 | wc -l"
    )
    assert shown.split() == ["0", "0", "1", "1", "1"]


# What a container may do to a path: $p is the path, each must fail with an error of its own.
ATTACKS = {
    "write": "echo x > $p", "append": "echo x >> $p", "make": "touch $p/x", "remove": "rm -rf $p",
    "umount": "umount $p", "umount -l": "umount -l $p", "move": "mv $p /tmp/moved",
    "remount": "mount -o remount,bind,rw $p", "mode": "chmod 777 $p", "over": "mount -t tmpfs x $p",
}  # fmt: skip


@pytest.mark.parametrize("readonly", [True, False])
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_on_protected_paths(bundle, attack, readonly):
    """RT39: masked paths stay empty, read-only ones stay so, of /proc as of the image's."""
    bundle.config["root"]["readonly"] = readonly
    for name, content in (("secret/key", "key"), ("hidden", "hidden"), ("fixed/file", "fixed")):
        (bundle.rootfs / "srv" / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle.rootfs / "srv" / name).write_text(content)
    masked = ["/proc/keys", "/proc/acpi", "/sys/firmware", "/srv/secret", "/srv/hidden"]
    fixed = ["/proc/sys", "/proc/sysrq-trigger", "/srv/fixed"]
    bundle.linux["maskedPaths"], bundle.linux["readonlyPaths"] = masked, fixed
    shown = bundle.sh(
        f"for p in {' '.join(masked)} {' '.join(fixed)} /proc/sys/kernel/hostname /srv/fixed/file;"
        f"do ( {ATTACKS[attack]} ) > /dev/null 2>&1 || true; done;"
        "cat /proc/keys /srv/hidden; ls /proc/acpi /sys/firmware /srv/secret | grep -v :;"
        "cat /srv/fixed/file; echo; for p in /proc/sys/kernel/hostname /srv/fixed/new; do"
        " ( echo x > $p ) 2>&1 | grep -c 'Read-only'; done"
    )
    assert shown.split() == ["fixed", "1", "1"]
    assert (bundle.rootfs / "srv/fixed/file").read_text() == "fixed"


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "socket", "device", "link"])
def test_paths_of_all_kinds_are_masked(bundle, kind):
    """RT40: what is no directory becomes the null device; a link hides what it leads to."""
    place = bundle.rootfs / "srv/it"
    place.parent.mkdir()
    target = place.with_name("target") if kind == "link" else place
    match kind:
        case "directory":
            target.mkdir()
            (target / "file").write_text("secret")
        case "file" | "link":
            target.write_text("secret")
        case _:
            types = {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK, "device": stat.S_IFCHR}
            os.mknod(target, types[kind] | 0o600, os.makedev(1, 5) if kind == "device" else 0)
    if kind == "link":
        place.symlink_to("target")
    bundle.linux["maskedPaths"] = ["/srv/it"]
    shown = bundle.sh(f"if [ -d /srv/it ]; then ls /srv/it; else cat /srv/{target.name};"
                      f"stat -c %t:%T /srv/{target.name}; fi")  # fmt: skip
    assert shown == ("" if kind == "directory" else "1:3\n")


def test_masked_links_are_resolved_inside(bundle, outside):
    """RT40"""
    (bundle.rootfs / "link").symlink_to(outside / "file")
    inner = bundle.rootfs / str(outside).lstrip("/")
    inner.mkdir(parents=True)
    (inner / "file").write_text("inner")
    bundle.linux["maskedPaths"] = ["/link", "/missing", "/proc/keys", "/proc/keys"]
    shown = bundle.sh(f"cat {outside}/file; grep -c ' /proc/keys ' /proc/self/mountinfo")
    assert "inner" not in shown


def test_duplicates_are_masked_once(ours):
    """RT40"""
    ours.linux["maskedPaths"] = ["/proc/keys", "/proc/keys"]
    assert ours.sh("grep -c ' /proc/keys ' /proc/self/mountinfo") == "1\n"


def test_readonly_root(bundle):
    """RT42"""
    bundle.config["root"]["readonly"] = True
    shown = bundle.sh("touch /x 2>&1 || touch /dev/shm/x; mount -o remount,rw / 2>&1 || true")
    assert "Read-only file system" in shown
    assert not (bundle.rootfs / "x").exists()


def test_no_way_back_to_the_host(bundle, outside):
    """RT41: the old root is not only covered, it is gone."""
    for kind in bundle.process["capabilities"]:
        bundle.process["capabilities"][kind] = ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"]
    shown = bundle.sh(
        "mkdir /tmp/x; cd /tmp; for i in 1 2 3 4 5 6 7 8 9 10; do cd ..; done; ls;"
        "chroot /tmp/x /nothing 2>/dev/null || true; ls /proc/1/root/; wc -l < /proc/self/mountinfo"
    )
    assert "canary" not in shown and "work" not in shown
    assert int(shown.split()[-1]) < 60


def test_the_hosts_mounts_stay_as_they_are(bundle):
    """RT43: also below a mount that is shared, as systemd makes "/" shared."""
    script = (
        'mount --make-rshared /; before=$(sort /proc/self/mountinfo); "$@" || exit 1;'
        ' [ "$before" = "$(sort /proc/self/mountinfo)" ]'
    )
    bundle.write()
    words = ["unshare", "-m", "sh", "-c", script, "sh", *bundle.arguments("run", bundle.id)]
    assert subprocess.run(words, cwd=bundle.directory, check=False).returncode == 0


@pytest.mark.parametrize("propagation, arrives", [("rslave", True), ("rprivate", False)])
def test_propagation_into_a_volume(ours, tmp_path, propagation, arrives):
    """RT43: a mount that the host makes later shows up in a slave volume, and in no other."""
    source = tmp_path / "shared"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source], check=True)
    try:
        subprocess.run(["mount", "--make-shared", source], check=True)
        (source / "sub").mkdir()
        ours.linux["rootfsPropagation"] = propagation
        ours.config["mounts"].append(bind(source, "/data", propagation))
        ours.create("ls", "/data/sub")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "sub"], check=True)
        mountinfo = Path(f"/proc/{ours.pid()}/mountinfo").read_text()
        assert (" /data/sub " in mountinfo) is arrives
    finally:
        subprocess.run(["umount", "-R", "-l", source], check=True)


def test_mount_attributes(bundle):
    source = bundle.directory / "source"
    source.mkdir()
    bundle.config["mounts"] += [
        bind(source, "/a", "nosuid", "nodev", "noexec", "ro"),
        bind(source, "/b", "noatime"),
        mount("/c", "tmpfs", "size=1m", "mode=700", "nosuid"),
    ]
    shown = {
        line.split()[4]: line.split() for line in bundle.sh("cat /proc/self/mountinfo").splitlines()
    }
    assert shown["/a"][5].startswith("ro,nosuid,nodev,noexec")
    assert "noatime" in shown["/b"][5]
    assert "nosuid" in shown["/c"][5] and "size=1024k" in shown["/c"][-1]


def test_recursive_attributes(ours, tmp_path):
    source = tmp_path / "volume"
    (source / "sub").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "sub"], check=True)
    try:
        ours.config["mounts"] += [bind(source, "/all", "rro"), bind(source, "/top", "ro")]
        shown = ours.sh("touch /all/sub/x 2>/dev/null || echo refused; touch /top/sub/x && echo ok")
    finally:
        subprocess.run(["umount", source / "sub"], check=True)
    assert shown.split() == ["refused", "ok"]


@pytest.mark.parametrize("options, words", [
    (["bind", "r0"], "r0"), (["idmap", "bind"], "idmap"), (["ridmap"], "ridmap"),
    (["bind", "tmpcopyup"], "tmpcopyup"), (["copy-symlink"], "copy-symlink"),
    (["size=" + "9" * 256], "size="), (["remount", "bind", "mode"], "mode"),
])  # fmt: skip
def test_options_that_cannot_be_honoured_are_refused(ours, options, words):
    ours.config["mounts"].append(mount("/x", "tmpfs", *options, source=str(ours.directory)))
    assert words in ours.refused("true")


def test_the_kernels_own_words_are_told(ours):
    ours.config["mounts"].append(mount("/x", "tmpfs", "nonsense=1"))
    assert "Unknown parameter 'nonsense'" in ours.refused("true")


def test_missing_sources_are_named(ours):
    ours.config["mounts"].append(bind("/no/such/thing", "/x"))
    assert "/no/such/thing" in ours.refused("true")


def test_cgroups_are_seen_but_not_changed(bundle):
    """RT31"""
    bundle.linux["resources"]["pids"] = {"limit": 77}
    shown = bundle.sh(
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null || true;"
        "( mkdir /sys/fs/cgroup/x /sys/fs/cgroup/pids/x ) 2>&1 | grep -c 'Read-only'"
    )
    assert shown.split()[0] == "77"
    assert int(shown.split()[-1]) >= 1


def test_a_container_whose_root_is_missing(bundle):
    shutil.rmtree(bundle.rootfs)
    bundle.refused("true")


def test_terminal_through_a_hostile_console_is_refused(ours, outside):
    """RT17"""
    without(ours, *DEV_MOUNTS)
    ours.config["mounts"].append(mount("/dev/pts", "devpts", "newinstance", "ptmxmode=0666"))
    (ours.rootfs / "dev/pts").mkdir()
    (ours.rootfs / "dev/console").symlink_to(outside / "new")
    ours.process["terminal"] = True
    ours.refused("true")
    assert not (outside / "new").exists()
