"""Stop, continue and end all processes of a cgroup, however fast they fork (cgroups(7)).

v1 has a controller for it, ``freezer``: what is frozen does not even die. v2 has two files in every
cgroup, ``cgroup.freeze`` and ``cgroup.kill``; there a frozen process can be killed.

Interface: freeze, thaw, is_frozen, kill.
"""

from __future__ import annotations

import os
from time import monotonic, sleep

from minirun import calls
from minirun.errors import Error
from minirun.runtime import signals
from minirun.runtime.cgroup import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.runtime.cgroup import Cgroup

# version: the file, what stops, what continues, and where "all stand still" is said, in which words
FILES = {
    1: ("freezer.state", "FROZEN", "THAWED", "freezer.state", "FROZEN"),
    2: ("cgroup.freeze", "1", "0", "cgroup.events", "frozen 1"),
}


def freeze(cgroup: Cgroup, patience: float = 10.0) -> None:
    """Stop every process in the cgroup, wherever it is; all stand still afterwards.

    On v1 a process that was being forked may keep the state at FREEZING until it is asked again.
    """
    directory = _directory(cgroup)
    if directory is None:
        raise Error("processes cannot be frozen: no cgroup controller 'freezer' here")
    file, stop, go, *_ = FILES[cgroup.version("freezer")]
    deadline = monotonic() + patience
    calls.write_file(f"{directory}/{file}", stop)
    while not is_frozen(cgroup):
        if monotonic() > deadline:
            calls.write_file(f"{directory}/{file}", go)
            raise Error(f"cgroup {cgroup.path} cannot be frozen: a process does not stand still")
        sleep(0.001)
        calls.write_file(f"{directory}/{file}", stop)


def thaw(cgroup: Cgroup) -> None:
    """Undo ``freeze``."""
    _write(_directory(cgroup), cgroup.version("freezer"), go=True)


def is_frozen(cgroup: Cgroup, *, above: bool = False) -> bool:
    """Do all processes in the cgroup stand still because they were told to?

    With ``above``, a cgroup that is not there yet would be as the one above it is.
    """
    directory = _directory(cgroup)
    while above and directory and not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    *_, file, words = FILES[cgroup.version("freezer")]
    return directory is not None and words in files.lines(f"{directory}/{file}")


def kill(cgroup: Cgroup, patience: float = 10.0) -> None:
    """Kill every process in the cgroup, and return when none is left."""
    deadline = monotonic() + patience
    while pids := cgroup.pids():
        if monotonic() > deadline:
            raise Error(f"processes of cgroup {cgroup.path} outlive SIGKILL: {sorted(pids)}")
        _kill_once(cgroup)
        sleep(0.001)


def _kill_once(cgroup: Cgroup) -> None:
    directory, version = _directory(cgroup), cgroup.version("freezer")
    if version == 2 and directory is not None:
        try:
            calls.write_file(f"{directory}/cgroup.kill", "1")
            return
        except FileNotFoundError:
            pass  # before Linux 5.14
    _write(directory, version, go=False)  # so that nothing forks away while we count
    for pid in cgroup.pids():
        try:
            calls.kill(pid, signals.KILL)
        except ProcessLookupError:
            continue
    for each in files.walk(directory or ""):  # a container may have frozen one of its own making
        _write(each, version, go=True)


def _write(directory: str | None, version: int, *, go: bool) -> None:
    file, *words = FILES[version]
    try:
        if directory is not None:
            calls.write_file(f"{directory}/{file}", words[go])
    except FileNotFoundError:
        return  # gone, and with it all that was in it


def _directory(cgroup: Cgroup) -> str | None:
    if cgroup.version("freezer") == 2:
        return cgroup.directories()[0] if cgroup.trees else None
    return cgroup.directory("freezer")
