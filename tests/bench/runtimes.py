"""One container by three runtimes: the same bundle, made by `minirun bundle`, running `true`."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import Contender, interleave, table
from tests.images import run


def bench(scratch: Path, runs: int = 30) -> Iterator[str]:
    bundle = scratch / "bundle"
    run("minirun", "bundle", "tiny", bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": ["/bin/true"], "terminal": False}
    (bundle / "config.json").write_text(json.dumps(config))
    contenders = [
        Contender(f"{name} run", [name, "--root", str(scratch / name), "run",
                                  "--bundle", str(bundle), f"bench-{name}"])
        for name in ("minirun-oci", "runc", "crun")
    ]
    results = interleave(contenders, runs)
    yield table(f"runtime: one container, `true`, {runs} runs", results)
