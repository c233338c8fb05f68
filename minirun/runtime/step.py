"""Steps: the order of everything on one screen.

A step is a function whose docstring has one fixed form (minirun/explain.py). Step lists stand in
create.py (what the parent does) and init.py (what the child does). ``take`` runs one. With an
``Explainer`` each step is told with the system calls it made; without one it costs a function call.
"""

from __future__ import annotations

from minirun import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeVar

    from minirun.runtime.options import Values

    T = TypeVar("T")

    class Explainer(Protocol):
        """Who is told of the steps (explain.py)."""

        def tell(self, step: Callable[..., Any], take: Callable[[], None]) -> None: ...
        def finish(self) -> None: ...
        def hear(self, name: str, arguments: tuple[Any, ...], result: object) -> None: ...


def explainer(options: Values) -> Explainer | None:
    """Who tells of the steps, if that was asked for."""
    if not options.get("explain"):
        return None
    from minirun.runtime import explain

    return explain.Explainer(as_json=options["explain"] == "json")


def take(steps: Sequence[Callable[[T], None]], setup: T, explainer: Explainer | None) -> None:
    """Take the steps in order. One that fails ends it all: an error of the kernel becomes a
    ``StepError`` that names the step."""
    for step in steps:
        try:
            if explainer is None:
                step(setup)
            else:
                explainer.tell(step, lambda: step(setup))  # noqa: B023 (called at once)
        except errors.StepError:
            raise
        except OSError as error:
            what = errors.from_os_error(error).message
            raise errors.StepError(f"step {step.__name__} failed: {what}") from error
