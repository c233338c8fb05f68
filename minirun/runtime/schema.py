"""What a config.json may look like: the runtime-spec's schema for Linux as a Python table.

A table is made of checks: functions that take a value and its place ("linux.resources.pids.limit")
and raise ``SpecError`` naming the place. ``null`` counts as absent, as it does in the runtimes
written in Go, whose callers send it. Properties that the table doesn't know are ignored, as the
spec (config.md, "Extensibility") demands.

Interface: CONFIG. What depends on more than one field is checked in spec.py.
"""

from __future__ import annotations

from minirun.errors import SpecError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Check = Callable[[Any, str], None]


def wrong(place: str, expected: str, value: object) -> SpecError:
    shown = printable(repr(value))
    return SpecError(f"{place}: expected {expected}, got {shown[:60]}")


def text(value: Any, place: str) -> None:
    if not isinstance(value, str):
        raise wrong(place, "a string", value)
    if "\0" in value:
        raise SpecError(f"{place}: contains a zero byte")


def boolean(value: Any, place: str) -> None:
    if not isinstance(value, bool):
        raise wrong(place, "true or false", value)


def integer(low: int, high: int) -> Check:
    def check(value: Any, place: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise wrong(place, f"an integer from {low} to {high}", value)

    return check


def one_of(*words: str) -> Check:
    def check(value: Any, place: str) -> None:
        if value not in words:
            raise wrong(place, f"one of {', '.join(words)}", value)

    return check


def name_in(module: str, table: str) -> Check:
    """A key of a table of the module that honours the field, which only then is imported."""

    def check(value: Any, place: str) -> None:
        module_here = __import__(f"minirun.runtime.{module}", fromlist=(table,))
        one_of(*getattr(module_here, table))(value, place)

    return check


def filled(value: Any, place: str) -> None:
    text(value, place)
    if not value:
        raise SpecError(f"{place}: is empty")


def absolute(value: Any, place: str) -> None:
    text(value, place)
    if not value.startswith("/"):
        raise wrong(place, "an absolute path", value)


def variable(value: Any, place: str) -> None:
    text(value, place)
    if value.find("=") < 1:
        raise wrong(place, "NAME=value", value)


def cpu_list(value: Any, place: str) -> None:
    text(value, place)
    if value.strip("0123456789, -"):
        raise wrong(place, "a list such as 0-3,7", value)


def bandwidth(value: Any, place: str) -> None:
    text(value, place)
    if not value.startswith("MB:") or "\n" in value:
        raise wrong(place, "one line that begins with MB:", value)


def array(item: Check, least: int = 0) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, list):
            raise wrong(place, "an array", value)
        if len(value) < least:
            raise SpecError(f"{place}: is empty")
        for index, member in enumerate(value):
            item(member, f"{place}[{index}]")

    return check


def mapping(item: Check) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise wrong(place, "an object", value)
        for key, member in value.items():
            text(key, f"{place}: a name")
            item(member, f"{place}.{printable(key)}")

    return check


def record(required: str = "", /, **fields: Check) -> Check:
    """An object of these fields. A name that is a word of Python is written with a ``_`` behind."""
    names = {name.rstrip("_"): check for name, check in fields.items()}
    needed = required.split()

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise wrong(place or "config.json", "an object", value)
        prefix = f"{place}." if place else ""
        for name in needed:
            if value.get(name) is None:
                raise SpecError(f"{prefix}{name}: is required")
        for name, member in value.items():
            if name in names and member is not None:
                names[name](member, prefix + name)

    return check


def page_size(value: Any, place: str) -> None:
    """^[1-9][0-9]*[KMG]B$"""
    text(value, place)
    digits = value[:-2]
    if value[-2:] not in ("KB", "MB", "GB") or not digits.isdecimal() or digits[0] == "0":
        raise wrong(place, "a size such as 2MB", value)


