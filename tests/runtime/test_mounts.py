"""Mount options: each word of the runtime spec's table, and those that crun adds."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minirun.errors import SpecError
from minirun.runtime import mounts
from tests.runtime.bundles import Bundle, bind, mount, only_root_of


@pytest.fixture
def source(bundle: Bundle) -> Path:
    """A volume: a file and a link to it."""
    volume = bundle.directory / "source"
    volume.mkdir()
    (volume / "file").write_text("text\n")
    (volume / "link").symlink_to("file")
    return volume


@pytest.fixture
def volume(source: Path) -> Iterator[Path]:
    """The same, with a tmpfs mounted in it."""
    (source / "sub").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "sub"], check=True)
    yield source
    subprocess.run(["umount", "-R", "-l", source / "sub"], check=True)


def mounted(bundle: Bundle, *extra: dict, script: str = "") -> dict[str, list[str]]:
    """{mount point: the words of its line} as the container sees it, the last one of each."""
    bundle.config["mounts"] += extra
    shown = bundle.sh(f"{{ {script or 'true'}; }} >&2; cat /proc/self/mountinfo")
    return {line.split()[4]: line.split() for line in shown.splitlines()}


def options_of(line: list[str]) -> set[str]:
    return set(line[5].split(","))


# attributes of a mount


@pytest.mark.parametrize("word, shown", [
    ("ro", "ro"), ("nosuid", "nosuid"), ("nodev", "nodev"), ("noexec", "noexec"),
    ("noatime", "noatime"), ("nodiratime", "nodiratime"), ("relatime", "relatime"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_attributes(bundle, source, word, shown, kind):
    extra = bind(source, "/m", word) if kind == "bind" else mount("/m", "tmpfs", word)
    assert shown in options_of(mounted(bundle, extra)["/m"])


@pytest.mark.parametrize("words, absent", [
    (["ro", "rw"], "ro"), (["nosuid", "suid"], "nosuid"), (["nodev", "dev"], "nodev"),
    (["noexec", "exec"], "noexec"), (["nodiratime", "diratime"], "nodiratime"),
    (["strictatime"], "relatime"),
])  # fmt: skip
def test_the_last_word_counts(bundle, source, words, absent):
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8 only adds")
    assert absent not in options_of(mounted(bundle, bind(source, "/m", *words))["/m"])


def test_symlinks_are_not_followed(bundle, source):
    """nosymfollow, of Linux 5.10; crun 1.8 doesn't know the word."""
    if bundle.runtime == "crun":
        pytest.skip("crun takes it for a word of the file system")
    extra = [bind(source, "/m", "nosymfollow"), bind(source, "/n", "nosymfollow", "symfollow")]
    assert "nosymfollow" in options_of(
        mounted(bundle, *extra, script="cat /n/link; ! cat /m/link; cat /m/file")["/m"]
    )


@pytest.mark.parametrize("word, shown", [
    ("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"),
    ("rnoatime", "noatime"), ("rnodiratime", "nodiratime"), ("rnosymfollow", "nosymfollow"),
])  # fmt: skip
def test_recursive_attributes(bundle, volume, word, shown):
    if bundle.runtime == "crun" and word in ("rnosymfollow", "rnoatime", "rnodiratime"):
        pytest.skip("crun 1.8 cannot")
    found = mounted(bundle, bind(volume, "/m", word), bind(volume, "/n", word.removeprefix("r")))
    assert shown in options_of(found["/m/sub"]), "it is for all mounts below"
    assert shown not in options_of(found["/n/sub"]), "without the r for one mount"


@pytest.mark.parametrize("word, absent", [
    ("rrw", "ro"), ("rsuid", "nosuid"), ("rdev", "nodev"), ("rexec", "noexec"),
    ("ratime", "noatime"), ("rdiratime", "nodiratime"), ("rrelatime", "noatime"),
    ("rstrictatime", "relatime"),
])  # fmt: skip
def test_attributes_are_taken_away_below(ours, volume, word, absent):
    atime = "noatime" if absent == "noatime" else "relatime"
    words = f"ro,nosuid,nodev,noexec,nodiratime,{atime}"
    subprocess.run(["mount", "-o", f"remount,bind,{words}", volume / "sub"], check=True)
    assert absent not in options_of(mounted(ours, bind(volume, "/m", word))["/m/sub"])


