"""The memory that a pull of one layer of 1 GB needs: of the largest process, and of all together.

All together: every 20 ms, the proportional set sizes (PSS: shared pages are divided by the number
of those that share them; proc_pid_smaps(5)) of the client's processes are added up, and the
greatest sum counts.
"""

import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests import images
from tests.bench.measure import Contender, measure
from tests.bench.pulls import pullers
from tests.components import children

SIZE = 1_000_000_000


def bench(scratch: Path, runs: int = 1) -> Iterator[str]:
    image = big_image(scratch)
    lines = ["### memory: a pull of one layer of 1 GB", "",
             "| | wall s | largest process MB (RSS) | all processes MB (PSS) |",
             "|---|--:|--:|--:|"]
    with pullers(scratch) as (server, contenders):
        for contender in contenders(server.push(image, "library/big:latest")):
            lines += [row(contender) for _ in range(runs)]
    yield "\n".join([*lines, "", "docker: of the client; dockerd does the work.", ""])


def big_image(scratch: Path) -> Path:
    """One layer with one file of random bytes: they stay 1 GB when they are compressed."""
    with (scratch / "big").open("wb") as file:
        for _ in range(SIZE // 1_000_000):
            file.write(os.urandom(1_000_000))
    with tarfile.open(scratch / "big.tar", "w") as tar:
        tar.add(scratch / "big", "big")
    image = images.new_image(scratch, "image", scratch / "big.tar")
    images.configure(image, "--architecture", images.machine())
    (scratch / "big").unlink()
    (scratch / "big.tar").unlink()
    return scratch / "image"


def row(contender: Contender) -> str:
    try:
        contender.before()
        sample = measure(contender.command)
        contender.after()
        together = peak_of_all(contender.command)
        contender.after()
    except RuntimeError as error:
        return f"| {contender.name} | {' '.join(str(error).split())} | | |"
    return (f"| {contender.name} | {sample.wall:.1f} | {sample.peak / 1e6:.0f} "
            f"| {together / 1e6:.0f} |")


def peak_of_all(command: list[str]) -> int:
    """Bytes: the greatest sum of PSS of a command and its descendants, looked at every 20 ms."""
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(pss, descendants(process.pid))))
            time.sleep(0.02)
    return peak


def descendants(pid: int) -> Iterator[int]:
    yield pid
    try:
        for child in children(pid):
            yield from descendants(int(child))
    except OSError:  # it ended meanwhile
        pass


def pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