def interface(value: Any, place: str) -> None:
    """The name of a network interface (dev_valid_name in the kernel)."""
    filled(value, place)
    if len(value) > 15 or value in (".", "..") or any(c in "/: \t\n" for c in value):
        raise wrong(place, "the name of a network interface", value)


def network_devices(value: Any, place: str) -> None:
    mapping(record(name=interface))(value, place)
    for name in value:
        interface(name, place)


uint16 = integer(0, 2**16 - 1)
uint32 = integer(0, 2**32 - 1)
uint64 = integer(0, 2**64 - 1)
user_id = integer(0, 2**32 - 2)  # the highest number means "leave it as it is" to setresuid(2)
int32 = integer(-(2**31), 2**31 - 1)
int64 = integer(-(2**63), 2**63 - 1)
positive = integer(1, 2**32 - 1)
strings = array(text)

ID_MAPPINGS = array(
    record("containerID hostID size", containerID=uint32, hostID=uint32, size=uint32)
)
HOOK_KINDS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
HOOKS = array(record("path", path=absolute, args=strings, env=array(variable), timeout=positive))
CAPABILITIES = record(
    bounding=strings, effective=strings, permitted=strings, inheritable=strings, ambient=strings
)

PROCESS = record(
    "cwd",
    terminal=boolean,
    consoleSize=record("height width", height=uint64, width=uint64),
    cwd=absolute,
    env=array(variable),
    args=strings,
    rlimits=array(record("type soft hard", type=text, soft=uint64, hard=uint64)),
    apparmorProfile=text,
    selinuxLabel=text,
    capabilities=CAPABILITIES,
    noNewPrivileges=boolean,
    oomScoreAdj=integer(-1000, 1000),
    scheduler=record(
        "policy", policy=name_in("scheduling", "POLICIES"), nice=int32, priority=int32,
        flags=array(name_in("scheduling", "FLAGS")), runtime=uint64, deadline=uint64,
        period=uint64,
    ),
    ioPriority=record(
        "class", class_=name_in("scheduling", "IO_CLASSES"), priority=integer(0, 7)
    ),
    execCPUAffinity=record(initial=cpu_list, final=cpu_list),
    commandLine=text,
    user=record(
        uid=user_id, gid=user_id, umask=uint32, additionalGids=array(user_id), username=text
    ),
)  # fmt: skip

THROTTLE = array(record("major minor rate", major=int64, minor=int64, rate=uint64))
RESOURCES = record(
    unified=mapping(text),
    devices=array(
        record("allow", allow=boolean, type=text, major=int64, minor=int64, access=text)
    ),
    pids=record(limit=int64),
    memory=record(
        limit=int64, reservation=int64, swap=int64, kernel=int64, kernelTCP=int64,
        swappiness=uint64, disableOOMKiller=boolean, useHierarchy=boolean,
        checkBeforeUpdate=boolean,
    ),
    cpu=record(
        shares=uint64, quota=int64, burst=uint64, period=uint64, realtimeRuntime=int64,
        realtimePeriod=uint64, cpus=text, mems=text, idle=int64,
    ),
    blockIO=record(
        weight=uint16,
        leafWeight=uint16,
        weightDevice=array(
            record("major minor", major=int64, minor=int64, weight=uint16, leafWeight=uint16)
        ),
        throttleReadBpsDevice=THROTTLE,
        throttleWriteBpsDevice=THROTTLE,
        throttleReadIOPSDevice=THROTTLE,
        throttleWriteIOPSDevice=THROTTLE,
    ),
    hugepageLimits=array(record("pageSize limit", pageSize=page_size, limit=uint64)),
    network=record(
        classID=uint32, priorities=array(record("name priority", name=text, priority=uint32))
    ),
    rdma=mapping(record(hcaHandles=uint32, hcaObjects=uint32)),
)  # fmt: skip

