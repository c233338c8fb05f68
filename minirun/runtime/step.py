"""Steps: the order of everything on one screen, and one text that serves everybody.

A step is a function whose docstring has one fixed form: a sentence, then fields. Step lists stand
in create.py (what the parent does) and init.py (what the child does)::

    def make_private(setup):
        \"""Make every mount private.

        why:    systemd shares "/", so what we mount would show up on the host
        shell:  mount --make-rprivate /
        man:    mount_namespaces(7)
        \"""

``take`` runs a list. With an ``Explainer`` each step is told with the system calls it made, as
``minirun.linux`` saw them; without one a step costs a function call. Interface: take, fields.
"""

from __future__ import annotations

from minirun import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol, TypeVar

    T = TypeVar("T")

    class Explainer(Protocol):
        """Who is told of the steps (explain.py)."""

        def tell(self, step: Callable[..., Any], take: Callable[[], None]) -> None: ...
        def finish(self) -> None: ...


FIELDS = ("why", "shell", "man")


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


def fields(step: Callable[..., Any]) -> dict[str, str]:
    """A step's docstring as data: {"step", "about", "why", "shell", "man"}.

    A field's text may go on in the lines below it, indented further than its name.
    """
    lines = (step.__doc__ or "").strip().splitlines()
    found = {"step": step.__name__, "about": lines[0] if lines else ""}
    name = ""
    for line in lines[1:]:
        key, colon, text = line.strip().partition(":")
        if colon and key in FIELDS:
            name, found[key] = key, text.strip()
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found
