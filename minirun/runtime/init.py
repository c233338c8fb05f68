"""The child half of ``create``: a process that becomes the container, step by step.

Read FIRST_STEPS and STEPS: that is the order of everything. sync.py draws how the parent
(create.py) and the two children talk. All steps work on one ``Setup``.

Two rules hold in this file. Nothing may be imported from ``enter_root`` on, for the files that
Python would find are the container's then. And what must be written to /proc is written before
that, to the host's /proc, for the container's may be anything.
"""

from __future__ import annotations

import os

from minirun import idmap, linux
from minirun.runtime import devices, entering, hooks, mounting, namespaces, process
from minirun.runtime import spec as specs
from minirun.runtime.execute import execute, find_command
from minirun.runtime.rootfs import Root

TYPE_CHECKING = False
if TYPE_CHECKING:

    from minirun.runtime.setup import Setup


def enter_cgroup(setup: Setup) -> None:
    """Enter the container's cgroup; all that come from this process will be in it.

    why:    before the cgroup namespace, whose root is where we are when it is made
    shell:  echo $$ > /sys/fs/cgroup/minirun/ID/cgroup.procs
    man:    cgroups(7)
    """
    setup.cgroup.enter()


def join_namespaces(setup: Setup) -> None:
    """Join the namespaces that config.json gives by path, and make a new user namespace.

    why:    in a user namespace root is an ordinary user of the host; it comes first, so that the
            other namespaces belong to it
    shell:  nsenter --net=/run/netns/N …; unshare --user --map-root-user
    man:    user_namespaces(7), setns(2)
    """
    namespaces.join(setup.spec)
    if specs.is_new(setup.spec, "user"):
        namespaces.new(setup.spec, user=True)
        setup.channel.send("maps")
        setup.channel.expect("go")
    if "user" in specs.namespaces(setup.spec):
        namespaces.check_joined(setup.spec)


def new_namespaces(setup: Setup) -> None:
    """Make the other namespaces: from here on the process sees its own world.

    why:    each one is a table of the kernel: mounts, processes, network, names, …
    shell:  unshare --mount --uts --ipc --net --cgroup --time --pid --fork
    man:    namespaces(7), unshare(2)
    """
    namespaces.new(setup.spec, user=False)
    if "mount" not in specs.namespaces(setup.spec):  # one for the time being: see Root.leave
        setup.outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        linux.unshare(linux.CLONE_NEWNS)
    namespaces.set_time_offsets(setup.spec)
    uid, gid, setup.may_set_groups = idmap.identity(setup.process)
    if "user" in specs.namespaces(setup.spec):  # last: our files in /proc are not that user's
        idmap.become(uid, gid)


def fork_init(setup: Setup) -> None:
    """Fork the container's first process, and end.

    why:    a PID namespace begins with the next child, which gets number 1 in it
    man:    pid_namespaces(7), fork(2)
    """
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # no process that is in there already may look into us
    pid = linux.fork()
    if pid:
        setup.channel.send("pid", pid)
        setup.tell()
        os._exit(0)
    process.live(setup, STEPS)


def await_parent(setup: Setup) -> None:
    """Wait until the parent has recorded us.

    why:    what is written down can be cleared away, whatever happens to us
    man:    recv(2)
    """
    (_, setup.container.state["pid"]), _ = setup.channel.expect("go")


def set_names(setup: Setup) -> None:
    """Set the host name, the sysctls of our namespaces, and bring up "lo".

    why:    they belong to namespaces; written through the host's /proc, which we can trust
    shell:  hostname NAME; sysctl -w net.ipv4.ip_forward=1; ip link set lo up
    man:    uts_namespaces(7), network_namespaces(7)
    """
    if setup.spec.get("hostname"):
        linux.sethostname(setup.spec["hostname"])
    if setup.spec.get("domainname"):
        linux.setdomainname(setup.spec["domainname"])
    if specs.is_new(setup.spec, "network"):
        namespaces.raise_loopback()
    for name, value in (setup.linux("sysctl") or {}).items():
        path = name if "/" in name else name.replace(".", "/")
        linux.write_file(f"/proc/sys/{path}", value)


def make_private(setup: Setup) -> None:
    """Keep to ourselves what we mount from here on.

    why:    systemd shares "/", so it would show up on the host
    shell:  mount --make-rslave /
    man:    mount_namespaces(7)
    """
    if setup.linux("rootfsPropagation") in ("shared", "rshared"):
        # asked for: what is mounted in the container's volumes shows up outside
        parent = entering.mount_point(os.path.join(setup.bundle, setup.spec["root"]["path"]))
        linux.mount(None, parent, None, linux.MS_PRIVATE)
    else:
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)


