"""What a container's process is and has: ``run`` seen from inside."""

import os
import subprocess
import sys
import time

import pytest

from tests.runtime.bundles import CAPABILITIES, NAMESPACES, bind

NS_FILES = {"network": "net", "mount": "mnt"}


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_exit_code_is_the_commands(bundle, code):
    """RL03"""
    assert bundle.run("sh", "-c", f"exit {code}").returncode == code


def test_killed_by_a_signal_is_128_plus_n(bundle):
    """RL03"""
    bundle.process["args"] = ["sleep", "60"]
    bundle.write()
    process = subprocess.Popen(bundle.arguments("run", bundle.id), cwd=bundle.directory)
    wait_until(lambda: bundle.listed() and bundle.oci("state", bundle.id).stdout)
    bundle.wait_for("running")
    bundle.oci("kill", bundle.id, "KILL", check=True)
    assert process.wait(timeout=10) == 128 + 9


def wait_until(condition, patience: float = 5) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_input_and_output(bundle):
    bundle.process["args"] = ["sh", "-c", "cat; echo wrong >&2"]
    with open(bundle.directory / "in", "w+") as file:
        file.write("hello\n")
        file.seek(0)
        done = bundle.run(stdin=file)
    assert (done.stdout, done.stderr) == ("hello\n", "wrong\n")


def test_env_cwd_and_arguments(bundle):
    bundle.process["env"] = ["PATH=/bin", "A=b=c", "EMPTY="]
    bundle.process["cwd"] = "/etc"
    assert bundle.run("printf", "%s|", "a b", "", "$x").stdout == "a b||$x|"
    shown = bundle.sh("pwd; env | sort").splitlines()
    assert shown[0] == "/etc"
    assert {"A=b=c", "EMPTY=", "PATH=/bin"} <= set(shown)
    assert not any(line.startswith(("MINIRUN", "PYTHON", "LD_")) for line in shown)


def test_missing_cwd_is_made(bundle):
    bundle.process["cwd"] = "/srv/data"
    assert bundle.sh("pwd") == "/srv/data\n"


def test_user_groups_umask(bundle):
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o077}
    shown = bundle.sh("id -u; id -g; id -G; umask; cat /proc/self/status")
    assert shown.splitlines()[:4] == ["1000", "1001", "1001 5 6", "0077"]
    assert status_of(shown)["CapEff"] == 0


def test_home_is_looked_up_in_the_image(bundle):
    if bundle.runtime == "crun":
        pytest.skip("crun leaves HOME to the caller of this version")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert bundle.sh("echo $HOME") == "/home/user\n"


@pytest.mark.parametrize("passwd", ["fifo", "directory", "endless"])
def test_hostile_passwd_files_do_no_harm(ours, passwd):
    """RT28"""
    path = ours.rootfs / "etc/passwd"
    path.unlink()
    if passwd == "fifo":
        os.mkfifo(path)
    elif passwd == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    assert ours.sh("echo $HOME") == "/\n"


def status_of(text: str) -> dict[str, int]:
    """The masks of /proc/PID/status."""
    rows = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key: int(value, 16) for key, value in rows if key.startswith("Cap")}


def test_capabilities_are_exactly_those_granted(bundle):
    """RT23, HD01"""
    sets = status_of(bundle.sh("cat /proc/self/status"))
    names = ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]
    assert names == CAPABILITIES
    mask = sum(1 << bit for bit in (0, 5, 6, 7, 10))
    assert sets == {"CapInh": 0, "CapPrm": mask, "CapEff": mask, "CapBnd": mask, "CapAmb": 0}


def test_ambient_capabilities_reach_an_ordinary_user(bundle):
    kinds = ("bounding", "effective", "permitted", "inheritable", "ambient")
    bundle.process["capabilities"] = {kind: ["CAP_NET_BIND_SERVICE"] for kind in kinds}
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    sets = status_of(bundle.sh("cat /proc/self/status"))
    assert set(sets.values()) == {1 << 10}


