"""Images for the tests, made by other people's tools: umoci, mmdebstrap and skopeo.

``layout(name)`` gives an OCI image layout whose one image is tagged ``latest``; skopeo knows it as
``oci:PATH:latest``. Each is built once a machine and kept in ``CACHE``, outside the tree:

    busybox         one gzip layer, 1 MB: every applet of busybox-static, root and a user in passwd
    debian          one gzip layer, about 60 MB: Debian's (or Ubuntu's) minbase by mmdebstrap
    debian-zstd     the same, compressed with zstd
    services        Debian's minbase with redis-server and python3
    multi           an index: busybox for linux/amd64, linux/arm64/v8 and linux/arm/v7
    pause           catatonit -P, which only waits: what holds the namespaces of a Kubernetes pod
    layers30        30 layers: busybox, then 29 that add a file, replace one and delete one

The architectures in ``multi`` hold the same files with another name on the label: enough to see
which one was chosen (``/etc/architecture`` says it), and the amd64 one runs.
"""

import fcntl
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("MINIRUN_TEST_CACHE", "/var/cache/minirun-tests"))
VERSION = "1"  # part of every cached path: another recipe, another number

ARCHITECTURES = {"amd64": None, "arm64": "v8", "arm": "v7"}
PASSWD = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\n"
GROUP = "root:x:0:\nada:x:1000:\nanalysts:x:2000:ada\n"


def layout(name: str) -> Path:
    """The layout of image ``name``: built now if it never was; two processes build it once."""
    target = CACHE / f"{name}-{VERSION}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / f".{name}.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                BUILDERS[name](Path(scratch))
                (Path(scratch) / "layout").rename(target)
    return target


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: object, **options) -> str:
    """Run a tool; its standard output. What it says on standard error is shown if it fails."""
    done = subprocess.run(list(map(str, command)), check=False, text=True, capture_output=True,
                          **options)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr or done.stdout}")
    return done.stdout


# --- the images -----------------------------------------------------------------------------


def build_busybox(scratch: Path, *, architecture: str | None = None) -> None:
    architecture = architecture or machine()
    make(scratch, busybox_entries(architecture), "--architecture", architecture,
         "--config.env", "PATH=/bin", "--config.cmd", "/bin/sh",
         "--config.label", "org.example.made-by=minirun-tests")


def make(scratch: Path, entries: list["Entry"], *options: str) -> Path:
    """A layout with an image of one layer, for tests that want files of their own in it.

    ``options`` are those of umoci-config(1): "--config.user", "ada", ...
    """
    write_tar(scratch / "layer.tar", entries)
    configure(new_image(scratch, "layout", scratch / "layer.tar"), *options)
    return scratch / "layout"


