"""Container Device Interface: devices that are more than a node in /dev, GPUs above all.

Who makes a device writes down, in a file in /etc/cdi or /var/run/cdi, what a container must be
given to use it: nodes, mounts of libraries, variables, hooks. A device is then named
``VENDOR/CLASS=NAME``, such as ``nvidia.com/gpu=0``, and using it is an edit of config.json like all
other flags. The files are the machine's owner's, and as trusted as its programs: hooks run as root.

https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md

Interface: is_name, apply, gpus.
"""

from __future__ import annotations

import json
import os

from minirun.engine import devices
from minirun.errors import Error, NotFound, UsageError, printable
from minirun.image import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    Document = dict[str, Any]

DIRECTORIES = ("/etc/cdi", "/var/run/cdi")  # a later one wins where both know a device
LARGEST = 16 << 20  # bytes of a file
NEWEST = (1, 1)  # of the spec's versions that we know
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
EDITS = {
    "env", "deviceNodes", "mounts", "hooks", "additionalGids", "netDevices", "intelRdt",
}  # fmt: skip
NODE = ("type", "major", "minor", "fileMode", "uid", "gid")
HOOKS = {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}


def is_name(text: str) -> bool:
    """
    >>> is_name("nvidia.com/gpu=all"), is_name("/dev/fuse"), is_name("/dev/a=b")
    (True, False, False)
    """
    kind, equals, name = text.partition("=")
    return bool(equals and name and _is_kind(kind))


def _is_kind(text: str) -> bool:
    vendor, slash, group = text.partition("/")
    return bool(slash) and all(
        part and part[0] in LETTERS and LETTERS.union("_.-").issuperset(part)
        for part in (vendor, group)
    )


def apply(spec: Document, names: Sequence[str], directories: Sequence[str] = DIRECTORIES) -> None:
    """Give the container the devices of these names. Raises NotFound for one that no file knows.

    What a file says for all of its devices is done once, however many of them are asked for.
    """
    for name in names:
        if not is_name(name):
            raise UsageError(
                f"{printable(name)[:80]!r} is no device",
                hint="/dev/NAME, or a CDI device: vendor.com/class=name",
            )
    known = load(directories)
    seen: list[Document] = []
    for name in names:
        if name not in known:
            raise NotFound(
                f"no CDI device {printable(name)[:80]} in {' or '.join(directories)}",
                hint=f"there are: {', '.join(sorted(known))}"
                if known
                else "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml writes NVIDIA's",
            )
        for edits in known[name]:
            if not any(edits is done for done in seen):
                seen.append(edits)
                edit(spec, edits, name)


def load(directories: Iterable[str]) -> dict[str, tuple[Document, Document]]:
    """``vendor/class=name`` → the edits of its file, and its own."""
    known: dict[str, tuple[Document, Document]] = {}
    for path in _files(directories):
        document = _read(path)
        kind, common = document.get("kind"), document.get("containerEdits") or {}
        listed = document.get("devices")
        if not isinstance(kind, str) or not _is_kind(kind) or not isinstance(listed, list):
            raise Error(f"{path}: not a CDI file: it needs a kind (vendor/class) and devices")
        for device in listed:
            name = device.get("name") if isinstance(device, dict) else None
            if not isinstance(name, str) or not name:
                raise Error(f"{path}: a device has no name")
            known[f"{kind}={name}"] = common, device.get("containerEdits") or {}
    return known


def _files(directories: Iterable[str]) -> Iterator[str]:
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:
            continue
        yield from (f"{directory}/{name}" for name in names if name.endswith((".json", ".yaml")))


def _read(path: str) -> Document:
    """The document in a file, if it is of a version that we know: a newer one may mean more."""
    from minirun.engine import yaml

    with open(path, encoding="utf-8") as file:
        text = file.read(LARGEST)
    try:
        document = yaml.loads(text) if path.endswith(".yaml") else json.loads(text)
    except ValueError as error:
        hint = "nvidia-ctk cdi generate --format=json --output=/etc/cdi/nvidia.json"
        raise Error(f"{path}: cannot be understood: {error}", hint=hint) from None
    version = document.get("cdiVersion") if isinstance(document, dict) else None
    numbers = version.split(".")[:2] if isinstance(version, str) else []
    if len(numbers) < 2 or not all(n.isdecimal() for n in numbers):
        raise Error(f"{path}: not a CDI file: it has no cdiVersion")
    if tuple(map(int, numbers)) > NEWEST:
        raise Error(f"{path}: CDI {version} is newer than what minirun knows")
    return dict(document)


