"""``minirun run``: the order of everything, on one screen.

Each step's docstring is what ``--explain`` says about it. The runtime's steps come in the middle of
``start``; it is a command of its own, and tells them itself.
"""

from __future__ import annotations

import os
import sys
import time

from minirun.engine import bundling, edits, exposure, files
from minirun.engine.foreground import Signals, attend, shell_code
from minirun.engine.oci import LOG, OWN, Runtime
from minirun.engine.pulling import pull_image
from minirun.engine.state import warn
from minirun.errors import Error, NotFound
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State
    from minirun.image.store import Image
    from minirun.teach.explain import Narrator


PID_FILE = "pid"
KILLED = 9  # SIGKILL


class Run:
    """One run of an image: what was asked for, and what the steps have made so far."""

    image: Image
    container: Container
    signals: Signals
    exit_code: int

    def __init__(
        self, state: State, image: str, arguments: Sequence[str], options: dict[str, Any]
    ) -> None:
        self.state, self.image_name, self.arguments = state, image, arguments
        self.options = options
        self.runtime = Runtime(options.get("runtime") or OWN, state.paths)
        self.spec: dict[str, Any] = {}

    @property
    def rootfs(self) -> str:
        return self.container.directory + "/rootfs"


def run(job: Run, narrator: Narrator) -> int:
    """Do it all; the exit code is the container's. Whatever happens, nothing is left behind."""
    exposure.warn(job.options)
    narrator.run(find_image, job)
    job.signals = Signals()
    narrator.run(claim, job)
    code = 125
    try:
        for step in (mount_layers, write_bundle, start):
            narrator.run(step, job)
        code = job.exit_code
    except Error as error:
        code = error.exit_code
        raise
    finally:
        try:
            narrator.run(clean_up, job, code)
        except (Error, OSError) as error:  # the next command tries again: state.settle
            warn(f"cannot clean up container {job.container.id[:12]}: {error}")
    return code


def find_image(job: Run) -> None:
    """Find the image, here or in a registry.

    why:    a container starts from an image: some layers of files, and a config that says what to
            run. Only what is missing here is pulled
    shell:  skopeo inspect oci:/var/lib/minirun/images:NAME
    man:    https://github.com/opencontainers/image-spec
    """
    name, policy = job.image_name, job.options.get("pull") or "missing"
    if policy == "never":
        job.image = job.state.image(name)
        if not bundling.fits(job.image, job.options):
            raise NotFound(f"{name}: the image here is for {job.image.platform}")
    elif policy == "always":
        job.image = pull_image(job.state, name, job.options)
    else:
        job.image = bundling.find_image(job.state, name, job.options)


def claim(job: Run) -> None:
    """Write down that this container is about to exist.

    why:    if we are killed at any later point, the next command finds this record and cleans up
    shell:  mkdir /var/lib/minirun/containers/$ID; flock -n /run/minirun/live/$ID …
    man:    flock(2)
    """
    options = job.options
    job.spec = bundling.make_config(job.image, job.arguments, options)
    if job.runtime.is_own and os.path.exists("/proc/self/ns/time"):
        job.spec["linux"]["namespaces"].append({"type": "time"})
    job.container = job.state.containers.claim(
        options.get("name"),
        {
            "image": job.image_name,
            "imageId": job.image.id,
            "diffIds": job.image.diff_ids,
            "command": job.spec["process"]["args"],
            "runtime": job.runtime.name,
            "options": options,
            "autoRemove": bool(options.get("rm")),
            "stopSignal": bundle.stop_signal(job.image.config),
        },
    )


def mount_layers(job: Run) -> None:
    """Stack the image's layers into one directory, with an empty layer on top.

    why:    all containers share the layers below, which nobody can change; what this one writes
            goes to the layer on top. So a start copies nothing
    shell:  mount -t overlay -o lowerdir=L3:L2:L1,upperdir=upper,workdir=work overlay rootfs
    man:    https://docs.kernel.org/filesystems/overlayfs.html
    """
    lowers = job.state.lowers(job.image)
    volatile = bool(job.options.get("rm"))
    job.state.snapshots.mount(lowers, job.container.directory, volatile=volatile)


