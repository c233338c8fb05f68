"""Preparing the next start of a container whose restart policy wants one: for its monitor.

What stays from start to start is still there: the files are mounted, the record and the log go on.
What is made anew is config.json, for what it names may have changed meanwhile.
"""

from __future__ import annotations

import sys

from minirun.engine.launch import Launch, take_up, write_bundle
from minirun.engine.paths import Paths
from minirun.engine.state import State
from minirun.errors import NotFound


def main() -> None:
    store, ident = sys.argv[1:]
    state = State(Paths(store or None))
    container = state.containers.load(ident)
    if container is None:
        raise NotFound(f"no such container: {ident}")
    job = Launch(state, container.options)
    take_up(job, container)
    write_bundle(job)