def edit(spec: Document, edits: Document, name: str) -> None:
    """Make the edits of one device, or those that its file makes for all (SPEC.md, "OCI Edits")."""
    unknown = set(edits) - EDITS
    if unknown or edits.get("intelRdt"):
        what = min(unknown) if unknown else "intelRdt"
        raise UsageError(f"CDI device {name}: asks for {what}, which minirun cannot do")
    try:
        for variable in edits.get("env") or ():
            bundle.set_variable(spec, variable)
        for node in edits.get("deviceNodes") or ():
            _node(spec, node)
        for mount in edits.get("mounts") or ():
            _mount(spec, mount)
        for hook in edits.get("hooks") or ():
            _hook(spec, hook)
        for device in edits.get("netDevices") or ():
            moved = spec["linux"].setdefault("netDevices", {})
            moved[device["hostInterfaceName"]] = {"name": device["name"]}
        groups = spec["process"]["user"].setdefault("additionalGids", [])
        groups += [gid for gid in edits.get("additionalGids") or () if gid and gid not in groups]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Error(f"CDI device {name}: its file does not follow the spec") from None


def _node(spec: Document, node: Document) -> None:
    """A device node; what the file leaves out is as it is on the host."""
    path = node.get("hostPath") or node["path"]
    found = {**(devices.describe(path) or {}), **{key: node[key] for key in NODE if key in node}}
    if "major" not in found:
        raise NotFound(f"CDI: no such device: {printable(path)}")
    devices.add(spec, {**found, "path": node["path"]}, node.get("permissions") or "rwm")


def _mount(spec: Document, mount: Document) -> None:
    spec["mounts"].append(
        {
            "destination": mount["containerPath"],
            "type": mount.get("type") or "bind",
            "source": mount["hostPath"],
            "options": mount.get("options") or ["rbind", "ro"],
        }
    )


def _hook(spec: Document, hook: Document) -> None:
    kind = hook["hookName"]
    if kind not in HOOKS:
        raise ValueError(kind)
    wanted = {key: hook[key] for key in ("path", "args", "env", "timeout") if key in hook}
    spec.setdefault("hooks", {}).setdefault(kind, []).append(wanted)


def gpus(spec: Document, text: str) -> None:
    """``--gpus all``, ``2``, ``device=0,1``: by the CDI devices of class ``gpu``."""
    apply(spec, chosen(text, load(DIRECTORIES)))


def chosen(text: str, known: Iterable[str]) -> list[str]:
    """The names of the devices that ``--gpus text`` means, of those that are known.

    Docker's own way is a request to NVIDIA's runtime hook, with capabilities and drivers; this is
    its successor, which other makers have too (amd.com/gpu).
    """
    kinds = sorted({name.partition("=")[0] for name in known if _class(name) == "gpu"})
    if not kinds:
        raise NotFound(
            f"--gpus: no file in {' or '.join(DIRECTORIES)} describes a GPU",
            hint="nvidia-ctk cdi generate --format=json --output=/etc/cdi/nvidia.json",
        )
    kind = "nvidia.com/gpu" if "nvidia.com/gpu" in kinds else kinds[0]
    fields = dict(_field(part) for part in _parts(text))
    unknown = set(fields) - {"device", "count", "driver", "capabilities"}
    if unknown:
        raise UsageError(f"--gpus: {printable(min(unknown))[:40]} is unknown")
    if "device" in fields:
        return [f"{kind}={name}" for name in fields["device"].split(",")]
    if fields.get("count", "all") in ("all", "-1"):
        return [f"{kind}=all"]
    numbered = sorted(n for n in known if n.startswith(f"{kind}=") and n.split("=")[1].isdecimal())
    if not fields["count"].isdecimal() or not 0 < int(fields["count"]) <= len(numbered):
        raise UsageError(f"--gpus {printable(text)[:40]}: there are {len(numbered)}")
    return numbered[: int(fields["count"])]


def _class(name: str) -> str:
    return name.partition("=")[0].partition("/")[2]


def _parts(text: str) -> Iterator[str]:
    """Fields in CSV, as Docker reads them: ``"device=0,1",capabilities=utility``.

    >>> list(_parts('"device=0,1",driver=nvidia')), list(_parts("all")), list(_parts("device=0"))
    (['device=0,1', 'driver=nvidia'], ['all'], ['device=0'])
    """
    import csv

    return iter(next(csv.reader([text]), []))


def _field(part: str) -> tuple[str, str]:
    name, equals, value = part.strip("'\"").partition("=")
    return (name, value) if equals else ("count", name)
