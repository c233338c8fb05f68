"""Make a container again from what checkpoint has saved, and wait for its end as run does.

CRIU does it: see criu(8). Its bundle must be what it was."""

from __future__ import annotations

import os

from minirun import document, errors, linux
from minirun.runtime import create as parent
from minirun.runtime import criu, ending, foreground, handover
from minirun.runtime import spec as specs
from minirun.runtime.commands.checkpoint import DESCRIPTORS
from minirun.runtime.container import check_id, start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.options import Option, Values
    from minirun.runtime.setup import Setup

OPTIONS: tuple[Option, ...] = (
    *criu.OPTIONS,
    (("-b", "--bundle"), "DIR", "the directory of config.json (.)"),
    (("--pid-file",), "FILE", "write the process ID to this file"),
    (("-d", "--detach"), "", "return when the container runs"),
    (("--console-socket",), "PATH", "refused: there are no checkpoints with a terminal"),
    (("--no-subreaper",), "", "do not adopt what the container's processes leave behind"),
    (("--no-pivot",), "", "refused: chroot is no protection"),
    (("--lsm-profile",), "TYPE:NAME", "another AppArmor profile or SELinux label"),
    (("--lsm-mount-context",), "CONTEXT", "another SELinux context for its mounts"),
)
ARGUMENTS = ("ID",)
SIG_SETMASK = 2  # sigprocmask(2)


def run(options: Values, container_id: str) -> int:
    check_id(container_id)
    for name in ("console-socket", "no-pivot"):
        if options.get(name):
            raise errors.UsageError(f"restore --{name}: refused, see restore --help")
    signal_fd = None if options.get("detach") else foreground.hold_signals()
    bundle = os.path.abspath(options.get("bundle") or ".")
    spec, text = specs.load(bundle)
    setup = parent.prepare(options["root"], container_id, bundle, spec, text)
    container = setup.container
    try:
        _restore(options, setup)
        handover.announce(options, setup.pid)
    except BaseException:
        ending.destroy(container)
        raise
    container.unlock()
    if signal_fd is None:
        return 0
    return foreground.wait_and_delete(setup, signal_fd)


def _restore(options: Values, setup: Setup) -> None:
    """Let CRIU make the processes, as children of ours, in a cgroup that is ready for them."""
    images = criu.directory(options.get("image-path") or "checkpoint")
    work = criu.directory(options.get("work-path") or images)
    container, spec = setup.container, setup.spec
    root, pid_file = container.path("root"), os.path.join(work, "restore.pid")
    setup.cgroup.make()
    setup.cgroup.apply(setup.linux("resources") or {})
    words = criu.arguments(options, images, work) + criu.network(spec)
    words += ["--restore-detached", "--restore-sibling", "--pidfile", pid_file, "--root", root]
    for tree in setup.cgroup.trees:
        for name in sorted(tree.controllers) or [""]:
            words += ["--cgroup-root", f"{name}:{setup.cgroup.path}".lstrip(":")]
    for place, source in {**criu.external_mounts(spec), "/dev/null": "/dev/null"}.items():
        words += ["--external", f"mnt[{place}]:{os.path.join(setup.bundle, source)}"]
    words += _descriptors(images)
    for name in ("lsm-profile", "lsm-mount-context"):
        if options.get(name):
            words += [f"--{name}", options[name]]
    if os.path.exists(pid_file):
        os.unlink(pid_file)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    os.mkdir(root)
    try:
        criu.run(options, "restore", words, lambda: _mount_root(container.state["rootfs"], root))
    finally:
        os.rmdir(root)
    with open(pid_file) as file:
        setup.pid = int(file.read())
    container.record("process.json", {"pid": setup.pid, "startTime": start_time(setup.pid)})


def _mount_root(rootfs: str, root: str) -> None:
    """CRIU wants the root to be a mount point: it gets one that nobody else sees. And it needs the
    signals that a ``run`` in the foreground holds back."""
    linux.sigprocmask(SIG_SETMASK, [])
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("", "/", "", linux.MS_REC | linux.MS_SLAVE)
    linux.mount(rootfs, root, "", linux.MS_BIND | linux.MS_REC)


def _descriptors(images: str) -> list[str]:
    """Pipes to the outside are not made again: ours at the same number takes their place."""
    path = os.path.join(images, DESCRIPTORS)
    with open(path, "rb") as file:
        names = document.loads(file.read(), DESCRIPTORS)
    return [
        word
        for fd, name in enumerate(names)
        if str(name).startswith("pipe:")
        for word in ("--inherit-fd", f"fd[{fd}]:{name}")
    ]
