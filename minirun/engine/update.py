"""``minirun update``: other limits, and another restart policy, for a container that exists.

Three hear of it: the kernel, by the runtime, if the container runs; spec.json, for its next starts;
and the record, for people.
"""

from __future__ import annotations

from minirun import document
from minirun.engine import events, limits, restart
from minirun.engine.container import read, write
from minirun.engine.oci import fd_path, in_memory
from minirun.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.engine.container import Container
    from minirun.engine.state import State


def update(state: State, name: str, changes: Mapping[str, Any]) -> None:
    """Change what ``changes`` name (options of ``run``, by their keys). All else stays.

    Raises UsageError for limits that do not go together, with those that it has, too.
    """
    container = state.containers.find(name)
    policy, _ = restart.parse(changes.get("restart", "no"))
    if policy != "no" and container.record.get("autoRemove"):
        raise StateError(f"{name} was made with --rm: there will be nothing to restart")
    options = {**container.options, **changes}
    resources = limits.resources(options)
    if container.is_up and resources:
        _tell_kernel(state, container, resources)
    if spec := read(container.path("spec.json")):
        limits.apply(spec, options)
        write(container.path("spec.json"), spec)
    container.save(options=options)
    events.of_container(state.paths, container, "update")


def _tell_kernel(state: State, container: Container, resources: dict[str, Any]) -> None:
    file = in_memory(document.dumps(resources).encode())
    runtime = state.runtime(container)
    runtime.call("update", "--resources", fd_path(file), container.id, files=(file,))