ACTION = name_in("seccomp", "ACTIONS")
ERRNO = integer(0, 4095)  # MAX_ERRNO
SECCOMP = record(
    "defaultAction",
    defaultAction=ACTION,
    defaultErrnoRet=ERRNO,
    architectures=array(name_in("syscalls", "ARCHITECTURES")),
    flags=array(name_in("seccomp", "FLAGS")),
    listenerPath=text,
    listenerMetadata=text,
    syscalls=array(
        record(
            "names action",
            names=array(text, least=1),
            action=ACTION,
            errnoRet=ERRNO,
            args=array(
                record(
                    "index value op", index=integer(0, 5), value=uint64, valueTwo=uint64,
                    op=name_in("bpf", "OPERATORS"),
                )
            ),
        )
    ),
)  # fmt: skip

PROPAGATIONS = tuple(
    prefix + word for prefix in ("", "r") for word in ("private", "shared", "slave", "unbindable")
)
LINUX = record(
    namespaces=array(
        record(
            "type",
            type=name_in("spec", "NAMESPACES"),
            path=absolute,
        )
    ),
    uidMappings=ID_MAPPINGS,
    gidMappings=ID_MAPPINGS,
    timeOffsets=mapping(record(secs=int64, nanosecs=uint32)),
    devices=array(
        record(
            "type path", type=one_of("b", "c", "u", "p"), path=absolute,
            major=integer(0, 2**12 - 1), minor=integer(0, 2**20 - 1),  # of dev_t: linux/kdev_t.h
            fileMode=uint32, uid=uint32, gid=uint32,
        )
    ),
    netDevices=network_devices,
    cgroupsPath=text,
    resources=RESOURCES,
    sysctl=mapping(text),
    seccomp=SECCOMP,
    rootfsPropagation=one_of(*PROPAGATIONS),
    maskedPaths=array(absolute),
    readonlyPaths=array(absolute),
    mountLabel=text,
    intelRdt=record(
        closID=text, schemata=strings, l3CacheSchema=text, memBwSchema=bandwidth,
        enableMonitoring=boolean,
    ),
    personality=record("domain", domain=name_in("execute", "DOMAINS"), flags=strings),
    memoryPolicy=record(
        "mode", mode=name_in("scheduling", "MEMORY_MODES"), nodes=text,
        flags=array(name_in("scheduling", "MEMORY_FLAGS")),
    ),
)  # fmt: skip

JAIL_SHARING = one_of("disable", "new", "inherit")
JAIL_SHARING_OR_NEW = one_of("new", "inherit")
FREEBSD = record(  # judged, but refused by spec.py as all that is for other systems
    devices=array(record(path=text, mode=integer(0, 0o777))),
    jail=record(
        parent=text, host=JAIL_SHARING_OR_NEW, ip4=JAIL_SHARING, ip4Addr=strings,
        ip6=JAIL_SHARING, ip6Addr=strings, vnet=JAIL_SHARING_OR_NEW, interface=text,
        vnetInterfaces=strings, sysvmsg=JAIL_SHARING, sysvsem=JAIL_SHARING, sysvshm=JAIL_SHARING,
        enforceStatfs=integer(0, 255),
        allow=record(
            setHostname=boolean, rawSockets=boolean, chflags=boolean, mount=strings,
            quotas=boolean, socketAf=boolean, mlock=boolean, reservedPorts=boolean, suser=boolean,
        ),
    ),
)  # fmt: skip

CONFIG = record(
    "ociVersion",
    ociVersion=text,
    root=record("path", path=filled, readonly=boolean),
    hostname=text,
    domainname=text,
    process=PROCESS,
    mounts=array(
        record(
            "destination", destination=filled, source=text, type=text, options=strings,
            uidMappings=ID_MAPPINGS, gidMappings=ID_MAPPINGS,
        )
    ),
    hooks=record(**dict.fromkeys(HOOK_KINDS, HOOKS)),
    annotations=mapping(text),
    linux=LINUX,
    freebsd=FREEBSD,
)  # fmt: skip