@pytest.mark.parametrize("word", ["sync", "dirsync", "lazytime", "mand"])
def test_words_for_every_file_system(bundle, word):
    assert word in mounted(bundle, mount("/m", "tmpfs", word))["/m"][-1].split(",")


def test_words_without_effect_are_known(bundle):
    """They are for no file system either, which would refuse them; nor is one for binds."""
    words = ["defaults", "async", "nolazytime", "nomand", "silent", "loud", "noiversion",
             "nostrictatime", "norelatime", "atime"]  # fmt: skip
    unknown = {"runc": ["defaults", "nolazytime", "silent", "loud"],
               "crun": ["nolazytime", "silent", "loud", "noiversion"]}  # fmt: skip
    words = [word for word in words if word not in unknown.get(bundle.runtime, [])]
    bundle.config["mounts"].append(mount("/m", "tmpfs", *words))
    bundle.config["mounts"].append(bind("rootfs/tmp", "/n", *words))
    bundle.sh("touch /m/x /n/x")


@pytest.mark.parametrize("propagation, word", [
    ("private", ""), ("rprivate", ""), ("slave", "master:"), ("rslave", "master:"),
    ("shared", "shared:"), ("rshared", "shared:"), ("unbindable", "unbindable"),
])  # fmt: skip
def test_propagation_of_a_volume(bundle, volume, propagation, word):
    if bundle.runtime != "minirun-oci" and word.endswith(":"):
        pytest.skip("bundles.py runs them in a mount namespace that is private")
    if bundle.runtime == "crun" and word == "unbindable":
        pytest.skip("crun 1.8 leaves it private unless rootfsPropagation is given, too")
    subprocess.run(["mount", "--make-shared", volume / "sub"], check=True)
    line = mounted(bundle, bind(volume / "sub", "/m", propagation))["/m"]
    optional = " ".join(line[6 : line.index("-")])
    assert word in optional if word else optional == ""


def test_volumes_are_private_unless_asked(ours, volume):
    """RT43: whatever the host's are."""
    subprocess.run(["mount", "--make-shared", volume / "sub"], check=True)
    line = mounted(ours, bind(volume / "sub", "/m"))["/m"]
    assert line[6] == "-"


# what is mounted, and where


def test_sources_of_all_kinds(bundle, source):
    os.mkfifo(source / "pipe")
    os.mknod(source / "socket", stat.S_IFSOCK | 0o600)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    bundle.config["mounts"] += [
        bind(source / name, f"/m/{name}") for name in ("file", "pipe", "socket", "null", "link")
    ]
    shown = bundle.sh("stat -c %F /m/file /m/pipe /m/socket /m/null /m/link")
    assert shown.splitlines() == [
        "regular file", "fifo", "socket", "character special file", "regular file"
    ]  # fmt: skip


def test_the_type_bind_needs_no_option(ours, source):
    ours.config["mounts"].append({**bind(source, "/m"), "options": ["ro"]})
    assert ours.sh("cat /m/file; touch /m/x 2>/dev/null || echo no") == "text\nno\n"


@pytest.mark.parametrize("kind", ["none", "bind", "", "ext4", None])
def test_the_type_of_a_bind_mount_is_a_dummy(bundle, source, kind):
    entry = {**bind(source, "/m"), "type": kind}
    if kind is None:
        del entry["type"]
    bundle.config["mounts"].append(entry)
    assert bundle.sh("cat /m/file") == "text\n"


def test_bind_takes_one_mount_and_rbind_all(bundle, volume):
    one = {**bind(volume, "/one"), "options": ["bind"]}
    found = mounted(bundle, one, bind(volume, "/all"))
    assert "/all/sub" in found and "/one/sub" not in found


def test_relative_paths(bundle, source):
    """A source is relative to the bundle, a destination (deprecated) to the root."""
    bundle.config["mounts"].append(bind("source", "deep/m"))
    assert bundle.sh("cat /deep/m/file") == "text\n"


def test_later_entries_lie_on_earlier_ones(bundle, source):
    extra = [mount("/m", "tmpfs"), bind(source, "/m/in"), mount("/m/in", "tmpfs")]
    bundle.config["mounts"] += extra
    assert bundle.sh("ls /m; ls /m/in") == "in\n"


