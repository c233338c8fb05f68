"""``minirun doctor``: does this machine have what containers need? Tried, not guessed.

Each check is a function that really does the thing, in a child process or a new namespace, so that
nothing of it stays. Its docstring is its line in the report; a failure is an exception, and
``FIXES`` has what mends it. Read top to bottom, the list says what a container is made of.
"""

from __future__ import annotations

import os
import sys
import tempfile

from minirun import idmap, linux
from minirun.engine.paths import user
from minirun.errors import Error, from_os_error, printable
from minirun.image import whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.engine.paths import Paths

    Check = Callable[[Paths], str | None]

FREE = 1 << 30  # bytes that a machine for containers should have left on its disk
CGROUPS = "/sys/fs/cgroup"
LIMITS = ("cpu", "memory", "pids")  # the controllers behind --cpus, -m and --pids-limit
ALLOW = bytes.fromhex("06000000 0000ff7f")  # one instruction: return SECCOMP_RET_ALLOW
MAIN = "from minirun.engine.cli import main; main"
NEEDED_CAPABILITIES = ("SYS_ADMIN", 21), ("SETFCAP", 31), ("MKNOD", 27), ("SYS_CHROOT", 18)


def examine(paths: Paths) -> int:
    """Make every check and print the report; 0 if all went well, else 1."""
    return report(FIXES, paths)


def report(fixes: Mapping[Callable[[Any], str | None], str], subject: object) -> int:
    """Make the checks of a table of ``fixes`` on a subject; 0 if all went well, else 1."""
    failures = 0
    for check, fix in fixes.items():
        title = (check.__doc__ or "").strip().split("\n")[0].rstrip(".")
        try:
            detail = check(subject)
        except (Error, OSError) as problem:
            failures += 1
            error = from_os_error(problem) if isinstance(problem, OSError) else problem
            print(f"✗ {title}: {printable(error.message)}")
            print(f"    fix: {error.hint or fix}")
            if check is is_root:
                print("the other checks mean nothing without it")
                return 1
        else:
            print(f"✓ {title}{f': {detail}' if detail else ''}")
    if failures:
        print(f"\n{failures} of {len(fixes)} checks failed")
    return 1 if failures else 0


def in_child(action: Callable[[], object]) -> None:
    """Do ``action`` in a child process; what it raises there is raised here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        message = ""
        try:
            action()
        except OSError as error:
            message = from_os_error(error).message
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        os.write(writer, message.encode()[:4096])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        message = pipe.read().decode()
    os.waitpid(child, 0)
    if message:
        raise Error(message)


def in_mount_namespace(action: Callable[[], object]) -> None:
    def enter() -> None:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        action()

    in_child(enter)


# --- the checks ---------------------------------------------------------------------------------


def is_root(_: Paths) -> str:
    """Root, with its capabilities"""
    if os.geteuid() != 0:
        raise Error(f"this is user {os.geteuid()}")
    missing = [n for n, bit in NEEDED_CAPABILITIES if not linux.prctl(linux.PR_CAPBSET_READ, bit)]
    if missing:
        raise Error(f"CAP_{', CAP_'.join(missing)} taken away: is this inside a container?")
    return "all that is needed"


def users(_: Paths) -> str:
    """Users of images: numbers that root has lent"""
    if not user():
        return "all"
    lent = sum(size for _, _, size in idmap.read("uid")) - 1
    if not lent:
        raise Error("none, so a container has no user but root, and all files are root's")
    return str(lent)


def kernel_is_new_enough(_: Paths) -> str:
    """The kernel's safe way to open a file of an image (openat2)"""
    root = os.open("/", os.O_PATH)
    try:
        os.close(linux.openat2(root, "proc", os.O_PATH, resolve=linux.RESOLVE_IN_ROOT))
    finally:
        os.close(root)
    return f"Linux {os.uname().release}"


def namespaces(_: Paths) -> str:
    """Namespaces: own views of mounts, processes, network, hostname, messages, cgroups"""
    kinds = ("NEWNS", "NEWPID", "NEWNET", "NEWUTS", "NEWIPC", "NEWCGROUP")
    for kind in kinds:
        in_child(lambda: linux.unshare(getattr(linux, f"CLONE_{kind}")))  # noqa: B023
    return f"{len(kinds)} kinds"


def mounts(_: Paths) -> None:
    """Mounts of its own (tmpfs, proc)"""

    def try_them() -> None:
        linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV)
        if not user():  # who needs a PID namespace for that, as a container has one
            os.mkdir("/tmp/proc")
            linux.mount("proc", "/tmp/proc", "proc")

    in_mount_namespace(try_them)


