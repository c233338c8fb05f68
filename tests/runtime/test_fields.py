"""No field of the runtime spec is forgotten, and documents are judged as its JSON schemas judge.

The schemas and documents are public test data that lies beside the project: see its README.
"""

import copy
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from minirun import document
from minirun.errors import SpecError
from minirun.runtime import fields, schema, spec
from tests.runtime.bundles import REPOSITORY, default_config

DATA = REPOSITORY.parent / "shared/testdata/runtime-spec"
if not DATA.is_dir():
    pytest.skip(f"no schemas in {DATA}", allow_module_level=True)
OTHER_SYSTEMS = ("solaris", "windows", "vm", "zos", "freebsd")


def read(name: str) -> dict:
    return json.loads((DATA / name).read_text())


def resolved(node: dict, file: str) -> tuple[dict, str]:
    """The schema that a node is or refers to, and the file it lies in."""
    while "$ref" in node:
        name, _, pointer = node["$ref"].partition("#")
        file = name or file
        node = read(file)
        for word in pointer.strip("/").split("/"):
            node = node[word]
    return node, file


def parts(node: dict, file: str) -> Iterator[tuple[str, dict, str]]:
    """(what to add to the place, schema, its file) for all that a value of this schema holds."""
    for part in (*node.get("allOf", ()), *node.get("anyOf", ())):
        yield from parts(*resolved(part, file))
    for name, part in node.get("properties", {}).items():
        yield "." + name, *resolved(part, file)
    if "items" in node:
        yield "[]", *resolved(node["items"], file)
    for part in (node.get("additionalProperties"), *node.get("patternProperties", {}).values()):
        if part:
            yield ".*", *resolved(part, file)


def leaves(node: dict, file: str, place: str = "") -> Iterator[tuple[str, dict, str]]:
    """(place, schema, file) of each field that holds no other: "linux.devices[].path"."""
    inner = list(parts(node, file))
    for suffix, part, its_file in inner:
        yield from leaves(part, its_file, (place + suffix).lstrip("."))
    if not inner:
        yield place, node, file


FIELDS = sorted(
    leaf
    for leaf in leaves(read("config-schema.json"), "config-schema.json")
    if leaf[0].split(".")[0] not in OTHER_SYSTEMS
)
PLACES = [place for place, _, _ in FIELDS]


def test_the_walk_finds_all_fields():
    assert len(PLACES) > 150 and len(set(PLACES)) == len(PLACES)
    assert {"ociVersion", "linux.resources.rdma.*.hcaObjects", "mounts[].options[]"} <= {*PLACES}


EXAMPLES = {  # where the first value that the schema allows is none that we do
    "process.cwd": "/", "process.env[]": "A=b", "root.path": "rootfs", "ociVersion": "1.3.0",
    "process.rlimits[].type": "RLIMIT_AS", "mounts[].destination": "/x", "hooks.*[].path": "/x",
    "hooks.*[].env[]": "A=b", "linux.namespaces[].path": "/x", "linux.devices[].type": "c",
    "linux.devices[].path": "/x", "linux.maskedPaths[]": "/x", "linux.readonlyPaths[]": "/x",
    "linux.resources.hugepageLimits[].pageSize": "2MB", "linux.intelRdt.memBwSchema": "MB:",
    "process.execCPUAffinity.initial": "0", "process.execCPUAffinity.final": "0",
}  # fmt: skip


def whole(node: dict, file: str, place: str = "") -> object:
    """A value of this schema in which no field is left out."""
    value: object = None
    for suffix, part, its_file in parts(node, file):
        member = whole(part, its_file, (place + suffix).lstrip("."))
        if suffix == "[]":
            return [member]
        value = (value or {}) | {"x" if suffix == ".*" else suffix[1:]: member}
    if value is not None:
        return value
    general = re.sub(r"^hooks\.\w+", "hooks.*", place)
    if general in EXAMPLES:
        return EXAMPLES[general]
    first = {"string": "x", "boolean": True, "integer": 1, "object": {}}
    return node.get("enum", [first[node["type"]]])[0]