def test_no_capabilities_field_means_none(bundle):
    del bundle.process["capabilities"]
    assert set(status_of(bundle.sh("cat /proc/self/status")).values()) == {0}


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges_and_seccomp(bundle, wanted):
    """HD02: without no_new_privs the filter needs CAP_SYS_ADMIN, which the command may not have."""
    bundle.process["noNewPrivileges"] = wanted
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}],
    }
    shown = bundle.sh("cat /proc/self/status; mkdir /tmp/x 2>&1 || true")
    assert f"NoNewPrivs:\t{int(wanted)}" in shown
    assert "Seccomp:\t2" in shown
    assert "Argument list too long" in shown  # errno 7
    assert status_of(shown)["CapEff"] == sum(1 << bit for bit in (0, 5, 6, 7, 10))


def test_seccomp_needs_to_allow_nothing_but_the_command(ours):
    """Not one call of the runtime's is made under the filter but execve."""
    calls = ["execve", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
             "readlinkat", "readlink", "getrandom", "brk", "mprotect", "exit_group", "prctl",
             "mmap", "getuid", "munmap"]  # fmt: skip
    ours.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}],
    }
    assert ours.run("/bin/true").returncode == 0


def test_namespaces_are_new(bundle):
    """HD05"""
    names = [NS_FILES.get(kind, kind) for kind in NAMESPACES]
    shown = bundle.sh("; ".join(f"readlink /proc/self/ns/{name}" for name in names)).split()
    assert all(
        inside != os.readlink(f"/proc/self/ns/{name}")
        for name, inside in zip(names, shown, strict=True)
    )


def test_sees_only_its_own_processes_and_interfaces(bundle):
    shown = bundle.sh("ls /proc | grep -c '^[0-9]*$'; hostname; ifconfig -a; echo $$")
    assert int(shown.splitlines()[0]) < 6
    assert "box" in shown and shown.splitlines()[-1] == "1"
    assert "UP LOOPBACK" in shown and "eth0" not in shown


def test_joins_a_namespace_by_path(bundle):
    holder = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        path = f"/proc/{holder.pid}/ns/net"
        wait_until(lambda: os.readlink(path) != os.readlink("/proc/self/ns/net"))
        for entry in bundle.linux["namespaces"]:
            if entry["type"] == "network":
                entry["path"] = path
        assert bundle.sh("readlink /proc/self/ns/net").strip() == os.readlink(path)
    finally:
        holder.kill()
        holder.wait()


def test_a_path_of_another_kind_of_namespace_is_refused(bundle):
    bundle.linux["namespaces"][1] = {"type": "network", "path": "/proc/self/ns/uts"}
    bundle.refused()


def test_user_namespace(bundle):
    """Root inside is an ordinary user outside."""
    with_user_namespace(bundle)
    process = bundle.sh("id -u; cat /proc/self/uid_map; touch /tmp/made; cat /proc/self/status")
    assert process.splitlines()[0] == "0"
    assert process.splitlines()[1].split() == ["0", "100000", "1000"]
    assert (bundle.rootfs / "tmp/made").stat().st_uid == 100000
    assert status_of(process)["CapBnd"] == sum(1 << bit for bit in (0, 5, 6, 7, 10))


