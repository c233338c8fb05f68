"""Bytes through an engine: output to the terminal and to the log, and packets through its bridge.

A gigabyte each. The network is measured by iperf3 of this machine, which sees in the container its
own root file system (``-v /:/machine``): between two containers on one bridge, and from the host to
a published port.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.bench.engines import Engine, compare, engines
from tests.images import run

GIGABYTE = 1 << 30
LINES = f"yes 'a line of output, of which there are a great many more' | head -c {GIGABYTE}"
SECONDS = 5  # of each network measurement
SERVER = ["chroot", "/machine", "iperf3", "--server"]


def bench(scratch: Path, runs: int = 3) -> Iterator[str]:
    with engines(scratch) as each:
        yield compare("stream: 1 GB to standard output, attached", each,
                      lambda engine: engine.run("--rm", "--log-driver", "none", command=LINES),
                      runs)
        yield compare(
            "stream: 1 GB to the log", each,
            lambda engine: [*engine.command, "wait", "writer"], runs,
            before=quiet_writer,
            after=lambda engine: engine.do("rm", "-f", "writer"),
            note="From just after the start to the end of the container.")
        for engine in each:
            quiet_writer(engine)
            engine.do("wait", "writer")
        yield compare("stream: `logs` of 1 GB", each,
                      lambda engine: [*engine.command, "logs", "writer"], runs)
        for engine in each:
            engine.do("rm", "-f", "writer")
        yield network(each)


def quiet_writer(engine: Engine) -> None:
    """A container that writes a gigabyte into its log, which keeps all of it."""
    words = engine.run("-d", "--name", "writer", "--log-opt", "max-size=2g", command=LINES)
    engine.do(*words[len(engine.command):])


def network(each: list[Engine]) -> str:
    lines = [f"### stream: iperf3, {SECONDS} s each, Gbit/s", "",
             "| | container to container | host to a published port |", "|---|--:|--:|"]
    for engine in each:
        try:
            lines.append(row(engine))
        except RuntimeError as error:
            lines.append(f"| {engine.name} | {' '.join(str(error).split())} | |")
    return "\n".join([*lines, ""])


def row(engine: Engine) -> str:
    engine.do("network", "create", "stream")
    engine.do("run", "-d", "--name", "server", "--network", "stream", "-p", "5201:5201",
              "-v", "/:/machine", engine.image, *SERVER)
    client = ["chroot", "/machine", "iperf3", "--json", "--time", str(SECONDS), "--client"]
    address = run(*engine.command, "inspect", "--format",
                  "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "server").strip()
    try:
        inside = run(*engine.command, "run", "--rm", "--network", "stream", "-v", "/:/machine",
                     engine.image, *client, address)
        outside = run(*client[2:], "127.0.0.1")
    finally:
        engine.do("rm", "-f", "server")
        engine.do("network", "rm", "stream")
    return f"| {engine.name} | {gigabits(inside)} | {gigabits(outside)} |"


def gigabits(report: str) -> str:
    return f"{json.loads(report)['end']['sum_received']['bits_per_second'] / 1e9:.1f}"
