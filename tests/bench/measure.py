"""Measure commands side by side: in turn A B C A B C, medians, and how far apart they are.

    results = interleave([Contender("ours", [...]), Contender("theirs", [...])], runs=20)
    print(table("one container", results))

Each run is a new process. Of it are taken the wall-clock time; the processor time, user and system,
of it and of every descendant that was waited for (wait4(2)); and the peak resident memory of the
largest of these (GNU time, which is small: a process inherits the peak of the one that forked it,
so a Python that forked would hide everything below its own 30 MB). What a daemon does for a client,
or a monitor after it, is in the wall-clock time only.

One warm-up run of each is thrown away. Taking turns spreads whatever else happens on the machine
over all of them. ``before`` prepares a run and ``after`` clears a good one away; neither
counts. A contender that is missing or that fails is in the table with the reason, not with a time.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MILLISECONDS = 1000


def nothing(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Contender:
    name: str
    command: list[str]
    before: Callable[[], object] = nothing
    after: Callable[[], object] = nothing


@dataclass(frozen=True)
class Sample:
    wall: float  # seconds
    cpu: float   # seconds, user and system
    peak: int    # bytes


@dataclass
class Result:
    name: str
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""


def interleave(contenders: list[Contender], runs: int) -> list[Result]:
    """Run each contender once to warm up and then ``runs`` times, in turns."""
    results = [Result(contender.name) for contender in contenders]
    for number in range(runs + 1):
        for contender, result in zip(contenders, results, strict=True):
            if not result.failure:
                one_run(contender, result, warm_up=number == 0)
    return results


def one_run(contender: Contender, result: Result, *, warm_up: bool) -> None:
    try:
        contender.before()
        sample = measure(contender.command)
        contender.after()
    except (OSError, RuntimeError) as error:
        result.failure = str(error)
    else:
        if not warm_up:
            result.samples.append(sample)


def measure(command: list[str]) -> Sample:
    """Run one command to its end; RuntimeError, with its last words, if it fails."""
    if shutil.which(command[0]) is None:
        raise RuntimeError("not installed")
    with tempfile.TemporaryDirectory() as scratch:
        peak, output = Path(scratch, "peak"), Path(scratch, "output")
        timed = ["time", "--format=%M", f"--output={peak}", *command]
        with output.open("wb") as file:
            started = time.perf_counter()
            process = subprocess.Popen(timed, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"failed: {output.read_text(errors='replace').strip()[-200:]}")
        return Sample(wall, usage.ru_utime + usage.ru_stime, int(peak.read_text()) * 1024)


def table(title: str, results: list[Result], *, note: str = "") -> str:
    """A Markdown table; the ratios are to the first contender: 2.0 took twice its time."""
    lines = [f"### {title}", "", "| | wall ms | min–max | ratio | user+sys ms | peak RSS MB |",
             "|---|--:|--:|--:|--:|--:|"]
    reference = median(results[0], "wall") if results[0].samples else None
    lines += [row(result, reference) for result in results]
    return "\n".join([*lines, "", *([note, ""] if note else [])])


def row(result: Result, reference: float | None) -> str:
    if result.failure:
        reason = " ".join(result.failure.split()).replace("|", "¦")
        return f"| {result.name} | {reason} | | | | |"
    walls = [sample.wall * MILLISECONDS for sample in result.samples]
    wall = median(result, "wall")
    ratio = f"{wall / reference:.2f}" if reference else ""
    return (f"| {result.name} | {wall * MILLISECONDS:.0f} | {min(walls):.0f}–{max(walls):.0f} "
            f"| {ratio} | {median(result, 'cpu') * MILLISECONDS:.0f} "
            f"| {median(result, 'peak') / 1e6:.1f} |")


def median(result: Result, quantity: str) -> float:
    return statistics.median(getattr(sample, quantity) for sample in result.samples)