WHOLE = {
    name: value
    for name, value in whole(read("config-schema.json"), "config-schema.json").items()
    if name not in OTHER_SYSTEMS
}


def holders(place: str, table: dict) -> list[str]:
    """The entries of a table that speak of this field, the most special one last."""
    found = [entry for entry in table if re.match(re.escape(entry) + r"(?![A-Za-z])", place)]
    return sorted(found, key=len)


def source_of(name: str) -> str:
    """The source of "module.function" below minirun.runtime, or else below minirun."""
    for package in ("minirun.runtime", "minirun"):
        words = name.split(".")
        for end in range(len(words) - 1, 0, -1):
            try:
                found = importlib.import_module(".".join([package, *words[:end]]))
            except ModuleNotFoundError:
                continue
            for word in words[end:]:
                found = getattr(found, word)
            return inspect.getsource(found)
    raise AssertionError(f"no function {name}")


@pytest.mark.parametrize("place", PLACES)
def test_every_field_is_honoured_or_refused(place):
    """The function that the table names exists, and speaks of the field by its name."""
    refused = holders(place, spec.REFUSED)
    honoured = holders(place, fields.HONOURED)
    assert bool(refused) != bool(honoured), "in exactly one of the two tables"
    if not honoured or not fields.HONOURED[honoured[-1]]:
        return
    entry = honoured[-1]
    source = "".join(map(source_of, fields.HONOURED[entry].split()))
    for word in re.findall(r"\w+", place.removeprefix(entry)) or re.findall(r"\w+", place)[-1:]:
        assert re.search(rf"\b{word}\b", source), f"{word} is not in {fields.HONOURED[entry]}"


def test_the_tables_name_no_field_that_the_spec_has_not():
    known = [*PLACES, *OTHER_SYSTEMS]
    for entry in (*fields.HONOURED, *spec.REFUSED):
        assert any(holders(place, {entry: 0}) for place in known), entry


@pytest.mark.parametrize("field", spec.REFUSED)
def test_what_is_refused_is_refused_by_its_name(field):
    config, whole = default_config(), WHOLE
    place, (*parents, name) = config, field.split(".")
    for parent in parents:
        place, whole = place.setdefault(parent, {}), whole[parent]
    place |= {key: value for key, value in whole.items() if key in (name, "domain")} or {name: {}}
    why = f"^{re.escape(field)}: is {re.escape(spec.REFUSED[field])}"
    with pytest.raises(SpecError, match=why):
        spec.check(config)


# the documents


DOCUMENTS = sorted(DATA.glob("test/*/*/*.json"))
NAMED = {  # what is wrong with the bad ones
    "freebsd-vnet-disable": "freebsd.jail.vnet: expected one of new, inherit, got 'disable'",
    "invalid-json": "not JSON",
    "linux-hugepage": "linux.resources.hugepageLimits[0].pageSize: expected a size",
    "linux-netdevice": "linux.netDevices.eth0.name: expected a string, got 23",
    "linux-rdma": "linux.resources.rdma.mlx5_1.hcaHandles: expected an integer",
    "missing-ociVersionMax": "'ociVersionMax' is a required property",
}


@cache
def validator(name: str):
    jsonschema = pytest.importorskip("jsonschema")
    base = f"{DATA.as_uri()}/"
    store = {base + path.name: read(path.name) for path in DATA.glob("*.json")}
    whole = read(name)
    with pytest.warns(DeprecationWarning):
        resolver = jsonschema.RefResolver(base + name, whole, store)
    return jsonschema.Draft4Validator(whole, resolver=resolver)


def judge(path: Path) -> None:
    """SpecError, or jsonschema's error: config documents by our own table, the others by theirs."""
    value = document.loads(path.read_bytes(), path.name)
    kind = path.parts[-3]
    if kind == "config":
        schema.CONFIG(value, "")
    else:
        validator(f"{kind}-schema.json").validate(value)


