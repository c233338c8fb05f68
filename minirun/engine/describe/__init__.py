"""``inspect``: what is known of a thing, as documents with Docker's field names.

    container.py     containers          hostconfig.py   …what their flags asked for
    image.py         images              networking.py   …their networks and ports; networks

Scripts read these documents by ``--format``, so every field that tools look at is there, if only as
the zero that Docker would show. What Docker's JSON leaves out where it is empty, is None here:
templates can ask for it, and inspecting.py leaves it out.
"""

from __future__ import annotations

from minirun.errors import NotFound, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.engine.state import State

    Document = dict[str, Any]


def describe(state: State, name: str, kind: str | None = None, *, sized: bool = False) -> Document:
    """The thing called ``name``: of ``kind``, or else the first of KINDS that there is."""
    for each in (kind,) if kind else KINDS:
        try:
            return KINDS[each](state, name, sized)
        except (NotFound, UsageError):
            if kind:
                raise
    raise NotFound(f"no such object: {printable(name)}", hint="minirun ps -a, minirun images")


def _container(state: State, name: str, sized: bool) -> Document:
    from minirun.engine.describe import container

    return container.container(state, state.containers.find(name), sized=sized)


def _image(state: State, name: str, _: bool) -> Document:
    from minirun.engine.describe import image

    return image.image(state, state.image(name))


def _network(state: State, name: str, _: bool) -> Document:
    from minirun.engine.describe import networking
    from minirun.engine.network.records import Networks

    return networking.network(state, Networks(state.paths).find(name))


def _volume(state: State, name: str, _: bool) -> Document:
    from minirun.engine.volumes import Volumes

    return Volumes(state).find(name).describe()


KINDS: dict[str, Callable[[State, str, bool], Document]] = {
    "container": _container,
    "image": _image,
    "network": _network,
    "volume": _volume,
}
