"""--security-opt seccomp=FILE: a filter of system calls from a file of the user's.

Two forms are in use. That of the runtime spec (config-linux.md, "Seccomp") goes into config.json as
it is. Docker's own, which its documentation hands out and Podman shares, is one file for all
machines and containers: rules say for which architectures, capabilities and kernels they are
meant, and ``archMap`` says what goes with each architecture. ``resolve`` decides all that.

https://docs.docker.com/engine/security/seccomp/
"""

from __future__ import annotations

import os

from minirun.errors import NotFound, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Document = dict[str, Any]

LARGEST = 16 << 20  # bytes
# uname -m: the name in "arches" (Go's), and the one in "archMap" (libseccomp's)
MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "loongarch64": ("loong64", "SCMP_ARCH_LOONGARCH64"),
}
PROFILE = {"defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags",
           "listenerPath", "listenerMetadata", "syscalls"}  # fmt: skip
RULE = {"name", "names", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"}
CONDITION = {"arches", "caps", "minKernel"}


def read(path: str, capabilities: Sequence[str]) -> Document:
    """``linux.seccomp`` for a container with these capabilities, from a file of either form."""
    import json

    try:
        with open(path, encoding="utf-8") as file:
            profile = json.loads(file.read(LARGEST))
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"--security-opt seccomp={printable(path)}: no such file") from None
    except ValueError as error:
        raise _wrong(path, f"not JSON: {error}") from None
    try:
        return resolve(profile, os.uname().machine, capabilities, os.uname().release)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _wrong(path, f"not a profile: {error}") from None


def resolve(profile: Document, machine: str, capabilities: Sequence[str], kernel: str) -> Document:
    """What a profile means for one container on one machine; raises ValueError and the like for
    what is not known, for a filter with a rule left out is another filter."""
    _check(profile, PROFILE)
    found = {key: profile[key] for key in PROFILE - {"archMap", "defaultErrno"} if key in profile}
    arch, libseccomp = MACHINES[machine]
    if "defaultErrno" in profile:
        found.setdefault("defaultErrnoRet", _number(profile["defaultErrno"]))
    if profile.get("archMap"):
        if found.get("architectures"):
            raise ValueError("both architectures and archMap")
        mapped = {entry["architecture"]: entry for entry in profile["archMap"]}
        others = mapped.get(libseccomp, {}).get("subArchitectures") or []
        found["architectures"] = [libseccomp, *others]
    held = set(capabilities)
    found["syscalls"] = [
        _rule(rule) for rule in profile.get("syscalls") or []
        if _applies(rule, arch, held, _version(kernel))
    ]  # fmt: skip
    return found


def _applies(rule: Document, arch: str, held: set[str], kernel: tuple[int, ...]) -> bool:
    """Whether a rule is meant for this container: all that it includes, and nothing it excludes."""
    _check(rule, RULE)
    wanted, unwanted = rule.get("includes") or {}, rule.get("excludes") or {}
    _check(wanted, CONDITION)
    _check(unwanted, CONDITION)
    return not (
        (wanted.get("arches") and arch not in wanted["arches"])
        or not held.issuperset(wanted.get("caps") or ())
        or (wanted.get("minKernel") and kernel < _version(wanted["minKernel"]))
        or arch in (unwanted.get("arches") or ())
        or not held.isdisjoint(unwanted.get("caps") or ())
        or (unwanted.get("minKernel") and kernel >= _version(unwanted["minKernel"]))
    )


def _rule(rule: Document) -> Document:
    """The rule in the words of the runtime spec."""
    names = [*(rule.get("names") or ()), *([rule["name"]] if rule.get("name") else ())]
    found: Document = {"names": names, "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        found["errnoRet"] = rule["errnoRet"]
    elif rule.get("errno"):
        found["errnoRet"] = _number(rule["errno"])
    if rule.get("args"):
        found["args"] = rule["args"]
    return found


def _number(name: str) -> int:
    import errno

    return int(getattr(errno, name))


def _version(text: str) -> tuple[int, ...]:
    """
    >>> _version("6.1.0-49-amd64"), _version("4.8")
    ((6, 1), (4, 8))
    """
    major, minor = text.split(".")[:2]
    return int(major), int(minor.partition("-")[0])


def _check(document: Document, known: set[str]) -> None:
    unknown = set(document) - known
    if unknown:
        raise ValueError(f"{printable(min(unknown))[:40]} is unknown")


def _wrong(path: str, what: str) -> UsageError:
    return UsageError(f"--security-opt seccomp={printable(path)}: {printable(what)[:120]}")