def test_a_missing_source_is_named_with_what_to_do(ours):
    ours.config["mounts"].append(bind("/no/such/thing", "/x"))
    said = ours.refused()
    assert "mounts[7].source: /no/such/thing" in said and "hint: mkdir" in said


def test_nothing_is_mounted_over_the_root(ours, source):
    for destination in ("/", ".", "/bin/..", "//"):
        ours.config["mounts"][7:] = [bind(source, destination)]
        assert "root" in ours.refused()


# tmpfs


def test_a_tmpfs_has_the_mode_of_the_directory(bundle):
    """As with runc; crun makes it 1777."""
    if bundle.runtime == "crun":
        pytest.skip("crun 1.8 makes it 1777")
    (bundle.rootfs / "old").mkdir(mode=0o711)
    bundle.config["mounts"] += [
        mount("/old", "tmpfs"), mount("/new", "tmpfs"), mount("/bin/x", "tmpfs", "mode=700"),
    ]  # fmt: skip
    assert bundle.sh("stat -c %a /old /new /bin/x").split() == ["711", "1777", "700"]


def test_mounts_in_a_readonly_tmpfs(bundle, source):
    """It becomes read-only when all mount points have been made in it."""
    bundle.config["mounts"] += [mount("/run", "tmpfs", "ro"), bind(source, "/run/secrets")]
    assert bundle.sh("cat /run/secrets/file; touch /run/x 2>/dev/null || echo no") == "text\nno\n"


def test_a_readonly_dev(bundle):
    bundle.config["mounts"][1]["options"].append("ro")
    assert bundle.sh("echo x > /dev/null; touch /dev/x 2>/dev/null || echo no") == "no\n"


def test_tmpcopyup(bundle, source):
    tree = bundle.rootfs / "run"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/er/file").write_bytes(bytes(range(256)) * 10_000)
    os.chown(tree / "deep/er/file", 7, 8)
    (tree / "deep/er/file").chmod(0o4751)
    os.utime(tree / "deep/er", (1, 1))
    (tree / "link").symlink_to("/etc/passwd")
    if bundle.runtime != "runc":  # 1.1 fails then
        os.mkfifo(tree / "pipe", 0o640)
    bundle.config["root"]["readonly"] = True
    bundle.config["mounts"].append(mount("/run", "tmpfs", "tmpcopyup"))
    shown = bundle.sh(
        "cd /run; stat -c '%a %u:%g %s' deep/er/file; readlink link; stat -c %Y deep/er;"
        "[ ! -e pipe ] || stat -c '%F %a' pipe; touch new"
    ).splitlines()
    if bundle.runtime == "minirun-oci":
        assert shown == ["4751 7:8 2560000", "/etc/passwd", "1", "fifo 640"]
    assert shown[0].endswith(" 7:8 2560000") and shown[1] == "/etc/passwd"
    assert not (tree / "new").exists()


# remount


def test_remount(ours, source):
    found = mounted(
        ours,
        bind(source, "/m"),
        {**bind(source, "/m"), "options": ["bind", "remount", "ro", "nosuid"]},
        mount("/dev/shm", "tmpfs", "remount", "size=1m", "noatime"),
    )
    assert {"ro", "nosuid"} <= options_of(found["/m"])
    assert "size=1024k" in found["/dev/shm"][-1] and "nosuid" in options_of(found["/dev/shm"])


def test_only_a_mount_can_be_remounted(ours, source):
    ours.config["mounts"].append(mount("/bin", "tmpfs", "remount", "ro"))
    assert "mounts[7]: cannot mount /bin" in ours.refused()


# symbolic links as they are (crun's words)


def test_copy_symlink(ours, source):
    """A link is made anew, in the root; what is no link is mounted; another link is refused."""
    (source / "up").symlink_to("../../../../etc")
    ours.config["mounts"] += [
        bind(source / "link", "/a/b", "copy-symlink"), bind(source / "up", "/up", "copy-symlink"),
        bind(source / "link", "/a/b", "copy-symlink"), bind(source / "file", "/f", "copy-symlink"),
    ]  # fmt: skip
    assert ours.sh("readlink /a/b; readlink /up; cat /f") == "file\n../../../../etc\ntext\n"
    ours.config["mounts"].append(bind(source / "up", "/a/b", "copy-symlink"))
    assert "/a/b" in ours.refused()


