"""The limits of ``linux.resources``: set on a cgroup, and changed while its processes run.

v1.py, v2.py and devices.py decide what is to be written where; this writes it. A limit that cannot
be set is an error that names it: no container runs with fewer limits than it was given.

Interface: apply, update, controllers.
"""

from __future__ import annotations

from errno import EINVAL

from minirun import linux
from minirun.errors import Error, StateError
from minirun.idmap import is_root_of_machine
from minirun.runtime.cgroup import CONTROLLER, devices, files, v1, v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.runtime.cgroup import Cgroup

    Resources = dict[str, Any]
    Setting = tuple[str, str, str]  # controller, file, value

# Values that mean something only together: who changes one of a pair keeps the other.
PAIRS = (("memory", "limit", "swap"), ("cpu", "quota", "period"))

# Where 0 is a value, and not a way to say nothing.
ZEROES = (("pids", "limit"), ("memory", "swappiness"), ("cpu", "idle"), ("cpu", "burst"))


def controllers(cgroup: Cgroup, resources: Resources) -> set[str]:
    """The controllers whose files would be written to, device rules aside."""
    return {controller for controller, _, _ in _settings(cgroup, resources)}


def apply(cgroup: Cgroup, resources: Resources) -> None:
    """Set the limits.

    Some values are legal only after another one has changed, such as a memory limit above the
    old limit of memory and swap: what the kernel finds invalid is tried once more at the end.
    """
    settings = _settings(cgroup, resources)
    again = [setting for setting in settings if not _set(cgroup, *setting)]
    for setting in again:
        _set(cgroup, *setting, last=True)
    if rules := resources.get("devices"):
        _limit_devices(cgroup, rules)


def update(cgroup: Cgroup, now: Resources, wanted: Resources) -> Resources:
    """Change limits from those that hold ``now``; returns those that hold then.

    What ``wanted`` does not name stays. When one limit cannot be set, the others are put back.
    """
    changes = {section: values for section, values in wanted.items() if values is not None}
    if changes.get("devices") == now.get("devices"):
        changes.pop("devices", None)  # callers send the whole list along
    for section, *pair in PAIRS:
        given = {key for key in pair if (changes.get(section) or {}).get(key)}
        if len(given) == 1 and (changes[section].get("limit") != -1):
            old = {key: value for key, value in (now.get(section) or {}).items() if key in pair}
            changes[section] = {**changes[section], **old, **_only(changes[section], given)}
    _check_usage(cgroup, changes.get("memory") or {})
    before = _contents(cgroup, _settings(cgroup, changes))
    try:
        apply(cgroup, changes)
    except Error:
        for setting in before * 2:  # twice, as in apply
            _put_back(cgroup, *setting)
        raise
    return _merged(now, changes)


def _only(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys}


def _merged(now: Resources, changes: Resources) -> Resources:
    """Section by section; in a section of values, value by value, 0 saying nothing in most."""
    merged = dict(now)
    for section, values in changes.items():
        if isinstance(values, dict):
            old = now.get(section) or {}
            said = {k: v for k, v in values.items() if v or (v == 0 and (section, k) in ZEROES)}
            merged[section] = {**old, **said}
        else:
            merged[section] = values
    return merged


def _check_usage(cgroup: Cgroup, memory: dict[str, Any]) -> None:
    """v2 would take a limit below what is in use, and kill; v1 refuses it by itself."""
    limit, directory = memory.get("limit") or -1, cgroup.directory("memory")
    if not memory.get("checkBeforeUpdate") or limit < 0 or not directory:
        return
    if cgroup.version("memory") == 2:
        usage = int(files.read(f"{directory}/memory.current"))
        if usage > limit:
            raise StateError(f"memory.limit: {usage} bytes are in use, more than {limit}")


def _contents(cgroup: Cgroup, settings: list[Setting]) -> list[Setting]:
    """The settings as they are now, to be put back."""
    found = []
    for controller, file in dict.fromkeys((setting[0], setting[1]) for setting in settings):
        try:
            text = files.read(f"{cgroup.directory(controller)}/{file}")
        except OSError:  # then setting it will fail as well
            continue
        found += [(controller, file, line) for line in text.splitlines()]
    return found


def _put_back(cgroup: Cgroup, controller: str, file: str, value: str) -> None:
    try:
        _set(cgroup, controller, file, value)
    except Error:  # the first error is the one to be told
        return


def _settings(cgroup: Cgroup, resources: Resources) -> list[Setting]:
    """Each limit in the words of the version that its controller has here."""
    by_version: dict[int, Resources] = {1: {}, 2: {}}
    for section, values in resources.items():
        if section == "unified":
            for file, value in (values or {}).items():
                version = cgroup.version(file.partition(".")[0])
                by_version[version].setdefault("unified", {})[file] = value
        else:
            by_version[cgroup.version(CONTROLLER.get(section, section))][section] = values
    return v1.settings(by_version[1]) + v2.settings(by_version[2])


def _set(cgroup: Cgroup, controller: str, file: str, value: str, *, last: bool = False) -> bool:
    """Write one setting; False if the kernel finds it invalid and ``last`` is not yet."""
    directory = cgroup.directory(controller)
    if directory is None:
        raise Error(
            f"cannot set {file} to {value}: no cgroup controller {controller!r} here",
            hint="cat /proc/cgroups shows the controllers of this kernel",
        )
    try:
        linux.write_file(f"{directory}/{file}", value)
    except FileNotFoundError as error:
        for other in (v1.OTHERWISE, v2.OTHERWISE):
            if file in other:
                return _set(cgroup, controller, *other[file](value), last=last)
        if not _dispensable(file):
            raise Error(
                f"cannot set {directory}/{file} to {value}: there is no such file",
                hint=f"the kernel lacks it, or processes in a cgroup above keep {controller!r} "
                "from being enabled here",
            ) from error
    except OSError as error:
        if error.errno == EINVAL and not last:
            return False
        raise Error(f"cannot set {directory}/{file} to {value}: {error.strerror}") from error
    return True


def _dispensable(file: str) -> bool:
    """Is nothing lost when a kernel lacks this file?

    hugetlb's rsvd files only refuse earlier what is refused anyway, and where nothing is swapped
    there is no swap to limit (an older kernel counts it only if booted with swapaccount=1).
    """
    if file in ("memory.memsw.limit_in_bytes", "memory.swap.max"):
        return len(files.read("/proc/swaps").splitlines()) < 2
    return ".rsvd." in file


def _limit_devices(cgroup: Cgroup, rules: list[dict[str, Any]]) -> None:
    if not is_root_of_machine():
        return  # we cannot, and they would forbid nothing: see delegation.py
    if cgroup.version("devices") == 2:
        devices.attach(cgroup.directories()[0], devices.v2_program(rules))
        return
    settings = devices.v1_settings(rules)
    if directory := cgroup.directory("devices"):
        settings = devices.v1_changes(files.read(f"{directory}/devices.list"), settings)
    for file, value in settings:
        _set(cgroup, "devices", file, value, last=True)