def bind_root(setup: Setup) -> None:
    """Bind the root file system onto itself.

    why:    pivot_root(2) wants a mount point
    shell:  mount --rbind rootfs rootfs
    man:    mount(8), open_tree(2), move_mount(2)
    """
    private = setup.linux("rootfsPropagation") not in ("slave", "rslave")
    setup.root = Root(os.path.join(setup.bundle, setup.spec["root"]["path"]), private=private)


def mount_all(setup: Setup) -> None:
    """Mount what config.json lists, in its order: /proc, /dev, volumes, …

    why:    a container sees files of the kernel's and of the host's only where they are mounted
    shell:  mount -t proc proc rootfs/proc; mount --bind /srv/data rootfs/data; …
    man:    mount(8), fsopen(2), openat2(2), proc(5)
    """
    for index in range(len(setup.spec.get("mounts") or [])):
        mounting.mount(setup, index)


def make_devices(setup: Setup) -> None:
    """Make the device files and links of /dev.

    why:    programs expect /dev/null, /dev/urandom, /dev/tty and a few more
    shell:  mknod -m 666 rootfs/dev/null c 1 3; ln -s /proc/self/fd rootfs/dev/fd
    man:    mknod(2), null(4), random(4), tty(4)
    """
    setup.null = devices.open_null()  # the host's: what hides other files shall not be the image's
    devices.make_all(setup.root, setup.spec)
    devices.use_own_null(setup.root)


def open_terminal(setup: Setup) -> None:
    """Open a pseudo-terminal in the container's /dev/pts and make it stdin, stdout and stderr.

    why:    so that a shell inside has job control; its other end goes to who shows it to a person
    shell:  script -c 'sh' /dev/null
    man:    pty(7), pts(4), ioctl_tty(2)
    """
    if not setup.process.get("terminal"):
        return
    from minirun.runtime import terminal

    setup.master, slave = terminal.open_pair(setup.root.fd, setup.process.get("consoleSize"))
    devices.make_console(setup.root, slave)
    terminal.use(slave)


def report_mounted(setup: Setup) -> None:
    """Let the parent set the limits and run the hooks that expect all mounts; run those of ours.

    why:    limits come after the devices were made, which they may forbid
    man:    cgroups(7)
    """
    setup.channel.send("mounted", fd=setup.master)
    setup.channel.expect("go")
    process.receive_filter(setup)
    hooks.run(setup.spec, "createContainer", setup.container.report("creating"))


def protect_paths(setup: Setup) -> None:
    """Make paths read-only, hide others, and the root read-only if asked for.

    why:    /proc and /sys have switches of the whole machine, and things to read about it
    shell:  mount --bind -o ro rootfs/proc/sys rootfs/proc/sys;
            mount --bind /dev/null rootfs/proc/kcore
    man:    mount_setattr(2), proc(5)
    """
    for path in dict.fromkeys(setup.linux("readonlyPaths") or []):
        setup.root.make_readonly(path)
    for path in dict.fromkeys(setup.linux("maskedPaths") or []):
        setup.root.mask(path, setup.null)
    if setup.spec["root"].get("readonly"):  # in which no working directory could be made any more
        process.change_directory(setup, lambda path: setup.root.make(path, directory=True))
    setup.root.seal(root=bool(setup.spec["root"].get("readonly")))


def enter_root(setup: Setup) -> None:
    """Enter the root: the host's files are gone from here on.

    why:    unlike chroot(2), after pivot_root(2) no mount is left through which to get out
    shell:  cd rootfs; pivot_root . .; umount -l .
    man:    pivot_root(2)
    """
    if setup.outside >= 0:
        entering.leave(setup.root, setup.outside)
    else:
        (entering.pivot if setup.pivot else entering.move)(setup.root)
        entering.propagate(setup.linux("rootfsPropagation") or "private")


def enter_directory(setup: Setup) -> None:
    """Go to the working directory, and make sure that it lies in the container.

    why:    a path such as /proc/self/fd/7 may lead to a directory of the host (CVE-2024-21626)
    shell:  cd /work
    man:    chdir(2), openat2(2), getcwd(2)
    """
    process.change_directory(setup, lambda path: setup.root.make(path, directory=True))


FIRST_STEPS = (
    enter_cgroup,
    process.set_oom_score,
    process.call_agent,
    join_namespaces,
    new_namespaces,
    fork_init,
)
STEPS = (
    await_parent,
    process.begin_session,
    set_names,
    process.borrow_from_host,
    make_private,
    bind_root,
    mount_all,
    make_devices,
    open_terminal,
    report_mounted,
    protect_paths,
    enter_root,
    enter_directory,
    find_command,
    execute,
)