def overlay(paths: Paths) -> str:
    """Layers laid on one another (overlayfs), where the store is"""
    place = existing(paths.lib)
    with tempfile.TemporaryDirectory(prefix="minirun-doctor-", dir=place) as scratch:
        for name in ("lower", "upper", "work", "all"):
            os.mkdir(f"{scratch}/{name}")
        options = ",".join(f"{n}dir={scratch}/{n}" for n in ("lower", "upper", "work"))
        options += ",userxattr" * whiteout.in_user_namespace()

        def try_it() -> None:
            linux.mount("overlay", f"{scratch}/all", "overlay", 0, options)
            with open(f"{scratch}/all/file", "w") as file:
                file.write("written to the layer on top")

        in_mount_namespace(try_it)
    return place


def cgroups(_: Paths) -> str:
    """Limits (cgroups for cpu, memory and pids)"""
    if user():
        return "yours if root gives them away: systemd-run --user --scope -p Delegate=yes minirun …"
    is_v2 = os.path.exists(f"{CGROUPS}/cgroup.controllers")
    name = f"minirun-doctor-{os.getpid()}"
    if is_v2:
        with open(f"{CGROUPS}/cgroup.controllers", encoding="ascii") as file:
            controllers = file.read().split()
        missing = [limit for limit in LIMITS if limit not in controllers]
        places = [f"{CGROUPS}/{name}"]
    else:
        missing = [limit for limit in LIMITS if not os.path.isdir(f"{CGROUPS}/{limit}")]
        places = [f"{CGROUPS}/{limit}/{name}" for limit in LIMITS if limit not in missing]
    if missing:
        raise Error(f"no controller for {', '.join(missing)}")
    for place in places:
        os.mkdir(place)
        os.rmdir(place)
    return "v2" if is_v2 else "v1"


def seccomp(_: Paths) -> None:
    """A filter of system calls (seccomp)"""

    def try_it() -> None:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.seccomp(linux.SECCOMP_SET_MODE_FILTER, 0, ALLOW)

    in_child(try_it)


def terminals(_: Paths) -> None:
    """Pseudoterminals, for run -it"""
    for fd in os.openpty():
        os.close(fd)


def space(paths: Paths) -> str:
    """Room for images"""
    place = existing(paths.lib)
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if free < FREE:
        raise Error(f"{place} has {free >> 20} MiB left")
    return f"{free >> 30} GiB left in {place}"


def a_container(_: Paths) -> str:
    """A container, from the image to its end"""
    import subprocess

    with tempfile.TemporaryDirectory(prefix="minirun-doctor-") as scratch:
        # of networks tells doctor --net; a user's limits take cgroups that were given to them
        options = ["--network", "none", *([] if user() else ["-m", "64m"])]
        words = ["--root", scratch, "run", "--rm", *options, "tiny", "echo", "hello"]
        # The same program again, wherever it was started from: a launcher, a module, a venv.
        script = f"import sys; sys.path[:] = {sys.path!r}; {MAIN}({words!r})"
        line = [sys.executable, "-c", script]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.stdout != "hello\n" or done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Error(said[0].removeprefix("error: "))
    return "it said hello"


def existing(path: str) -> str:
    """``path``, or its nearest parent that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


FIXES: dict[Check, str] = {
    is_root: "sudo minirun doctor; inside a container of Docker: --privileged",
    users: "apt-get install uidmap; as root: usermod --add-subuids 100000-165535 --add-subgids "
    "100000-165535 NAME",
    kernel_is_new_enough: "Linux 5.11 or newer; inside a container, seccomp may forbid openat2",
    namespaces: "sysctl user.max_mnt_namespaces=1024 (and the others in /proc/sys/user)",
    mounts: "inside a container of Docker: --privileged",
    overlay: "modprobe overlay; or minirun --root DIR on ext4 or xfs (an overlay carries no other)",
    cgroups: "mount -t cgroup2 none /sys/fs/cgroup; or boot with cgroup_enable=memory",
    seccomp: "a kernel with CONFIG_SECCOMP_FILTER; until then --security-opt seccomp=unconfined",
    terminals: "mount -t devpts devpts /dev/pts",
    space: "minirun image prune -a; or minirun --root DIR on a larger disk",
    a_container: "minirun run --rm --explain tiny true shows which step fails",
}
CHECKS = tuple(FIXES)
