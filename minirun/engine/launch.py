"""``minirun run``, ``create`` and ``start``: the order of everything, on one screen.

Each step's docstring is what ``--explain`` says about it. The runtime's steps come in the middle of
``start``; it is a command of its own, and tells them itself.

    create       find_image, claim
    start                            mount_layers, write_bundle, start, and clean_up if it fails
    run          all of them; in the foreground, clean_up when the container has ended

Once the container is started, its monitor attends to it (monitor.py). The monitor's interpreter is
started first of all (launcher.py), so that it is ready when it is needed.
"""

from __future__ import annotations

import os
import sys

from minirun.engine import (
    bundling,
    edits,
    events,
    exposure,
    files,
    finish,
    health,
    mounts,
    variables,
    wire,
)
from minirun.engine.container import CREATED, SHORT, read, write
from minirun.engine.network import endpoints, ports, wish
from minirun.engine.oci import LOG, OWN, Runtime
from minirun.engine.pulling import pull_image
from minirun.engine.state import warn
from minirun.engine.terminal import console_size
from minirun.errors import Error, NotFound, StateError, UsageError
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from minirun.engine.attach import Attachment
    from minirun.engine.container import Container
    from minirun.engine.state import State
    from minirun.image.store import Image
    from minirun.teach.explain import Narrator


class Launch:
    """One container on its way: what was asked for, and what the steps have made so far.

    ``attachment`` is how the command stays connected; None: it does not, once it is started.
    """

    image: Image
    container: Container
    exit_code = 0
    is_ours = True  # until the monitor has it, and when it gives it back
    ending: bytes | None = None  # the monitor's last word, of wire.py; b"" if there was none

    def __init__(
        self, state: State, options: Mapping[str, Any], attachment: Attachment | None = None
    ) -> None:
        self.state, self.options, self.attachment = state, options, attachment
        self.runtime = Runtime(options.get("runtime") or OWN, state.paths)
        self.image_name = ""
        self.arguments: Sequence[str] = ()
        self.spec: dict[str, Any] = {}
        self.monitor: socket | None = None
        self.ports = ports.Held()  # of this machine, which the monitor is to hold
        self.explain: str | None = None
        self.when_started: Callable[[int], object] = lambda pid: None

    @property
    def rootfs(self) -> str:
        return self.container.directory + "/rootfs"


def run(job: Launch, narrator: Narrator) -> int:
    """Do it all, with a monitor that waits already. In the foreground the exit code is the
    container's, and of the container is left what ought to be; in the background it goes on, and
    its id is printed."""
    exposure.warn(job.options)
    narrator.run(find_image, job)
    if job.attachment:
        job.attachment.hold_signals()
    narrator.run(claim, job)
    if not job.attachment:
        print(job.container.id, flush=True)
    return carry_out(job, narrator)


def create(job: Launch, narrator: Narrator) -> Container:
    """Make a container, to be started later."""
    exposure.warn(job.options)
    narrator.run(find_image, job)
    narrator.run(claim, job)
    job.state.containers.release(job.container)
    return job.container


def start_again(job: Launch, container: Container, narrator: Narrator) -> int:
    """Start a container that was made before, and is this process's now (``adopt``)."""
    from minirun.engine import launcher

    job.monitor = launcher.start_monitor()
    if job.attachment:
        job.attachment.hold_signals()
    try:
        take_up(job, container)
        container.save_state(stopped=False, restarts=0)
    except BaseException:
        job.state.containers.release(container)
        raise
    return carry_out(job, narrator)


def take_up(job: Launch, container: Container) -> None:
    """Read what the steps of another command have made."""
    job.container = container
    job.image = job.state.image(str(container.record["imageId"]))
    job.spec = read(container.path("spec.json")) or {}
    if "process" not in job.spec:
        raise StateError(f"container {container.id[:SHORT]} is damaged: spec.json")
    mounts.check(container.record.get("mounts") or [])


def carry_out(job: Launch, narrator: Narrator) -> int:
    """The steps from the files to the end. What fails is undone; what ends is cleaned up; what goes
    on is its monitor's, also if something happens to us."""
    try:
        for step in (mount_layers, write_bundle, start):
            narrator.run(step, job)
    finally:
        if job.is_ours:
            try:
                narrator.run(clean_up, job)
            except (Error, OSError) as error:  # the next command tries again: finish.settle
                warn(f"cannot clean up container {job.container.id[:SHORT]}: {error}")
        else:
            os.close(job.container.live)
    return job.exit_code


def find_image(job: Launch) -> None:
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


def claim(job: Launch) -> None:
    """Write down that this container is about to exist.

    why:    if we are killed at any later point, the next command finds this record and cleans up
    shell:  mkdir /var/lib/minirun/containers/$ID; flock -n /run/minirun/live/$ID …
    man:    flock(2)
    """
    options = job.options
    job.spec = bundling.make_config(job.image, job.arguments, options)
    if job.runtime.is_own and os.path.exists("/proc/self/ns/time"):
        job.spec["linux"]["namespaces"].append({"type": "time"})
    record = {
        "image": job.image_name,
        "imageId": job.image.id,
        "diffIds": job.image.diff_ids,
        "command": job.spec["process"]["args"],
        "runtime": job.runtime.name,
        "options": {name: value for name, value in options.items() if value not in (None, ())},
        "labels": {**image_labels(job.image), **variables.labels(options)},
        "autoRemove": bool(options.get("rm")),
        "stopSignal": stop_signal(job.image, options),
        "healthcheck": health.wanted(bundle.settings(job.image.config), options),
        **wish.plan(job.state, options, exposed_ports(job.image)),
    }
    job.container = job.state.containers.claim(options.get("name"), record)
    try:
        if options.get("cidfile"):
            write_new(options["cidfile"], job.container.id)
        mounts.apply(job.state, job.container, job.spec, job.image, options)
        write(job.container.path("spec.json"), job.spec)
        job.container.save_state(status=CREATED)
    except BaseException:
        finish.remove(job.state, job.container, volumes=True)
        raise
    events.of_container(job.state.paths, job.container, "create")


