"""minirun beside the programs that people use, on this machine, in one run: Markdown tables.

    sudo .venv/bin/python -m tests.bench [--only NAME]... [--runs N]

    runtime     minirun-oci, runc and crun: run; create, start, delete; exec; state
    crowd       the same three with 1,000 containers alive at once (--runs says how many)
    container   minirun, podman and docker: run, run -d, exec, ps of 500
    stream      the same three: 1 GB of output, to a terminal and to the log; iperf3
    idle        the same three: memory for each of 100 containers that sleep
    unpack      `minirun unpack`, GNU tar and umoci, of a Debian root
    pull        `minirun pull`, skopeo with umoci, podman and docker, from a registry on loopback
    memory      peak memory of a pull of one layer of 1 GB

All of it happens in namespaces of its own (mounts, network, processes), with an empty /var/lib and
an empty /run: every program finds a fresh machine, and nothing of this one changes. What the tables
hold is in measure.py.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import images
from tests.bench import containers, crowd, idle, layers, machine, memory, pulls, runtimes, streams
from tests.components import private_network

BENCHES = {
    "runtime": runtimes.bench,
    "crowd": crowd.bench,
    "container": containers.bench,
    "stream": streams.bench,
    "idle": idle.bench,
    "unpack": layers.bench,
    "pull": pulls.bench,
    "memory": memory.bench,
}


def main() -> int:
    words = sys.argv[1:]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=BENCHES, metavar="NAME")
    parser.add_argument("--runs", type=int, help="how often (each has a number of its own)")
    parser.add_argument("--inside", type=Path, metavar="SCRATCH", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.inside:
        run_benches(options.only or list(BENCHES), options.inside, options.runs)
        return 0
    for name in ("busybox", "debian", "layers30"):  # these need the machine's own /var/lib
        images.layout(name)
    # on disk, and short: podman takes no path of more than 50 letters
    scratch = tempfile.mkdtemp(prefix="bench-", dir="/var/tmp")
    try:
        with private_network() as enter:
            here = ["env", f"--chdir={Path.cwd()}", sys.executable, "-m", "tests.bench"]
            return subprocess.call([*enter, *here, "--inside", scratch, *words])
    finally:
        shutil.rmtree(scratch)


def run_benches(names: list[str], scratch: Path, runs: int | None) -> None:
    with machine.fresh(scratch):
        print(machine.describe(), flush=True)
        for name in names:
            folder = scratch / name
            folder.mkdir()
            for table in BENCHES[name](folder, **({"runs": runs} if runs else {})):
                print(table, flush=True)
            shutil.rmtree(folder)


sys.exit(main())