def build_debian(scratch: Path, *packages: str) -> None:
    tar = scratch / "layer.tar"
    run("mmdebstrap", "--variant=minbase", "--mode=root", *(f"--include={p}" for p in packages),
        suite(), tar, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
    configure(new_image(scratch, "layout", tar), "--architecture", machine(),
              "--config.cmd", "/bin/bash")


def build_services(scratch: Path) -> None:
    build_debian(scratch, "redis-server", "python3", "procps")


def build_debian_zstd(scratch: Path) -> None:
    run("skopeo", "copy", "--dest-compress-format", "zstd",
        f"oci:{layout('debian')}:latest", f"oci:{scratch}/layout:latest")


def build_multi(scratch: Path) -> None:
    """One layout a platform, their blobs put together under one index."""
    target = scratch / "layout"
    manifests = []
    for architecture, variant in ARCHITECTURES.items():
        one = scratch / architecture
        one.mkdir()
        build_busybox(one, architecture=architecture)
        descriptor = json.loads((one / "layout/index.json").read_text())["manifests"][0]
        descriptor.pop("annotations")
        descriptor["platform"] = {"architecture": architecture, "os": "linux"}
        if variant:
            descriptor["platform"]["variant"] = variant
        manifests.append(descriptor)
        shutil.copytree(one / "layout", target, dirs_exist_ok=True)
    index = {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    tag_document(target, {"schemaVersion": 2, **index})


def build_pause(scratch: Path) -> None:
    program = Path(shutil.which("catatonit") or "/usr/libexec/podman/catatonit").read_bytes()
    make(scratch, [file("pause", program, 0o755)], "--architecture", machine(),
         "--config.entrypoint", "/pause", "--config.entrypoint", "-P")


def build_layers30(scratch: Path) -> None:
    """Each layer after the first adds its own file, writes ``latest`` anew, deletes its elder's."""
    build_busybox(scratch)
    for number in range(1, 30):
        entries = [directory("layers"), file(f"layers/{number}", str(number)),
                   file("layers/latest", str(number))]
        if number > 1:
            entries.append(file(f"layers/.wh.{number - 1}", ""))
        write_tar(scratch / "layer.tar", entries)
        add_layer(f"{scratch}/layout:latest", scratch / "layer.tar")


BUILDERS: dict[str, Callable[[Path], None]] = {
    "busybox": build_busybox,
    "debian": build_debian,
    "debian-zstd": build_debian_zstd,
    "services": build_services,
    "multi": build_multi,
    "pause": build_pause,
    "layers30": build_layers30,
}


# --- the tools ------------------------------------------------------------------------------


def new_image(scratch: Path, name: str, *layers: Path) -> str:
    """A new layout with the layer tars in it, oldest first; what umoci calls it."""
    image = f"{scratch}/{name}:latest"
    run("umoci", "init", "--layout", scratch / name)
    run("umoci", "new", "--image", image)
    for layer in layers:
        add_layer(image, layer)
    return image


def add_layer(image: str, tar: Path) -> None:
    run("umoci", "raw", "add-layer", "--image", image, tar)


def configure(image: str, *options: str) -> None:
    run("umoci", "config", "--image", image, "--os", "linux", *options)


def tag_document(target: Path, document: dict) -> None:
    """Put a manifest or an index into a layout, as its one tag."""
    data = json.dumps(document).encode()
    digest = hashlib.sha256(data).hexdigest()
    (target / "blobs/sha256" / digest).write_bytes(data)
    descriptor = {"mediaType": document["mediaType"], "digest": f"sha256:{digest}",
                  "size": len(data),
                  "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))


def suite() -> str:
    """The release this machine runs: the one whose keys it surely has."""
    return platform.freedesktop_os_release()["VERSION_CODENAME"]


def machine() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


# --- what is inside busybox -----------------------------------------------------------------


Entry = tuple[tarfile.TarInfo, bytes]


def directory(name: str, mode: int = 0o755, owner: int = 0) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, owner, owner
    return info, b""


def file(name: str, content: str | bytes, mode: int = 0o644) -> Entry:
    data = content.encode() if isinstance(content, str) else content
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, 1_700_000_000
    return info, data


def symlink(name: str, target: str) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


def busybox_entries(architecture: str) -> list[Entry]:
    busybox = shutil.which("busybox") or "/bin/busybox"
    applets = [a for a in run(busybox, "--list").split() if a != "busybox"]
    return [
        *(directory(name) for name in ("bin", "dev", "etc", "home", "proc", "sys", "var")),
        directory("root", 0o700), directory("tmp", 0o1777), directory("home/ada", owner=1000),
        file("bin/busybox", Path(busybox).read_bytes(), 0o755),
        *(symlink(f"bin/{applet}", "busybox") for applet in applets),
        file("etc/passwd", PASSWD), file("etc/group", GROUP),
        file("etc/architecture", f"{architecture}\n"),
        file("etc/os-release", 'ID=busybox\nNAME="busybox of the tests"\n'),
    ]


def write_tar(path: Path, entries: list[Entry]) -> None:
    with tarfile.open(path, "w") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