def test_nofollow(ours, source):
    (ours.rootfs / "image").symlink_to("/nowhere")
    ours.config["mounts"] += [
        bind(source / "link", "/m", "src-nofollow"),
        bind(source / "file", "/image", "dest-nofollow"),
    ]
    assert ours.sh("readlink /m; cat /image; ls /nowhere 2>&1 | grep -c No") == "file\ntext\n1\n"


# file systems that a namespace owns


def with_user_namespace(bundle: Bundle, *without: str) -> None:
    """Root is user 100000 outside, and owns the root file system."""
    only_root_of(bundle, 100_000)
    bundle.linux["namespaces"] = [
        *(entry for entry in bundle.linux["namespaces"] if entry["type"] not in without),
        {"type": "user"},
    ]


def test_sysfs_without_a_network_namespace(ours):
    """EPERM in a user namespace: the host's, which shows the same, is bound instead."""
    with_user_namespace(ours, "network")
    found = mounted(ours, script="ls /sys/class/net/lo")
    assert {"ro", "nosuid", "nodev", "noexec"} <= options_of(found["/sys"])


def test_proc_without_a_pid_namespace(ours):
    with_user_namespace(ours, "pid")
    assert int(ours.sh("readlink /proc/self")) > 1


def test_all_default_mounts_in_a_user_namespace(bundle):
    """mqueue, devpts, sysfs, proc and tmpfs belong to the container's own namespaces."""
    with_user_namespace(bundle)
    shown = mounted(bundle)
    assert {"/proc", "/dev/mqueue", "/dev/pts", "/sys", "/dev/shm"} <= {*shown}


# ID-mapped mounts

MAPS = {
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 10}],
}


@pytest.mark.parametrize("word", ["idmap", "ridmap", ""])
def test_mappings_of_a_mount(ours, volume, word):
    """An owner 5 on disk is seen as 1005; with ridmap also in what is mounted below."""
    for path in (volume / "file", volume / "sub"):
        os.chown(path, 5, 6)
    ours.config["mounts"].append({**bind(volume, "/m", *filter(None, [word])), **MAPS})
    shown = ours.sh("stat -c %u:%g /m/file /m/sub; id -u 2>&1").split()
    assert shown[:2] == ["1005:2006", "1005:2006" if word == "ridmap" else "5:6"]


def test_the_containers_own_mapping(ours, source):
    """What root writes in the container is root's on disk, although root is 100000 outside."""
    with_user_namespace(ours)
    source.chmod(0o755)
    ours.config["mounts"].append(bind(source, "/m", "idmap"))
    assert ours.sh("stat -c %u /m/file; touch /m/new; stat -c %u /m/new") == "0\n0\n"
    assert (source / "new").stat().st_uid == 0


def test_idmap_needs_a_mapping(ours, source):
    ours.config["mounts"].append(bind(source, "/m", "idmap"))
    assert "mounts[7].options: idmap: there are neither" in ours.refused()
    ours.config["mounts"][-1]["uidMappings"] = MAPS["uidMappings"]
    assert "mounts[7].uidMappings, gidMappings: one needs the other" in ours.refused()


def test_what_is_wrong_with_a_mapped_mount_is_named(ours):
    ours.config["mounts"].append({**bind("/no/such/thing", "/m", "idmap"), **MAPS})
    assert "mounts[7].source: /no/such/thing" in ours.refused()
    ours.config["mounts"][-1]["gidMappings"] = MAPS["gidMappings"] * 2
    assert "mounts[7].gidMappings: containerID 0 a second time" in ours.refused()


def test_a_file_system_that_cannot_be_mapped_is_named(ours):
    ours.config["mounts"].append({**bind("/proc/fs", "/m", "idmap"), **MAPS})
    said = ours.refused()
    assert "mounts[7].options: idmap: /proc/fs: its file system has no ID-mapped mounts" in said


def test_mappings_are_not_said_in_options(ours, source):
    """As crun has them; forgotten like other words of a bind mount, owners would be wrong."""
    ours.config["mounts"].append(bind(source, "/m", "idmap=uids=0-1000-10;gids=0-1000-10"))
    assert "mounts[7].options: idmap=uids" in ours.refused()