def with_user_namespace(bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = mapping
    for parent in [bundle.rootfs, *bundle.rootfs.parents]:
        if parent.owner() == "root" and parent.stat().st_mode & 0o5 != 0o5:
            parent.chmod(parent.stat().st_mode | 0o5)
    for path in [bundle.rootfs, *bundle.rootfs.rglob("*")]:
        os.lchown(path, 100000, 100000)


def test_user_of_a_user_namespace_who_is_not_mapped_is_refused(bundle):
    with_user_namespace(bundle)
    bundle.process["user"] = {"uid": 5000, "gid": 0}
    bundle.refused(code=125)


def test_time_namespace(ours):
    if not os.path.exists("/proc/self/ns/time"):
        pytest.skip("no time namespaces in this kernel")
    ours.linux["namespaces"].append({"type": "time"})
    ours.linux["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    inside = float(ours.sh("cut -d' ' -f1 /proc/uptime"))
    with open("/proc/uptime") as file:
        outside = float(file.read().split()[0])
    assert abs(inside - outside - 1_000_000) < 60


def test_rlimits(bundle):
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                                 {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]  # fmt: skip
    shown = bundle.sh("cat /proc/self/limits")
    assert [line.split()[3:5] for line in shown.splitlines() if "open files" in line] == [
        ["100", "200"]
    ]


def test_rlimits_too_small_for_python_still_hold(ours):
    """They are set from outside when Python has gone."""
    ours.process["rlimits"] = [{"type": "RLIMIT_AS", "soft": 8 << 20, "hard": 8 << 20},
                               {"type": "RLIMIT_FSIZE", "soft": 4096, "hard": 4096},
                               {"type": "RLIMIT_NOFILE", "soft": 8, "hard": 8}]  # fmt: skip
    assert "8388608" in ours.sh("cat /proc/self/limits")


def test_oom_score(bundle):
    with open("/proc/self/oom_score_adj") as file:
        now = int(file.read())
    bundle.process["oomScoreAdj"] = now + 100
    assert bundle.sh("cat /proc/self/oom_score_adj") == f"{now + 100}\n"


def test_sysctl(bundle):
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}
    shown = bundle.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")
    assert shown == "1\n4096\n"


@pytest.mark.parametrize("name", ["kernel.core_pattern", "vm.overcommit_memory", "fs.file-max",
                                  "net/../kernel/core_pattern"])  # fmt: skip
def test_sysctls_of_the_host_are_refused(bundle, name):
    """HD06"""
    bundle.linux["sysctl"] = {name: "1"}
    bundle.refused()


@pytest.mark.parametrize(("kind", "config"), [
    ("network", {"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}}),
    ("ipc", {"linux": {"sysctl": {"kernel.msgmax": "8192"}}}),
    ("uts", {"hostname": "taken"}),
])  # fmt: skip
def test_to_join_the_hosts_namespace_is_not_to_have_one(bundle, kind, config):
    """HD06"""
    if kind != "network" and bundle.runtime in ("runc", "crun"):
        pytest.skip("runc compares network namespaces only, and crun none")
    if bundle.runtime == "crun":
        pytest.skip("crun sets the host's")
    bundle.linux.update(config.get("linux", {}))
    bundle.config["hostname"] = config.get("hostname", "")
    for entry in bundle.linux["namespaces"]:
        if entry["type"] == kind:
            entry["path"] = f"/proc/self/ns/{kind.removesuffix('work')}"
    name = os.uname().nodename
    assert bundle.refused()
    assert os.uname().nodename == name


def test_preserved_file_descriptors(bundle):
    """--preserve-fds: those, and no others."""
    if bundle.runtime == "crun":
        pytest.skip("crun's preserved ones are inherited through unshare differently")
    bundle.process["args"] = ["sh", "-c", "cat <&3; ls /proc/1/fd; true"]
    bundle.write()
    words = bundle.arguments("run", "--preserve-fds", "1", bundle.id)
    script = 'echo hello > given; exec 3< given; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words], cwd=bundle.directory, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["hello", "0", "1", "2", "3"]


def test_closed_standard_fds(ours):
    """CR18: nothing of ours slips into their place."""
    ours.process["args"] = ["sh", "-c", "ls -l /proc/1/fd | cat > /tmp/fds"]
    ours.write()
    code = f"import os,sys; [os.close(n) for n in (0,1,2)]; os.chdir({str(ours.directory)!r}); " \
           f"argv={ours.arguments('run', ours.id)!r}; os.execv(argv[0], argv)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    shown = (ours.rootfs / "tmp/fds").read_text()
    assert shown.count("/dev/null") == 3


def test_keyring_is_new(ours, residue):
    """RT47: the host's session keyring is not the container's; and none is left behind."""
    ours.linux["maskedPaths"] = []
    assert f"_ses.{ours.id}" in ours.sh("cat /proc/keys")


def test_has_no_terminal_of_the_host(ours):
    """RT45: without -t, what is typed into standard input's terminal cannot be made up."""
    master, slave = os.openpty()
    try:
        done = ours.run("sh", "-c", "cat /proc/self/stat; echo > /dev/tty", stdin=slave)
    finally:
        os.close(master)
        os.close(slave)
    assert done.stdout.split()[6] == "0"  # tty_nr of proc_pid_stat(5)
    assert done.returncode != 0


def test_memory_limit_kills_in_words(ours):
    """RL08"""
    ours.linux["resources"]["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    done = ours.run("sh", "-c", "exec tail /dev/zero")
    assert done.returncode == 137
    assert "killed by the out-of-memory killer: memory limit 32 MiB" in done.stderr


def test_pids_limit_of_one_lets_the_command_run(bundle):
    """The limit is set when the runtime's own processes have gone."""
    bundle.linux["resources"]["pids"] = {"limit": 1}
    assert bundle.run("true").returncode == 0
    assert bundle.run("sh", "-c", "true & true | true").returncode != 0


def test_signals_begin_with_their_defaults(ours):
    """Python ignores two, and what is ignored stays ignored after execve(2)."""
    shown = ours.run("cat", "/proc/self/status").stdout
    masks = {line.split(":")[0]: line.split()[1] for line in shown.splitlines() if "Sig" in line}
    assert {int(masks[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")} == {0}


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "USR1", "USR2", "WINCH"])
def test_signals_are_passed_on(ours, name):
    """RL02"""
    trap = f"trap 'echo got {name}; exit 3' {name}; echo ready"
    ours.process["args"] = ["sh", "-c", f"{trap}; while :; do sleep 0.1; done"]
    ours.write()
    process = subprocess.Popen(
        ours.arguments("run", ours.id), stdout=subprocess.PIPE, text=True, cwd=ours.directory
    )
    assert process.stdout.readline() == "ready\n"
    subprocess.run(["kill", f"-{name}", str(process.pid)], check=True)
    assert (process.stdout.read(), process.wait(timeout=10)) == (f"got {name}\n", 3)


def test_volume(bundle, tmp_path):
    source = tmp_path / "data"
    source.mkdir()
    (source / "file").write_text("hello")
    bundle.config["mounts"] += [bind(source, "/data"), bind(source, "/readonly", "ro")]
    bundle.sh("cat /data/file; echo more > /data/new; ! echo x > /readonly/x 2> /dev/null")
    assert (source / "new").read_text() == "more\n"
    assert not (source / "x").exists()


def test_many_runs_leave_nothing(ours, residue):
    for _ in range(20):
        assert ours.run("true").returncode == 0


def test_a_working_directory_is_made_in_a_root_that_is_read_only_later(bundle):
    bundle.config["root"]["readonly"] = True
    bundle.process["cwd"] = "/made/here"
    assert bundle.sh("pwd; touch /x 2>/dev/null || echo read-only") == "/made/here\nread-only\n"


def test_a_user_namespace_without_mappings_keeps_ids_and_takes_powers_of_the_host(ours):
    """linux.uidMappings is optional; nothing is said of what its absence means."""
    ours.linux["namespaces"].append({"type": "user"})
    assert ours.sh("cat /proc/self/uid_map; stat -c %u /etc/passwd").split() == [
        "0", "0", "4294967295", "0"
    ]  # fmt: skip
    assert "not permitted" in ours.run("sh", "-c", "hostname x; mknod /x c 1 3").stderr


def test_of_several_variables_with_one_name_the_last_counts(bundle):
    if bundle.runtime == "crun":
        pytest.skip("crun passes all of them on")
    bundle.process["env"] += ["ONE=1", "HOME=", "ONE=2"]
    bundle.process["user"] = {"uid": 1000, "gid": 0}
    assert bundle.sh("env | grep -e ONE -e HOME | sort") == "HOME=/home/user\nONE=2\n"