def image_labels(image: Image) -> dict[str, str]:
    found = bundle.settings(image.config).get("Labels")
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def stop_signal(image: Image, options: Mapping[str, Any]) -> int:
    wish = options.get("stop_signal")
    return bundle.signal_number(wish) if wish else bundle.stop_signal(image.config)


def exposed_ports(image: Image) -> list[str]:
    found = bundle.settings(image.config).get("ExposedPorts")
    return [str(port) for port in found] if isinstance(found, dict) else []


def write_new(path: str, text: str) -> None:
    """A file that must not be there yet: another container's ID would be lost."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise UsageError(
            f"--cidfile {path}: the file is there already",
            hint=f"make sure that its container does not run, and rm {path}",
        ) from None
    with open(fd, "w", encoding="ascii") as file:
        file.write(text)


def mount_layers(job: Launch) -> None:
    """Stack the image's layers into one directory, with an empty layer on top.

    why:    all containers share the layers below, which nobody can change; what this one writes
            goes to the layer on top. So a start copies nothing
    shell:  mount -t overlay -o lowerdir=L3:L2:L1,upperdir=upper,workdir=work overlay rootfs
    man:    https://docs.kernel.org/filesystems/overlayfs.html
    """
    lowers = job.state.lowers(job.image)
    volatile = bool(job.options.get("rm"))
    job.state.snapshots.mount(lowers, job.container.directory, volatile=volatile)


def write_bundle(job: Launch) -> None:
    """Write config.json: all that the runtime needs to know.

    why:    a bundle (config.json and rootfs) is the contract between an engine and a runtime: any
            OCI runtime can run this one
    shell:  runc spec; $EDITOR config.json
    man:    https://github.com/opencontainers/runtime-spec
    """
    spec, container = job.spec, job.container
    bundling.settle_user(spec, job.image, job.rootfs, job.options)
    files.identify(spec, container, job.options)
    job.ports = endpoints.prepare(job.state, container, spec.get("hostname", ""))
    files.make_directory(job.rootfs, spec["process"]["cwd"])
    if job.options.get("ipc") == "shareable":
        from minirun.engine import sharing

        sharing.offer_shm(spec, container)
    edits.complete(spec, job.options, container.directory, job.state.running)
    exposure.apply(spec, job.options.get("no", ()))
    if job.attachment and spec["process"].get("terminal") and (size := console_size()):
        spec["process"]["consoleSize"] = size
    bundle.write(spec, container.directory)


def start(job: Launch) -> None:
    """Give the bundle to the container's monitor, which starts the runtime on it.

    why:    making a container of a bundle is a program of its own, and an exchangeable one; and
            somebody must read what the container prints, and see it end, when we are gone
    shell:  minirun-oci --root /run/minirun/oci run --bundle DIR $ID
    man:    https://github.com/opencontainers/runtime-spec/blob/main/runtime.md
    """
    from minirun.engine import plan

    plan.send(job)
    job.is_ours = False
    connect = job.attachment.serve if job.attachment else plan.wait_until_started
    ending, code = connect(plan.connection(job), job.when_started)
    job.ending, job.exit_code = ending, code
    if job.attachment and job.attachment.out_of_memory:
        tell_of_memory(job.spec)
    job.is_ours = ending not in (wire.STARTED, wire.WATCH)
    if ending == wire.FAILED and (failure := reason(job)):
        raise failure
    if not ending:
        raise Error("the container's monitor has died", hint=f"see {job.container.directory}")


def tell_of_memory(spec: dict[str, Any]) -> None:
    limit = (spec["linux"].get("resources") or {}).get("memory", {}).get("limit")
    size = f"{limit >> 20} MiB" if limit else "of the machine"
    sys.stderr.write(f"killed by the out-of-memory killer: memory limit {size}\n")


def reason(job: Launch) -> Error | None:
    """Why a runtime has failed whose messages we do not show as they are."""
    log = f"{job.container.directory}/{LOG}"
    command = job.spec["process"]["args"][0]
    return None if job.runtime.is_own else job.runtime.failure(log, command)


def clean_up(job: Launch) -> None:
    """Unmount, and with --rm remove all that there was of the container.

    why:    what is mounted or claimed would stay for ever: nobody else knows of it
    shell:  umount rootfs; rm -r /var/lib/minirun/containers/$ID
    man:    umount(8)
    """
    from minirun.engine import plan

    if job.ending is None or job.ending:
        finish.finish(job.state, job.container, lambda: plan.wait_until_gone(job))
    else:
        finish.settle(job.state, job.container)
