"""Names for containers that were given none: an adjective and somebody who built our field."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ADJECTIVES = (
    "agile bold brave bright brisk calm clever cosy curious daring deft eager early earnest fair "
    "fearless fond frank gentle glad happy hardy honest humble idle keen kind lively lucky merry "
    "mild modest neat nimble noble patient plucky polite proud quick quiet ready sharp sleek smart "
    "snug steady sunny swift tidy upbeat vivid warm wise witty zesty"
).split()
PIONEERS = (
    "allen backus berners bernstein brooks cerf chen corbato cox dahl daley dennis dijkstra "
    "engelbart feldman fenton floyd goldberg hamilton hamming hoare holberton hopper iverson "
    "johnson joy karels kay kernighan kilburn knuth lamport lampson licklider liskov lovelace "
    "mccarthy mcilroy mckusick metcalfe milner moore naur nygaard organick ossanna perlman pike "
    "postel presotto randell ritchie saltzer schroeder shannon stearns strachey sussman sutherland "
    "tanenbaum thompson torvalds turing vyssotsky wilkes winterbottom wirth zuse"
).split()
TRIES = 100


def candidates(ident: str) -> Iterator[str]:
    """Names for the container with this id, one after the other until one is free.

    The id is random, so it serves as dice.
    """
    dice = int(ident[:16], 16)
    adjective = ADJECTIVES[dice % len(ADJECTIVES)]
    name = f"{adjective}_{PIONEERS[dice // len(ADJECTIVES) % len(PIONEERS)]}"
    yield name
    for number in range(TRIES):
        yield f"{name}{(dice + number) % 1000}"