def test_volumes_that_root_of_the_container_cannot_reach(bundle, source):
    """The volumes of a kubelet lie below a directory that is closed to others."""
    with_user_namespace(bundle)
    if bundle.runtime == "runc":
        pytest.skip("runc 1.1 cannot")
    inner = source / "inner"
    inner.mkdir()
    (inner / "file").write_text("deep\n")
    source.chmod(0o700)
    bundle.config["mounts"].append(bind(inner, "/m", "ro"))
    assert bundle.sh("cat /m/file; touch /m/x 2>/dev/null || echo no") == "deep\nno\n"


def test_what_is_readonly_outside_stays_so(ours, volume):
    """Also for root of a user namespace with CAP_SYS_ADMIN, by a volume that the parent lent."""
    with_user_namespace(ours)
    for kind in ours.process["capabilities"]:
        ours.process["capabilities"][kind] = ["CAP_SYS_ADMIN"]
    subprocess.run(["mount", "-o", "remount,bind,ro", volume / "sub"], check=True)
    volume.chmod(0o700)
    ours.config["mounts"].append(bind(volume / "sub", "/m"))
    assert "denied" in ours.sh("mount -o remount,bind,rw /m 2>&1 || true")


# cgroup


def test_a_container_without_a_cgroup_mount(bundle):
    bundle.config["mounts"] = bundle.config["mounts"][:6]
    assert bundle.sh("ls /sys/fs/cgroup 2>/dev/null | wc -l") == "0\n"


@pytest.mark.parametrize("namespace", [True, False])
def test_no_file_of_a_cgroup_can_be_written(bundle, namespace):
    """RT31: with a cgroup namespace and without, where its own cgroup is all that is shown."""
    if not namespace:
        bundle.linux["namespaces"] = [
            entry for entry in bundle.linux["namespaces"] if entry["type"] != "cgroup"
        ]
    shown = bundle.sh(
        "cd /sys/fs/cgroup; n=0; for f in * */*; do [ -f $f ] && { ( : >> $f ) 2>/dev/null && "
        "echo wrote $f; n=$((n+1)); }; done; [ $n -gt 10 ] && echo looked; "
        "mkdir x memory/x 2>/dev/null && echo made || true"
    )
    assert shown == "looked\n"


@pytest.mark.parametrize("words", [["rw"], []])
def test_cgroups_can_be_written_where_asked(ours, words):
    """RT31: read-only as asked for, and not else."""
    ours.config["mounts"][6]["options"] = ["nosuid", *words]
    shown = ours.sh("cd /sys/fs/cgroup; mkdir pids/x 2>/dev/null || mkdir x; echo made")
    assert shown == "made\n"


# all the words there are, in any order

WORDS = st.one_of(
    st.sampled_from(sorted({
        *mounts.ATTRIBUTES, *("r" + word for word in mounts.ATTRIBUTES), *mounts.PROPAGATION,
        *mounts.SPECIAL, *mounts.WITHOUT_EFFECT, "bind", "rbind", "size=1m", "mode=7", "=", "r",
        "rr", "", "ridmap=x", "source=/etc", "size=", "context=x", "uid=1,gid=2", "ro=1",
    })),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=300),
)  # fmt: skip


@given(
    words=st.lists(WORDS, max_size=8),
    kind=st.sampled_from(["tmpfs", "bind", "proc", "none", "", None, "cgroup", "mqueue", "nosuch"]),
    source=st.sampled_from([None, "", "/etc", "x"]),
)
@settings(max_examples=500, deadline=None)
def test_any_words_are_options_or_refused(words, kind, source):
    """FZ02: nothing but a SpecError, whatever is asked for."""
    entry = {"destination": "/m", "type": kind, "source": source, "options": words}
    try:
        options = mounts.parse(entry, "mounts[0]")
    except SpecError as error:
        assert "mounts[0]." in str(error)
        return
    assert not (options.bind and options.data)


@given(words=st.lists(WORDS, max_size=6))
@settings(max_examples=200, deadline=None)
def test_the_kernel_takes_any_words_or_says_why(words):
    """FZ03: no call but fsopen(2), fsconfig(2) and fsmount(2) is made, and nothing is attached."""
    try:
        options = mounts.parse({"destination": "/m", "type": "tmpfs", "options": words}, "m")
        os.close(mounts.new("tmpfs", "tmpfs", options.data, options.set))
    except SpecError:
        pass
    except OSError as error:
        assert error.strerror and error.errno
