"""minirun update"""

from __future__ import annotations

from minirun.engine import flags, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

KEYS = {
    "memory", "memory_swap", "memory_reservation", "cpus", "cpu_shares", "cpu_period", "cpu_quota",
    "cpu_rt_period", "cpu_rt_runtime", "cpuset_cpus", "cpuset_mems", "pids_limit", "blkio_weight",
}  # fmt: skip
OPTIONS = (
    *(option for option in options.SPEC if option.key in KEYS),
    flags.Option("--restart", metavar="POLICY",
                 help="no, always, unless-stopped, on-failure[:MOST]."),
)  # fmt: skip
ARGUMENTS = ("CONTAINER...",)
EPILOG = ""


def main(root: str | None, words: Sequence[str]) -> int:
    """Change the limits or the restart policy of containers, also while they run."""
    values, names = flags.parse("update", OPTIONS, ARGUMENTS, words)
    from minirun.engine.command import for_each
    from minirun.engine.state import open_state
    from minirun.engine.update import update
    from minirun.errors import UsageError

    changes = {key: value for key, value in values.items() if value is not None}
    if not changes:
        raise UsageError("nothing is to be changed", hint="minirun update --help")
    state = open_state(root)
    return for_each(names, lambda name: update(state, name, changes))