def test_there_are_nineteen_documents():
    assert len(DOCUMENTS) == 19


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: "/".join(path.parts[-3:]))
def test_documents_are_judged_as_the_schema_says(path):
    if path.parent.name == "good":
        judge(path)
        return
    with pytest.raises(Exception, match=re.escape(NAMED[path.stem])):
        judge(path)


def test_a_bundle_with_such_a_document(ours):
    """The same words from the command line."""
    for path in DATA.glob("test/config/bad/*.json"):
        (ours.directory / "config.json").write_bytes(path.read_bytes())
        done = ours.oci("create", ours.id)
        assert done.returncode == 125 and NAMED[path.stem] in done.stderr
        assert ours.listed() == []




# every field against the schema


SAMPLES = (
    "x", "", 0, 1, -1, 7, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, True, 1.5, [], {}, ["x"],
    {"x": "y"}, "/x", "a=b", "MB:1", "1-3", "2MB", "CAP_KILL", "pid", "c", [1], [{}],
)  # fmt: skip
# Where our table says no and the schema yes: the spec's text or the kernel says no as well.
STRICTER = (
    "process.env[]", "process.cwd", "process.user.uid", "process.user.gid",
    "process.user.additionalGids[]", "process.oomScoreAdj", "process.ioPriority.priority",
    "root.path", "mounts[].destination", "linux.namespaces[].path", "linux.devices[].path",
    "linux.devices[].major", "linux.devices[].minor", "linux.maskedPaths[]",
    "linux.readonlyPaths[]", "linux.netDevices.*.name",
    "linux.seccomp.defaultErrnoRet", "linux.seccomp.syscalls[].errnoRet",
    "linux.seccomp.syscalls[].args[].index", "hooks.*[].path", "hooks.*[].env[]",
    "hooks.*[].timeout",
)  # fmt: skip
# Where ours says yes and the schema no: it is checked elsewhere, or callers of runtimes send it.
LAXER = (
    "process.rlimits[].type",  # spec.py has the names
    "linux.resources.pids.limit",  # an empty object sets no limit, for runc too
    "linux.devices[].fileMode",  # Docker sends the bits of the file's type with it
)


# What the schema can do without, and the spec's text not.
REQUIRED = (
    "linux.memoryPolicy.mode", "linux.personality.domain",
    *(f"linux.resources.blockIO.throttle{kind}Device[].rate"
      for kind in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")),
)  # fmt: skip


def refusal(value: dict) -> str | None:
    try:
        schema.CONFIG(value, "")
    except SpecError as error:
        return error.message
    return None


def test_a_config_with_every_field_is_good():
    validator("config-schema.json").validate(WHOLE)
    assert refusal(WHOLE) is None


@pytest.mark.parametrize("place", PLACES)
def test_every_field_is_judged_as_the_schema_says(place):
    """By values of all kinds; what is refused is refused by its name."""
    official = validator("config-schema.json")
    config = copy.deepcopy(WHOLE)
    words = re.findall(r"\[\]|[^.\[\]]+", place)
    *parents, last = [0 if word == "[]" else "x" if word == "*" else word for word in words]
    holder: Any = config
    for word in parents:
        holder = holder[word]
    name = place.replace("[]", "[0]").replace("*", "x")
    general = re.sub(r"^hooks\.\w+", "hooks.*", place)
    if isinstance(last, str) and last != "x":
        kept = holder.pop(last)
        refused = refusal(config)
        if place not in LAXER:
            assert bool(refused) == (place in REQUIRED or not official.is_valid(config)), refused
        assert refused is None or refused == f"{name}: is required"
        holder[last] = kept
    for holder[last] in SAMPLES:
        refused = refusal(config)
        assert refused is None or refused.startswith(name), refused
        if bool(refused) != (not official.is_valid(config)):
            assert general in (STRICTER if refused else LAXER), (holder[last], refused)