def write_bundle(job: Run) -> None:
    """Write config.json: all that the runtime needs to know.

    why:    a bundle (config.json and rootfs) is the contract between an engine and a runtime: any
            OCI runtime can run this one
    shell:  runc spec; $EDITOR config.json
    man:    https://github.com/opencontainers/runtime-spec
    """
    spec, container = job.spec, job.container
    bundling.settle_user(spec, job.image, job.rootfs, job.options)
    files.identify(spec, container, job.options)
    files.make_directory(job.rootfs, spec["process"]["cwd"])
    edits.complete(spec, job.options, container.directory, job.state.process_of)
    exposure.apply(spec, job.options["no"])
    bundle.write(spec, container.directory)


def start(job: Run) -> None:
    """Start the runtime on the bundle, and wait for the container's end.

    why:    making a container of a bundle is a program of its own, and an exchangeable one
    shell:  minirun-oci --root /run/minirun/oci run --bundle DIR $ID
    man:    https://github.com/opencontainers/runtime-spec/blob/main/runtime.md
    """
    os.chdir(job.container.directory)  # the console's socket is named from here
    job.container.save_state(status="running", started=time.time())
    code = with_terminal(job) if job.options.get("tty") else without_terminal(job)
    job.exit_code = shell_code(code)
    command = job.spec["process"]["args"][0]
    if failure := code and job.runtime.failure(f"{job.container.directory}/{LOG}", command):
        raise failure


def without_terminal(job: Run) -> int:
    """The runtime stays until the container ends, and so do our standard streams: it has them."""
    pid = start_runtime(job, [], stdin=bool(job.options.get("interactive")))
    code = attend(pid, job.signals)
    if code < 0:  # it could not clean up; after an exit of its own it has
        job.runtime.delete(job.container.id)
    return code


def with_terminal(job: Run) -> int:
    """The runtime returns once the container runs; we are its reaper, and copy keys and bytes."""
    from minirun import linux
    from minirun.engine import oom
    from minirun.engine.terminal import Console, Terminal

    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    console = Console()
    options = ["--detach", "--console-socket", console.name, "--pid-file", PID_FILE]
    runtime = start_runtime(job, options, stdin=False)
    counter = None
    master = console.receive(runtime)
    if master is None:
        return attend(runtime, job.signals)
    with Terminal(master, interactive=bool(job.options.get("interactive"))) as terminal:
        code = attend(runtime, job.signals)
        if code == 0:
            with open(PID_FILE, encoding="ascii") as file:
                pid = int(file.read())
            counter = oom.counter(pid)
            code = attend(pid, job.signals, terminal)
    if code == -KILLED and oom.kills(counter):
        print("killed by the out-of-memory killer", file=sys.stderr)
    job.runtime.delete(job.container.id)
    return code


def start_runtime(job: Run, options: list[str], *, stdin: bool) -> int:
    """Start the runtime's ``run``; its process id. It inherits the lock that says it lives."""
    before = job.runtime.log_options()
    if job.options.get("explain") and job.runtime.is_own:
        before.append("--explain=json" if job.options["explain"] == "json" else "--explain")
    lock = job.container.lock_runtime()
    os.set_inheritable(lock, True)
    try:
        options = [*options, *exposure.runtime_options(job.options["no"])]
        verb = ["run", "--bundle", job.container.directory, *options, job.container.id]
        return job.runtime.start(verb, options=before, stdin=stdin)
    finally:
        os.close(lock)


def clean_up(job: Run, code: int) -> None:
    """Unmount, and with --rm remove all that there was of the container.

    why:    what is mounted or claimed would stay for ever: nobody else knows of it
    shell:  umount rootfs; rm -r /var/lib/minirun/containers/$ID
    man:    umount(8)
    """
    job.state.finish(job.container, code)
