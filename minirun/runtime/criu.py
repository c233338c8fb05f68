"""CRIU, which writes a tree of processes to files and makes it again from them: criu(8).

It finds out by itself what a container is made of. What we have to tell it is what it cannot know:
which mounts come from outside, where the root is, and which cgroup is the container's. Its log,
dump.log or restore.log in --work-path, says what went wrong.

Interface: OPTIONS, arguments, network, external_mounts, directory, run.
"""

from __future__ import annotations

import os

from minirun import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.runtime.options import Option, Values

FLAGS = {  # ours: CRIU's
    "tcp-established": "--tcp-established",
    "tcp-skip-in-flight": "--skip-in-flight",
    "link-remap": "--link-remap",
    "ext-unix-sk": "--ext-unix-sk",
    "shell-job": "--shell-job",
    "file-locks": "--file-locks",
    "auto-dedup": "--auto-dedup",
    "lazy-pages": "--lazy-pages",
}
OPTIONS: tuple[Option, ...] = (
    (("--image-path",), "DIR", "the files of the checkpoint (checkpoint)"),
    (("--work-path",), "DIR", "for logs and files that are not needed later (--image-path)"),
    (("--tcp-established",), "", "with open TCP connections"),
    (("--tcp-skip-in-flight",), "", "without TCP connections that are being opened"),
    (("--link-remap",), "", "with files that are open and have no name any more"),
    (("--ext-unix-sk",), "", "with Unix sockets to processes outside"),
    (("--shell-job",), "", "with a terminal that somebody outside holds"),
    (("--file-locks",), "", "with locks on files"),
    (("--auto-dedup",), "", "free what is in the images twice, or restored already"),
    (("--lazy-pages",), "", "leave memory where it is until it is touched"),
    (("--manage-cgroups-mode",), "MODE", "soft, full, strict or ignore (soft)"),
    (("--empty-ns",), "network…", "a namespace to be made anew (network is always)"),
)
MODES = ("soft", "full", "strict", "ignore")


def arguments(options: Values, images: str, work: str) -> list[str]:
    """What our options are in CRIU's words."""
    mode = options.get("manage-cgroups-mode") or "soft"
    if mode not in MODES:
        raise errors.UsageError(f"--manage-cgroups-mode takes {', '.join(MODES)}")
    for kind in options.get("empty-ns") or []:
        if kind != "network":
            raise errors.UsageError(f"--empty-ns: only network, not {errors.printable(kind)}")
    chosen = [theirs for ours, theirs in FLAGS.items() if options.get(ours)]
    return ["--images-dir", images, "--work-dir", work, "-v4", f"--manage-cgroups={mode}", *chosen]


def network(spec: dict[str, Any]) -> list[str]:
    """A network of its own is made anew, and empty: its interfaces are our caller's affair."""
    namespaces = (spec.get("linux") or {}).get("namespaces") or []
    own = any(ns["type"] == "network" and not ns.get("path") for ns in namespaces)
    return ["--empty-ns", "net"] if own else []


def external_mounts(spec: dict[str, Any]) -> dict[str, str]:
    """{place in the container: source outside}, of what is bound into it."""
    found = {}
    for mount in spec.get("mounts") or []:
        if mount.get("type") == "bind" or {"bind", "rbind"} & set(mount.get("options") or []):
            found[os.path.normpath(mount["destination"])] = mount["source"]
    return found


def directory(path: str) -> str:
    """``path`` as CRIU wants it: there, and absolute."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    return os.path.abspath(path)


def run(options: Values, verb: str, words: list[str], prepare: Callable[[], object] | None) -> None:
    """Run ``criu VERB``; ``prepare`` is called in its process before. Raises what its log says."""
    import subprocess

    program = options.get("criu") or "criu"
    check = _output(subprocess, [program, "check"])
    if check.returncode:
        said = check.stdout.strip().splitlines()[-1:] or ["it does not say why"]
        raise errors.StepError(
            f"criu check: CRIU does not work on this kernel: {errors.printable(said[0])}",
            hint="another version may: --criu PROGRAM",
        )
    log = f"{verb}.log"
    line = [program, verb, *words, "--log-file", log]
    done = subprocess.run(line, check=False, preexec_fn=prepare, close_fds=False)
    if done.returncode:
        path = os.path.join(words[words.index("--work-dir") + 1], log)
        raise errors.StepError(f"criu {verb} failed: {_reason(path)}", hint=f"less {path}")


def _output(subprocess: Any, line: list[str]) -> Any:
    try:
        return subprocess.run(line, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise errors.NotFound(
            f"{line[0]} is not installed here", hint="apt-get install criu, or --criu PROGRAM"
        ) from None


def _reason(log: str) -> str:
    """The first errors in a log of CRIU's: what comes after them follows from them."""
    try:
        with open(log, errors="replace") as file:
            lines = [line.partition("Error ")[2].strip() for line in file if "Error (" in line]
    except OSError as error:
        return f"no log: {error.strerror}"
    return errors.printable("; ".join(lines[:3])) or "its log has no error"
