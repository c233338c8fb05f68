"""minirun events"""

from __future__ import annotations

import sys
import time

import click

from minirun import document
from minirun.engine import filters
from minirun.engine.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.engine.events import Event

NAMES = {  # as templates see an event, and what JSON calls it
    "Status": "status", "ID": "id", "From": "from", "Type": "Type", "Action": "Action",
    "Actor": "Actor", "Scope": "scope", "Time": "time", "TimeNano": "timeNano",
}  # fmt: skip


@click.command("events", cls=Command)
@click.option(
    "-f",
    "--filter",
    "words",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only of this type, event, container, image, network, volume, label.",
)
@click.option("--format", "form", metavar="TEMPLATE", help="'json', or a template of your own.")
@click.option("--since", metavar="TIME", help="Also what was since then: a date, or 10m for ago.")
@click.option("--until", metavar="TIME", help="End then; else with ^C.")
@click.pass_obj
def command(
    root: str | None, words: tuple[str, ...], form: str | None, since: str | None, until: str | None
) -> None:
    """Tell what happens to containers, images, networks and volumes, as it happens."""
    from minirun.engine import events, times
    from minirun.engine.state import open_state

    fits = filters.keep(words, TESTS)
    begin = times.moment(since) if since else time.time()
    end = times.moment(until) if until else float("inf")
    for event in events.follow(open_state(root).paths, lambda: time.time() > end):
        if begin <= event["timeNano"] / events.SECOND <= end and fits(event):
            show(event, form)
            sys.stdout.flush()


def show(event: Event, form: str | None) -> None:
    from minirun.engine import output

    if form and form != output.JSON:
        fields = {name: (name, field(key)) for name, key in NAMES.items()}
        output.show([event], fields, (), form)
    elif form:
        output.write(document.dumps(as_json(event)) + "\n")
    else:
        output.write(line(event) + "\n")


def field(key: str) -> Callable[[Event], Any]:
    return lambda event: as_json(event).get(key, "")


def as_json(event: Event) -> Event:
    """The event with all that Docker's has; the newer names say what the older ones did."""
    actor = event["Actor"]
    old = {"status": event["Action"], "id": actor["ID"], "from": attributes(event).get("image", "")}
    kinds = {"container": ("status", "id", "from"), "image": ("status", "id")}
    kept = {name: old[name] for name in kinds.get(event["Type"], ())}
    moment = {"scope": "local", "time": event["time"], "timeNano": event["timeNano"]}
    return {**kept, "Type": event["Type"], "Action": event["Action"], "Actor": actor, **moment}


def line(event: Event) -> str:
    """``2026-11-22T22:20:00.123456789Z container start 4f… (image=tiny, name=web)``"""
    from minirun.engine import times

    pairs = ", ".join(f"{name}={value}" for name, value in sorted(attributes(event).items()))
    ident = event["Actor"]["ID"]
    words = [times.precise(event["timeNano"]), event["Type"], event["Action"], ident]
    return " ".join(words) + (f" ({pairs})" if pairs else "")


def attributes(event: Event) -> dict[str, str]:
    found: dict[str, str] = event["Actor"]["Attributes"]
    return found


def thing(kind: str) -> Callable[[str], Callable[[Event], bool]]:
    """One with this name, or whose ID begins so: of its own events, and those that name it."""

    def make(value: str) -> Callable[[Event], bool]:
        def test(event: Event) -> bool:
            found = attributes(event)
            if event["Type"] != kind:
                return found.get(kind) == value
            return event["Actor"]["ID"].startswith(value) or found.get("name") == value

        return test

    return make


def action(value: str) -> Callable[[Event], bool]:
    return lambda event: event["Action"].partition(":")[0] == value or event["Action"] == value


TESTS = {
    "container": thing("container"),
    "image": thing("image"),
    "network": thing("network"),
    "volume": thing("volume"),
    "event": action,
    "type": filters.one_of(
        "type", ("container", "image", "network", "volume"), lambda event: event["Type"]
    ),
    "label": filters.label(attributes),
    "scope": filters.one_of("scope", ("local",), lambda event: "local"),
}
